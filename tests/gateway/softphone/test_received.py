"""What the caller's client records from the events: the turn of each answer, what was cut off, what tools did."""

from __future__ import annotations

import base64
from typing import Any

from gateway.softphone.received import ReceivedEvents
from gateway.softphone.report import CallReport, ProblemRow, ToolRow, TurnRow

SECOND = base64.b64encode(b"\x01\x00" * 24_000).decode()


class Phone:
    """Received events, their report, and the lines that they print."""

    def __init__(self) -> None:
        self.report = CallReport("desk")
        self.printed: list[str] = []
        self.events = ReceivedEvents(self.report, self.printed.append)

    def speaks(self, label: str, at_ms: int = 0) -> TurnRow:
        row = TurnRow(len(self.report.turns) + 1, label, at_ms)
        self.events.turn_begins(row)
        return row

    def hears(self, kind: str, at_ms: int = 0, **fields: Any) -> dict[str, Any] | None:
        return self.events.take({"type": kind, **fields}, at_ms)

    def answers(self, response_id: str, words: str, at_ms: int = 0) -> None:
        self.hears("response.created", at_ms, response={"id": response_id})
        self.sounds(response_id, f"item_{response_id}", at_ms)
        self.hears("response.output_audio_transcript.done", at_ms, response_id=response_id, transcript=words)
        self.hears("response.done", at_ms, response={"id": response_id, "output": [{"type": "message"}]})

    def sounds(self, response_id: str, item_id: str, at_ms: int) -> None:
        self.hears("response.output_audio.delta", at_ms, response_id=response_id, item_id=item_id, delta=SECOND)


def test_what_is_said_before_the_first_turn_is_the_greeting() -> None:
    phone = Phone()
    phone.hears("session.created", session={"id": "sess_1"})
    phone.answers("r1", "Good day.")
    phone.answers("r2", "How can I help?")
    assert (phone.report.session_id, phone.report.greeting) == ("sess_1", "Good day. How can I help?")
    assert phone.printed == ["agent   Good day.", "agent   How can I help?"]


def test_an_answer_belongs_to_the_turn_in_which_it_began() -> None:
    phone = Phone()
    first = phone.speaks("hello")
    phone.hears("conversation.item.input_audio_transcription.completed", transcript="hello")
    phone.hears("response.created", response={"id": "r1"})
    second = phone.speaks("wait")
    phone.hears("response.output_text.done", response_id="r1", text="Yes?")
    assert (first.heard, first.answer, second.answer) == ("hello", "Yes?", "")
    assert phone.printed == ["caller  hello", "heard   hello", "caller  wait", "agent   Yes?"]


def test_a_cut_answer_is_truncated_to_what_was_heard() -> None:
    phone = Phone()
    assert phone.hears("input_audio_buffer.speech_started", 10) is None  # nothing is playing yet
    row = phone.speaks("hello")
    phone.answers("r1", "A long story.", at_ms=1000)
    assert phone.hears("input_audio_buffer.speech_started", 1400) == {
        "type": "conversation.item.truncate",
        "item_id": "item_r1",
        "content_index": 0,
        "audio_end_ms": 400,
    }
    assert row.interrupted


def test_a_barge_in_waits_until_the_answer_has_sounded_for_its_time() -> None:
    phone = Phone()
    assert not phone.events.sounded_for(0, 10_000)
    phone.speaks("hello")
    assert not phone.events.sounded_for(0, 10_000)
    phone.answers("r1", "A long story.", at_ms=1000)
    assert not phone.events.sounded_for(600, 1599)
    assert phone.events.sounded_for(600, 1600)


def test_sound_that_is_complete_and_was_played_is_not_cut() -> None:
    phone = Phone()
    phone.hears("response.created", response={"id": "r1"})
    phone.sounds("r1", "a", 0)
    phone.hears("response.output_audio.done")
    assert phone.hears("input_audio_buffer.speech_started", 1500) is None


def test_tools_and_their_results_are_listed_under_the_turn() -> None:
    phone = Phone()
    row = phone.speaks("book")
    for kind in ("response.output_item.added", "response.output_item.done"):
        phone.hears(kind, item={"type": "message", "id": "m"})
        phone.hears(kind, item={"type": "mcp_call", "id": "a", "name": "find", "arguments": "{}", "output": "two"})
        refused = {"type": "mcp_call", "id": "b", "name": "book", "arguments": "{}", "error": {"message": "full"}}
        phone.hears(kind, item=refused)
    assert row.tools == [ToolRow("find", "{}", "two", None), ToolRow("book", "{}", None, "full")]
    assert phone.printed[1:] == ["tool    find {} -> two", "tool    book {} -> full"]


def test_a_model_problem_is_printed_by_code_and_type() -> None:
    phone = Phone()
    row = phone.speaks("hello")
    failure = {"type": "server_error", "code": "rate_limit_exceeded", "message": "Slow down."}
    phone.hears("response.created", response={"id": "r1"})
    phone.hears("response.done", response={"id": "r1", "status": "failed", "status_details": {"error": failure}})
    assert row.error == "the answer failed: rate_limit_exceeded (server_error)"
    cut = phone.speaks("and now")
    details = {"type": "incomplete", "reason": "content_filter"}
    phone.hears("response.created", response={"id": "r2"})
    phone.hears("response.done", response={"id": "r2", "status": "incomplete", "status_details": details})
    assert (cut.error, cut.problem) == (
        "the answer was cut off before a word: content_filter (incomplete)",
        ProblemRow("content_filter", "incomplete"),
    )
    assert phone.printed[1::2] == ["problem rate_limit_exceeded (server_error)", "problem content_filter (incomplete)"]


def test_an_error_that_ends_the_call_includes_the_models_problem() -> None:
    phone = Phone()
    why = {"code": "insufficient_quota", "type": "insufficient_quota"}
    error = {"code": "model_lost", "type": "server_error", "message": "Lost.", "model_problem": why}
    phone.hears("error", error=error)
    phone.hears("error", error={"code": 'no "word"\n', "type": None, "message": None})
    assert phone.printed[0] == "error   model_lost (server_error), insufficient_quota: Lost."
    assert phone.report.as_json()["problems"] == [
        {"code": "model_lost", "type": "server_error"},
        {"code": "insufficient_quota", "type": "insufficient_quota"},
        {"code": "other", "type": None},
    ]


def test_errors_are_printed_and_a_failed_answer_is_recorded() -> None:
    phone = Phone()
    failed = {"id": "r0", "status": "failed"}
    phone.hears("response.done", response=failed)  # a greeting has no row
    row = phone.speaks("hello")
    phone.hears("error", error={"message": "too fast"})
    phone.hears("response.done", response=failed)
    phone.hears("something.new")
    assert phone.printed == ["caller  hello", "error   too fast"]
    assert row.error == "the answer failed"
