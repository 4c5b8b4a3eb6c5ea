"""When turns have settled, that each is sent once, and that what is remembered is bounded."""

from __future__ import annotations

from typing import Any

import pytest
from support.telemetry.telemetry_records import (
    STARTED_S,
    agent,
    call_document,
    caller,
    dial,
    document_of,
    response,
    tool,
    turn_of,
)

from gateway.telemetry.spans import followed, ids, names
from gateway.telemetry.spans.policy import Shape, TelemetryPolicy
from gateway.telemetry.spans.sampling import keeps
from gateway.telemetry.spans.settled import Settled
from gateway.telemetry.spans.settling import MAX_TURNS, WAIT_S, Settling
from sessions.accounts import LegError, ResponseOrigin
from sessions.agent import TelemetryContent
from sessions.record import Turn
from sessions.stores.contract import Document

LIVE = call_document(over=False, turns=1)
NOW_S = STARTED_S + 4.1  # just after the end of the turns of `turn_of`
WAITING = turn_of(entries=[caller("", final=False), agent("x")])


def following(*documents: Document, policy: TelemetryPolicy | None = None) -> Settling:
    found = Settling(policy or TelemetryPolicy())
    for document in documents:
        found.take(document)
    return found


def names_of(settled: list[Settled]) -> list[Any]:
    return [each.what.value if each.index is None else (each.what.value, each.index) for each in settled]


SET_UP = ["setup", ("dial", 0)]


def test_a_turn_that_has_everything_is_sent_at_once_and_once() -> None:
    found = following(LIVE, document_of(turn_of()))
    assert names_of(found.on_time(NOW_S)) == [*SET_UP, ("turn", 0)]
    found.take(LIVE)
    found.take(document_of(turn_of()))
    assert names_of(found.on_time(NOW_S + 60)) == []
    found.take(call_document())
    assert names_of(found.on_time(NOW_S + 60)) == ["call"]
    assert found.calls == 0
    found.take(call_document())  # as it is when its recording is ready
    found.take(document_of(turn_of(1)))
    assert (found.on_time(NOW_S + 61), found.calls) == ([], 0)


@pytest.mark.parametrize(
    "turn", [WAITING, turn_of(entries=[tool(end_ms=None, output=None)]), turn_of(entries=[agent("", final=False)])]
)
def test_a_turn_waits_for_what_may_still_come_but_only_5_seconds(turn: Turn) -> None:
    found = following(LIVE, document_of(turn))
    end_s = STARTED_S + 4
    assert names_of(found.on_time(NOW_S)) == SET_UP
    assert names_of(found.on_time(end_s + WAIT_S - 0.1)) == []
    assert names_of(found.on_time(end_s + WAIT_S)) == [("turn", 0)]


def test_a_turn_waits_until_its_speech_has_been_heard() -> None:
    sounding = agent("x", begin_ms=4_000, sent_ms=20_000, heard_ms=100)
    found = following(LIVE, document_of(turn_of(entries=[sounding])))
    assert names_of(found.on_time(NOW_S)) == SET_UP
    assert names_of(found.on_time(STARTED_S + 24.0 + WAIT_S - 0.1)) == []
    assert names_of(found.on_time(STARTED_S + 24.0 + WAIT_S)) == [("turn", 0)]
    found = following(LIVE, document_of(turn_of(entries=[sounding], interrupted=True)))
    assert names_of(found.on_time(NOW_S)) == [*SET_UP, ("turn", 0)]


def test_the_newest_version_of_a_turn_is_sent() -> None:
    found = following(LIVE, document_of(WAITING), policy=TelemetryPolicy(content=TelemetryContent.TEXT))
    found.on_time(NOW_S)
    found.take(document_of(turn_of()))
    found.take(document_of(turn_of(end_ms=None)))  # an older one, which came late
    (settled,) = found.on_time(NOW_S)
    assert "When are you open?" in str(settled.spans[0].attributes[names.INPUT_MESSAGES])


def test_a_turn_that_goes_on_is_sent_when_the_call_is_over() -> None:
    found = following(LIVE, document_of(turn_of(end_ms=None)))
    assert names_of(found.on_time(NOW_S + 60)) == SET_UP
    found.take(call_document())
    assert names_of(found.on_time(NOW_S + 60)) == [("turn", 0), "call"]


