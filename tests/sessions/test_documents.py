"""Records become documents and come back the same; a history holds what was said and heard, in order."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessions.documents import (
    UNANSWERED,
    Owner,
    RecordingInfo,
    RecordingState,
    SessionRecord,
    SessionState,
    history,
    played_spans,
    session_document,
    session_from_document,
    ttl_of,
    turn_document,
    turn_from_document,
)
from sessions.past import PastMessage, PastToolCall
from sessions.record import CallSummary, Heard, PlayedSpan, Speaker, ToolUse, Turn, Utterance
from sessions.stores.contract import BadDocument, Document
from sessions.usage import TokenUsage

ms = st.integers(0, 2**40)
word = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
maybe_word = st.none() | word
usages = st.builds(TokenUsage, *[st.integers(0, 2**40)] * 6)
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
    summary=st.builds(CallSummary, ms, ms, ms, ms, usages, st.integers(0, 9), maybe_word, ms),
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


def said(speaker: Speaker, text: str, heard_text: str | None = None, **more: Any) -> Utterance:
    heard = text if heard_text is None else heard_text
    return Utterance(f"item_{text[:5]}", speaker, text, heard, True, **{"begin_ms": 0, **more})


def tool(output: str | None) -> ToolUse:
    return ToolUse("call_1", "item_t", "find_table", '{"people": 2}', True, 10, output=output)


def documents(*turns_given: Turn) -> list[Document]:
    return [turn_document("default", "s1", turn, ttl_s=None) for turn in turns_given]


def test_a_history_is_in_order_and_ends_where_the_agent_was_cut() -> None:
    first = Turn(0, 0, 10, [said(Speaker.AGENT, "Hello, how can I help?")])
    second = Turn(
        1,
        10,
        20,
        [
            said(Speaker.CALLER, "A table for two"),
            tool('{"free": true}'),
            said(Speaker.AGENT, "There is one at eight by the window", "There is one at"),
        ],
    )
    assert history(documents(second, first)) == (
        PastMessage("item_Hello", "assistant", "Hello, how can I help?"),
        PastMessage("item_A tab", "user", "A table for two"),
        PastToolCall("item_t", "call_1", "find_table", '{"people": 2}', '{"free": true}'),
        PastMessage("item_There", "assistant", "There is one at"),
    )


def test_what_nobody_heard_or_said_is_no_history() -> None:
    turn = Turn(0, 0, 10, [said(Speaker.AGENT, "You never heard this", ""), said(Speaker.CALLER, " ")])
    assert history(documents(turn)) == ()


def test_a_tool_without_a_result_says_so() -> None:
    (past,) = history(documents(Turn(0, 0, 10, [tool(None)])))
    assert isinstance(past, PastToolCall)
    assert past.output == UNANSWERED


def test_an_image_without_words_leaves_a_note() -> None:
    (past,) = history(documents(Turn(0, 0, 10, [said(Speaker.CALLER, "", images=2)])))
    assert isinstance(past, PastMessage)
    assert past.text == "[2 image(s), no longer here]"


def test_half_a_surrogate_costs_one_character_and_not_the_turn() -> None:
    turn = Turn(0, 0, 10, [said(Speaker.CALLER, "a caf\u00e9 \ud83d!")])
    back = turn_from_document(through_json(turn_document("t", "s", turn, ttl_s=None)))
    assert isinstance(back.entries[0], Utterance)
    assert back.entries[0].text == "a caf\u00e9 \ufffd!"


def test_played_spans_are_the_agents_heard_speech_by_time() -> None:
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


def test_retention_days_become_seconds_or_nothing() -> None:
    assert ttl_of(30) == 30 * 86_400
    assert ttl_of(None) is None
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
    ],
)
def test_a_turn_of_the_wrong_shape_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(BadDocument):
        turn_from_document({**turn_document("t", "s", Turn(0, 0), ttl_s=None), **change})


def test_an_unknown_word_is_refused_and_an_unknown_field_skipped() -> None:
    turn = Turn(0, 0, 5, [said(Speaker.CALLER, "hello")])
    document = through_json(turn_document("t", "s", turn, ttl_s=None))
    assert turn_from_document({**document, "mood": "sunny"}) == turn
    wrong = orjson.loads(orjson.dumps(document).replace(b'"caller"', b'"ghost"'))
    with pytest.raises(BadDocument, match="ghost"):
        turn_from_document(wrong)
