from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from support.stores.records import session_record
from support.stores.store_contract import HandClock

from gateway.telemetry.recomputing import Recomputed, recompute
from sessions.accounts import Dial, DialCause, ModelTarget, ResponseOrigin, ResponseUse
from sessions.costs import ModelPrice, TranscriptionPrice
from sessions.record import Speaker, Turn, Utterance
from sessions.stores.documents import SessionRecord, SessionState, session_document, turn_document
from sessions.stores.sqlite import SqliteStore
from sessions.usage import TokenUsage, TranscriptionUsage


class Prices:
    """A token of text costs 1 nano-dollar on the model `a/one`, 2 on `a/two`; a minute of `ears` 60,000."""

    version = "test"

    def price_of(self, model: str) -> ModelPrice | None:
        each = {"a/one": 1_000_000, "a/two": 2_000_000}.get(model)
        return None if each is None else ModelPrice(text_output=each)

    def transcription_of(self, model: str, name: str) -> TranscriptionPrice | None:
        return TranscriptionPrice(minute=60_000 if model == "a/one" else 120_000) if name == "ears" else None


DIALS = (
    Dial(DialCause.START, 0, ModelTarget("a/one"), 0),
    Dial(DialCause.LOST, 1, ModelTarget("a/two"), 5_000),
)


def session(session_id: str = "s1", *, state: SessionState = SessionState.ENDED, **changes: Any) -> SessionRecord:
    given = replace(session_record(session_id), state=state, started_at=1_000.0, model="a/one", dials=DIALS)
    return replace(given, **changes)


def response(number: int, cost_nano: int | None, *, leg: int = 0, tokens: int | None = 10) -> ResponseUse:
    usage = None if tokens is None else TokenUsage(output_text=tokens)
    return ResponseUse(
        f"resp_{number}", ResponseOrigin.MODEL, leg, None, 0, end_ms=100, usage=usage, cost_nano=cost_nano
    )


def said(item_id: str, begin_ms: int, cost_nano: int | None, name: str = "ears") -> Utterance:
    return Utterance(
        item_id,
        Speaker.CALLER,
        "yes",
        "yes",
        spoken=True,
        begin_ms=begin_ms,
        transcription=TranscriptionUsage(name, audio_ms=1_000),
        transcription_cost_nano=cost_nano,
    )


def found(records: list[SessionRecord], turns: list[tuple[str, Turn]], since_s: float = 0.0, **more: Any) -> Recomputed:
    async def look() -> Recomputed:
        store = SqliteStore(":memory:", HandClock(), inline=True)
        await store.open()
        for session_id, turn in turns:
            await store.put(turn_document("default", session_id, turn, ttl_s=None), None)
        for record in records:
            await store.put({**session_document(record, ttl_s=None), **more}, None)
        try:
            return await recompute(store, Prices(), since_s)
        finally:
            await store.close()

    return asyncio.run(look())


def shown(looked: Recomputed) -> list[tuple[str, int | None, int | None]]:
    return [(one.what, one.stored_nano, one.computed_nano) for one in looked.differences]


def test_calls_that_cost_the_same_show_nothing() -> None:
    turn = Turn(0, 0, 900, [said("i1", 10, 1_000), said("i2", 6_000, 2_000)])
    turn.responses = [response(1, 10), response(2, 20, leg=1), response(3, None, tokens=None)]
    looked = found([session()], [("s1", turn)])
    assert (looked.calls, shown(looked), looked.unreadable) == (1, [], 0)


def test_each_response_and_transcription_that_costs_something_else_is_shown() -> None:
    turn = Turn(3, 0, 900, [said("i1", 10, 7), said("i2", 20, 7, "nobody")])
    turn.responses = [response(1, 11), response(2, None), response(3, 10, tokens=None)]
    looked = found([session()], [("s1", turn)])
    assert shown(looked) == [
        ("response resp_1", 11, 10),
        ("response resp_2", None, 10),
        ("response resp_3", 10, None),
        ("transcription i1", 7, 1_000),
        ("transcription i2", 7, None),
    ]
    assert {(one.tenant, one.session_id, one.turn) for one in looked.differences} == {("default", "s1", 3)}


def test_live_calls_earlier_calls_and_calls_of_an_older_patchbay_are_left_out() -> None:
    turn = Turn(0, 0, 900, [])
    turn.responses = [response(1, 99)]
    assert found([session(state=SessionState.LIVE)], [("s1", turn)]).calls == 0
    assert found([session()], [("s1", turn)], since_s=1_001.0).calls == 0
    assert shown(found([session()], [("s1", turn)], since_s=1_000.0)) == [("response resp_1", 99, 10)]
    old = Turn(0, 0, 900, [Utterance("i1", Speaker.CALLER, "yes", "yes", spoken=True, begin_ms=0)])
    assert shown(found([session(dials=())], [("s1", old)])) == []


def test_calls_without_usage_are_counted_apart() -> None:
    new, old = Turn(0, 0, 900, []), Turn(0, 0, 900, [])
    new.responses, old.responses = [response(1, 10), response(2, None, tokens=None)], [response(1, None, tokens=None)]
    looked = found([session("s1"), session("s2"), session("s3")], [("s1", new), ("s2", old)])
    assert (looked.calls, looked.without_usage, shown(looked)) == (1, 2, [])


def test_a_response_that_runs_has_no_cost_yet() -> None:
    turn = Turn(0, 0, 900, [])
    turn.responses = [replace(response(1, None), end_ms=None)]
    assert shown(found([session()], [("s1", turn)])) == []


def test_a_call_without_its_dials_is_priced_by_the_sessions_model() -> None:
    turn = Turn(0, 0, 900, [said("i1", 10, 1_000)])
    turn.responses = [response(1, 10)]
    assert shown(found([session(dials=())], [("s1", turn)])) == []


def test_a_document_that_cannot_be_read_is_counted() -> None:
    looked = found([session()], [], summary=7)
    assert (looked.calls, looked.unreadable) == (0, 1)