def test_an_older_session_document_does_not_open_a_call_again() -> None:
    found = following(call_document(turns=2), LIVE, document_of(turn_of()))
    assert names_of(found.on_time(NOW_S)) == [*SET_UP, ("turn", 0), "call"]
    found.take(LIVE)
    found.take(document_of(turn_of(1, end_ms=None)))
    assert names_of(found.on_time(NOW_S)) == [("turn", 1)]
    assert found.calls == 0


def test_a_turn_that_is_missing_at_the_end_is_waited_for_5_seconds() -> None:
    found = following(call_document(turns=1))
    assert names_of(found.on_time(NOW_S)) == [*SET_UP, "call"]
    assert found.calls == 1
    found.on_time(NOW_S + WAIT_S)
    assert found.calls == 0


def test_the_set_up_waits_for_a_model_and_a_dial_for_its_end() -> None:
    waits, gone = dial(ready_ms=None), dial(ready_ms=None, lost_ms=900, error=LegError.TIMEOUT)
    found = following(call_document(over=False, turns=0, dials=(waits,)))
    assert names_of(found.on_time(NOW_S)) == []
    found.take(call_document(over=False, turns=0, dials=(gone, waits)))
    assert names_of(found.on_time(NOW_S)) == []
    found.take(call_document(over=False, turns=0, dials=(gone, dial(begin_ms=900, ready_ms=950))))
    assert names_of(found.on_time(NOW_S)) == ["setup", ("dial", 0), ("dial", 1)]
    found.take(call_document(turns=0, dials=(gone, dial(begin_ms=900, ready_ms=950), dial(begin_ms=990))))
    assert names_of(found.on_time(NOW_S)) == [("dial", 2), "call"]


def test_a_call_that_another_process_has_ended_is_like_any_other() -> None:
    recovered: Any = dict(call_document(turns=1))
    recovered["owner"] = {"process": "p", "boot": "another", "fence": 2}
    found = following(document_of(turn_of()), recovered)
    assert names_of(found.on_time(NOW_S)) == [*SET_UP, ("turn", 0), "call"]


def test_turns_wait_for_their_session() -> None:
    found = following(document_of(turn_of()))
    assert found.on_time(NOW_S) == []
    found.take(LIVE)
    assert names_of(found.on_time(NOW_S)) == [*SET_UP, ("turn", 0)]


def test_what_cannot_be_read_is_counted_and_other_documents_are_ignored() -> None:
    found = following({"type": "turn"}, {**document_of(turn_of()), "begin_ms": "soon"}, {**LIVE, "agent": 3})
    assert found.unreadable == 3
    found.take({**LIVE, "type": "score"})
    assert (found.unreadable, found.on_time(NOW_S)) == (3, [])


def test_of_a_call_with_very_many_waiting_turns_the_first_are_sent() -> None:
    found = following(LIVE, *(document_of(turn_of(index, end_ms=None)) for index in range(MAX_TURNS + 2)))
    assert names_of(found.on_time(NOW_S))[:2] == [("turn", 0), ("turn", 1)]


def test_calls_that_never_end_are_forgotten_and_nothing_of_them_is_sent_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followed, "MAX_CALLS", 2)
    monkeypatch.setattr(followed, "MAX_PAST", 3)
    found = following(LIVE, document_of(turn_of()))
    found.on_time(NOW_S)
    found.take(document_of(turn_of(1, entries=[tool(end_ms=None)])))
    for number in (2, 3, 4, 5):
        found.take({**LIVE, "session_id": f"sess_{number}"})
    assert found.calls == 2
    assert names_of(found.on_time(NOW_S))[0] == ("turn", 1)  # what was known of it, as it had to go
    for document in (LIVE, document_of(turn_of(0)), document_of(turn_of(1)), document_of(turn_of(2))):
        found.take(document)
    mine = [each for each in found.on_time(NOW_S) if each.session_id == "sess_1"]
    assert names_of(mine) == [("turn", 2)]


# ---- sampling


