"""A record that is written as documents and read back is the same; documents of a wrong shape are refused."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.stores.records import session_record

from audio.line_in import LineCounts
from sessions.accounts import (
    Dial,
    DialCause,
    LegError,
    ModelTarget,
    ResponseOrigin,
    ResponseUse,
    SetupFacts,
    SpeechStretch,
)
from sessions.caller_facts import UNKNOWN_CALLER, CallerFacts, Direction
from sessions.record import CallSummary, Heard, PlayedSpan, Speaker, ToolUse, Turn, Utterance
from sessions.stores.contract import BadDocument, Document
from sessions.stores.documents import (
    Owner,
    RecordingInfo,
    RecordingState,
    SessionRecord,
    SessionState,
    played_spans,
    session_document,
    session_from_document,
    ttl_of,
    turn_document,
    turn_from_document,
)
from sessions.usage import TokenUsage, TranscriptionUsage

ms = st.integers(0, 2**40)
word = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
maybe_word = st.none() | word
count = st.integers(0, 2**40)
usages = st.builds(TokenUsage, *[count] * 12)
costs = st.none() | count
transcriptions = st.builds(TranscriptionUsage, word, *[count] * 4)
response_uses = st.builds(
    ResponseUse,
    response_id=word,
    origin=st.sampled_from(ResponseOrigin),
    leg=st.integers(0, 9),
    asked_ms=st.none() | ms,
    begin_ms=ms,
    first_sound_ms=st.none() | ms,
    end_ms=st.none() | ms,
    outcome=maybe_word,
    reason=maybe_word,
    usage=st.none() | usages,
    cost_nano=costs,
)
stretches = st.builds(SpeechStretch, ms, st.none() | ms)
dials = st.builds(
    Dial,
    cause=st.sampled_from(DialCause),
    attempt=st.integers(0, 9),
    target=st.builds(ModelTarget, word, word, st.none() | st.integers(1, 65_535)),
    begin_ms=ms,
    ready_ms=st.none() | ms,
    lost_ms=st.none() | ms,
    error=st.none() | st.sampled_from(LegError),
    model_session=maybe_word,
    served=maybe_word,
)
utterances = st.builds(
    Utterance,
    item_id=word,
    speaker=st.sampled_from(Speaker),
    text=word,
    heard_text=word,
    spoken=st.booleans(),
    begin_ms=ms,
    sent_ms=ms,
    heard_ms=ms,
    heard=st.none() | st.sampled_from(Heard),
    final=st.booleans(),
    images=st.integers(0, 9),
    keys=st.booleans(),
) | st.builds(
    Utterance,
    *(word, st.just(Speaker.CALLER), word, word, st.just(True), ms),
    transcription=transcriptions,
    transcription_cost_nano=costs,
)
tool_uses = st.builds(
    ToolUse,
    call_id=word,
    item_id=word,
    name=word,
    arguments=word,
    server_side=st.booleans(),
    begin_ms=ms,
    end_ms=st.none() | ms,
    output=maybe_word,
    error=maybe_word,
    server=maybe_word,
    deadline_ms=st.none() | ms,
)
turns = st.builds(
    Turn,
    index=st.integers(0, 99_999),
    begin_ms=ms,
    end_ms=st.none() | ms,
    entries=st.lists(utterances | tool_uses, max_size=5),
    latency_ms=st.none() | ms,
    interrupted=st.booleans(),
    outcome=maybe_word,
    usage=usages,
    responses=st.lists(response_uses, max_size=3),
    speech=st.lists(stretches, max_size=3),
    cost_nano=costs,
    budget_reached=st.booleans(),
)
records = st.builds(
    SessionRecord,
    tenant=word,
    session_id=word,
    agent=word,
    agent_version=word,
    model=word,
    protocol=word,
    state=st.sampled_from(SessionState),
    started_at=st.floats(0, 1e10),
    ended_at=st.none() | st.floats(0, 1e10),
    summary=st.builds(
        CallSummary,
        *(ms, ms, ms, ms, usages, st.integers(0, 9), maybe_word, ms),
        line=st.none() | st.builds(LineCounts, ms, ms, ms),
        cost_nano=costs,
        transcriptions=st.lists(st.tuples(transcriptions, costs), max_size=2).map(tuple),
        outside=usages,
    ),
    latencies_ms=st.lists(ms, max_size=5).map(tuple),
    recording=st.builds(
        RecordingInfo,
        st.sampled_from(RecordingState),
        st.booleans(),
        maybe_word,
        st.none() | ms,
        st.none() | ms,
        st.none() | ms,
        maybe_word,
        maybe_word,
    ),
    owner=st.builds(Owner, word, word),
    caller=st.builds(
        CallerFacts.of,
        maybe_word,
        maybe_word,
        st.sampled_from(Direction),
        st.dictionaries(word, word, max_size=20),
        maybe_word,
        maybe_word,
    ),
    dials=st.lists(dials, max_size=3).map(tuple),
    setup=st.builds(SetupFacts, ms, word, word),
    prices=word,
)


def through_json(document: Document) -> Document:
    parsed: Document = orjson.loads(orjson.dumps(document))
    return parsed


@given(turns)
def test_a_turn_comes_back_from_its_document(turn: Turn) -> None:
    assert turn_from_document(through_json(turn_document("t", "s", turn, ttl_s=9))) == turn


@given(records)
def test_a_session_comes_back_from_its_document(record: SessionRecord) -> None:
    assert session_from_document(through_json(session_document(record, ttl_s=None))) == record


RECORD = session_record(
    "sess_1", caller=CallerFacts.of("+4930", "+4989", Direction.OUTBOUND, {"order": "17"}, "CA17", "de")
)


def test_a_sessions_document_holds_the_facts_about_its_caller() -> None:
    document = session_document(RECORD, ttl_s=None)
    assert document["caller"] == {
        "number": "+4930",
        "called": "+4989",
        "direction": "outbound",
        "metadata": {"order": "17"},
        "carrier_call_id": "CA17",
        "language": "de",
    }


def test_a_document_from_before_carriers_had_ids_and_calls_a_language_is_read() -> None:
    older = through_json(session_document(RECORD, ttl_s=None))
    caller: Any = older["caller"]
    del caller["carrier_call_id"], caller["language"]
    found = session_from_document(older).caller
    assert (found.number, found.carrier_call_id, found.language) == ("+4930", None, None)


@pytest.mark.parametrize("caller", [None, {}, {"number": 4930, "direction": "sideways", "metadata": ["order"]}])
def test_a_session_with_missing_or_wrong_facts_about_its_caller_is_still_read(caller: dict[str, Any] | None) -> None:
    document = through_json({**session_document(RECORD, ttl_s=None), "caller": caller})
    assert session_from_document(document).caller == UNKNOWN_CALLER
    older = {name: value for name, value in document.items() if name != "caller"}
    assert session_from_document(older).caller == UNKNOWN_CALLER


def said(speaker: Speaker, text: str, heard_text: str | None = None, **more: Any) -> Utterance:
    heard = text if heard_text is None else heard_text
    return Utterance(f"item_{text[:5]}", speaker, text, heard, True, **{"begin_ms": 0, **more})


def tool(output: str | None) -> ToolUse:
    return ToolUse("call_1", "item_t", "find_table", '{"people": 2}', True, 10, output=output)


def test_documents_from_before_the_account_was_kept_are_read_as_empty_and_of_unknown_cost() -> None:
    session = through_json(session_document(RECORD, ttl_s=None))
    for name in ("dials", "setup", "prices"):
        del session[name]
    summary = session["summary"]
    assert isinstance(summary, dict)
    for name in ("cost_nano", "transcriptions", "outside"):
        del summary[name]
    old_usage = {name: summary["usage"][name] for name in list(summary["usage"])[:6]}
    read = session_from_document({**session, "summary": {**summary, "usage": old_usage}})
    assert (read.dials, read.setup, read.prices) == ((), SetupFacts(), "")
    assert (read.summary.cost_nano, read.summary.transcriptions, read.summary.outside) == (None, (), TokenUsage())
    assert read.summary.usage == RECORD.summary.usage

    turn = Turn(3, 0, 5, [said(Speaker.CALLER, "hello")], usage=TokenUsage(1, 2, 3, 4, 5, 6))
    document = through_json(turn_document("t", "s", turn, ttl_s=None))
    for name in ("responses", "speech", "cost_nano", "budget_reached"):
        del document[name]
    entry = document["entries"][0]
    del entry["keys"], entry["transcription"]
    turn.cost_nano = None
    assert turn_from_document(document) == turn


def test_half_a_surrogate_pair_becomes_a_replacement_character() -> None:
    turn = Turn(0, 0, 10, [said(Speaker.CALLER, "a caf\u00e9 \ud83d!")])
    back = turn_from_document(through_json(turn_document("t", "s", turn, ttl_s=None)))
    assert isinstance(back.entries[0], Utterance)
    assert back.entries[0].text == "a caf\u00e9 \ufffd!"


def test_played_spans_are_the_heard_speech_of_the_agent_in_order_of_time() -> None:
    turn = Turn(
        0,
        0,
        10,
        [
            said(Speaker.AGENT, "later", begin_ms=900, heard_ms=50),
            said(Speaker.AGENT, "first", begin_ms=100, heard_ms=400),
            said(Speaker.AGENT, "never", begin_ms=500, heard_ms=0),
            said(Speaker.CALLER, "caller", begin_ms=0, heard_ms=70),
            tool("x"),
        ],
    )
    assert played_spans([turn]) == [PlayedSpan("item_first", 100, 400), PlayedSpan("item_later", 900, 50)]


def test_retention_days_become_a_ttl_in_seconds_or_none() -> None:
    assert ttl_of(30) == 30 * 86_400
    assert ttl_of(None) is None
    assert ttl_of(36_500) == 2**31 - 1  # the longest that a store takes
    turn = Turn(3, 0)
    assert "ttl" not in turn_document("t", "s", turn, ttl_s=None)
    assert turn_document("t", "s", turn, ttl_s=60)["ttl"] == 60
    assert turn_document("t", "s", turn, ttl_s=60)["id"] == "turn_00003"


@pytest.mark.parametrize(
    "change",
    [
        {"type": "session"},
        {"schema": 2},
        {"index": "0"},
        {"entries": None},
        {"entries": [1]},
        {"entries": [{"kind": "song"}]},
        {"entries": [{"kind": "said", "item_id": 4}]},
        {"interrupted": 0},
        {"usage": []},
        {"responses": [{"response_id": "r", "origin": "somebody", "leg": 0, "begin_ms": 0}]},
        {"speech": [{"begin_ms": "now"}]},
        {"cost_nano": 0.5},
    ],
)
def test_a_turn_of_the_wrong_shape_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(BadDocument):
        turn_from_document({**turn_document("t", "s", Turn(0, 0), ttl_s=None), **change})


def test_an_unknown_value_is_refused_and_an_unknown_field_is_ignored() -> None:
    turn = Turn(0, 0, 5, [said(Speaker.CALLER, "hello")])
    document = through_json(turn_document("t", "s", turn, ttl_s=None))
    assert turn_from_document({**document, "mood": "sunny"}) == turn
    wrong = orjson.loads(orjson.dumps(document).replace(b'"caller"', b'"ghost"'))
    with pytest.raises(BadDocument, match="field 'speaker'") as refused:
        turn_from_document(wrong)
    assert "ghost" not in str(refused.value)
