"""The calls that the courier follows, and which documents are done."""

from __future__ import annotations

from support.telemetry.telemetry_records import SESSION, STARTED_S, agent, call_document, caller, document_of, turn_of

from gateway.telemetry.courier.calls import LEFT_OUT_S, Calls, PartToSend
from gateway.telemetry.spans.policy import TelemetryPolicy
from gateway.telemetry.spans.words import without_words
from sessions.agent import TelemetryContent

NOW_S = STARTED_S + 4.1  # just after the end of the turns of `turn_of`
LIVE = call_document(over=False)
TEXT = TelemetryPolicy(content=TelemetryContent.TEXT)


def key(index: int) -> tuple[str, str, str]:
    return ("default", SESSION, f"turn_{index:05}")


def parts(found: list[PartToSend]) -> list[str]:
    return [one.part for one in found if one.spans]


def words_in(found: list[PartToSend]) -> bool:
    return any("noon" in str(span.attributes) for one in found for span in one.spans)


def test_a_turn_that_has_settled_is_a_part_and_its_document_is_done_with_it() -> None:
    calls = Calls(TelemetryPolicy())
    assert calls.document(LIVE, NOW_S) == []
    assert calls.document(document_of(turn_of()), NOW_S) == []
    found = calls.on_time(NOW_S)
    assert parts(found) == ["setup", "dial/0", "turn/0"]
    assert [one.documents for one in found] == [[], [], [key(0)]]
    # A later version is done at once.
    (late,) = calls.document(document_of(turn_of(latency_ms=7)), NOW_S)
    assert (late.spans, late.documents) == ((), [key(0)])


def test_a_turn_that_is_left_out_is_done_after_some_seconds() -> None:
    calls = Calls(TelemetryPolicy(ratio=0.0))
    calls.document(LIVE, NOW_S)
    calls.document(document_of(turn_of()), NOW_S)
    assert calls.on_time(NOW_S) == []
    (found,) = calls.on_time(NOW_S + LEFT_OUT_S)
    assert (found.spans, found.documents, found.over) == ((), [key(0)], False)


def test_a_turn_that_is_still_being_heard_is_not_left_out() -> None:
    calls = Calls(TelemetryPolicy())
    calls.document(LIVE, NOW_S)
    calls.document(document_of(turn_of(entries=[agent("x", begin_ms=4_000, sent_ms=20_000, heard_ms=0)])), NOW_S)
    assert parts(calls.on_time(NOW_S + LEFT_OUT_S)) == ["setup", "dial/0"]
    found = calls.on_time(NOW_S + 30)
    assert [(one.part, one.documents) for one in found] == [("turn/0", [key(0)])]


def test_a_call_is_over_some_seconds_after_its_end() -> None:
    calls = Calls(TelemetryPolicy())
    calls.document(call_document(turns=1), NOW_S)
    calls.document(document_of(turn_of()), NOW_S)
    assert parts(calls.on_time(NOW_S)) == ["setup", "dial/0", "turn/0", "call"]
    (found,) = calls.on_time(NOW_S + LEFT_OUT_S)
    assert found.over
    assert calls.on_time(NOW_S + 60) == []


def test_at_the_end_turns_that_have_ended_are_not_waited_for() -> None:
    calls = Calls(TelemetryPolicy())
    calls.document(LIVE, NOW_S)
    calls.document(document_of(turn_of(entries=[caller("", final=False), agent("x")])), NOW_S)
    calls.document(document_of(turn_of(1, end_ms=None)), NOW_S)
    assert parts(calls.on_time(NOW_S)) == ["setup", "dial/0"]
    assert parts(calls.at_end(NOW_S)) == ["turn/0"]


def test_documents_without_words_stay_without_words() -> None:
    calls = Calls(TEXT)
    calls.document(LIVE, NOW_S)
    calls.document(without_words(document_of(turn_of())), NOW_S)
    assert not words_in(calls.on_time(NOW_S))


def test_what_cannot_be_read_is_counted_once() -> None:
    calls = Calls(TelemetryPolicy())
    calls.document({**document_of(turn_of()), "entries": 7}, NOW_S)
    assert (calls.unreadable(), calls.unreadable()) == (1, 0)