def dropped(number: int = 0) -> str:
    """The id of a session that is not kept at a ratio of a tenth."""
    return [name for name in (f"sess_{at}" for at in range(100)) if not keeps(name, 0.1)][number]


def sampled(shape: Shape, *turns: Turn, over: bool = True) -> list[Settled]:
    session_id = dropped()
    policy = TelemetryPolicy(shape=shape, ratio=0.1, slow_ms=2_000)
    documents = [document_of(turn, session_id) for turn in turns]
    found = following({**call_document(over=over), "session_id": session_id}, *documents, policy=policy)
    return found.on_time(NOW_S)


SLOW = {"latency_ms": 2_001}


@pytest.mark.parametrize(
    "more",
    [
        SLOW,
        {"outcome": "failed"},
        {"entries": [tool(error="timeout")]},
        {"responses": [response(origin=ResponseOrigin.REDIAL)]},
    ],
)
def test_of_a_call_that_is_not_kept_only_bad_turns_are_sent(more: dict[str, Any]) -> None:
    assert names_of(sampled(Shape.TURN, turn_of(0), turn_of(1, **more))) == [("turn", 1)]


def test_in_the_shape_call_a_bad_turn_brings_the_root_of_its_trace() -> None:
    assert names_of(sampled(Shape.CALL, turn_of(0), turn_of(1))) == []
    assert names_of(sampled(Shape.CALL, turn_of(0), turn_of(1, **SLOW), turn_of(2, **SLOW))) == [
        "setup",
        ("turn", 1),
        ("turn", 2),
    ]
    late = sampled(Shape.CALL, turn_of(200), turn_of(203, **SLOW))
    assert names_of(late) == [("turn", 200), ("turn", 203)]
    assert late[1].spans[0].parent_id == late[0].spans[0].span_id == ids.turn_span(dropped(), 200)


def test_a_trace_that_is_wanted_already_gets_its_root_as_soon_as_that_has_settled() -> None:
    policy = TelemetryPolicy(shape=Shape.CALL, ratio=0.1)
    session_id = dropped()
    waiting = turn_of(200, entries=WAITING.entries)
    found = following(
        {**LIVE, "session_id": session_id},
        document_of(waiting, session_id),
        document_of(turn_of(201, **SLOW), session_id),
        policy=policy,
    )
    assert names_of(found.on_time(NOW_S)) == [("turn", 201)]
    assert names_of(found.on_time(NOW_S + WAIT_S)) == [("turn", 200)]


def test_the_share_that_is_kept_is_as_set() -> None:
    kept = sum(keeps(f"sess_{at}", 0.25) for at in range(4_000))
    assert 900 < kept < 1_100
    assert all(keeps(f"sess_{at}", 1.0) for at in range(100))
    assert not any(keeps(f"sess_{at}", 0.0) for at in range(100))


# ---- words


def words(policy: TelemetryPolicy, *documents: Document) -> list[str]:
    settled = following(*documents, policy=policy).on_time(NOW_S + 60)
    roots = [each.spans[0] for each in settled if each.what.value == "turn"]
    return [str(root.attributes.get(names.OUTPUT_MESSAGES, "")) for root in roots]


def test_an_agent_may_lower_what_is_sent_and_not_raise_it() -> None:
    turn = document_of(turn_of())
    lowered = {"harbour": TelemetryContent.NONE}
    assert words(TelemetryPolicy(content=TelemetryContent.TEXT, agents=lowered), LIVE, turn) == [""]
    raised = {"harbour": TelemetryContent.AUDIO}
    assert words(TelemetryPolicy(agents=raised), LIVE, turn) == [""]
    assert "noon" in words(TelemetryPolicy(content=TelemetryContent.AUDIO, agents=raised), LIVE, turn)[0]


def test_a_telephone_call_of_which_earlier_turns_are_unknown_is_sent_without_words() -> None:
    text = TelemetryPolicy(content=TelemetryContent.TEXT)
    phone = {**call_document(over=False, turns=3), "protocol": "twilio"}
    turns = [document_of(turn_of(index)) for index in range(3)]
    assert all(words(text, phone, *turns))
    assert words(text, phone, *turns[1:]) == ["", ""]
    assert all(words(text, {**phone, "protocol": "realtime"}, *turns[1:]))
