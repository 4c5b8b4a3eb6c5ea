"""What a caller's client notes of the events: whose answer it was, what was cut off, what tools did."""

from __future__ import annotations

import base64
from typing import Any

from gateway.phone.hearing import Hearing
from gateway.phone.report import CallReport, ProblemRow, ToolRow, TurnRow

SECOND = base64.b64encode(b"\x01\x00" * 24_000).decode()


class Line:
    """A hearing, its report, and the lines that it told."""

    def __init__(self) -> None:
        self.report = CallReport("desk")
        self.told: list[str] = []
        self.hearing = Hearing(self.report, self.told.append)

    def says(self, label: str, at_ms: int = 0) -> TurnRow:
        row = TurnRow(len(self.report.turns) + 1, label, at_ms)
        self.hearing.turn_begins(row)
        return row

    def hears(self, kind: str, at_ms: int = 0, **fields: Any) -> dict[str, Any] | None:
        return self.hearing.take({"type": kind, **fields}, at_ms)

    def answers(self, response_id: str, words: str, at_ms: int = 0) -> None:
        self.hears("response.created", at_ms, response={"id": response_id})
        self.sounds(response_id, f"item_{response_id}", at_ms)
        self.hears("response.output_audio_transcript.done", at_ms, response_id=response_id, transcript=words)
        self.hears("response.done", at_ms, response={"id": response_id, "output": [{"type": "message"}]})

    def sounds(self, response_id: str, item_id: str, at_ms: int) -> None:
        self.hears("response.output_audio.delta", at_ms, response_id=response_id, item_id=item_id, delta=SECOND)


def test_what_is_said_before_the_first_turn_is_the_greeting() -> None:
    line = Line()
    line.hears("session.created", session={"id": "sess_1"})
    line.answers("r1", "Good day.")
    line.answers("r2", "How can I help?")
    assert (line.report.session_id, line.report.greeting) == ("sess_1", "Good day. How can I help?")
    assert line.told == ["agent   Good day.", "agent   How can I help?"]


def test_an_answer_belongs_to_the_turn_in_which_it_began() -> None:
    line = Line()
    first = line.says("hello")
    line.hears("conversation.item.input_audio_transcription.completed", transcript="hello")
    line.hears("response.created", response={"id": "r1"})
    second = line.says("wait")
    line.hears("response.output_text.done", response_id="r1", text="Yes?")
    assert (first.heard, first.answer, second.answer) == ("hello", "Yes?", "")
    assert line.told == ["caller  hello", "heard   hello", "caller  wait", "agent   Yes?"]


def test_the_agent_is_told_how_much_of_a_cut_answer_was_heard() -> None:
    line = Line()
    assert line.hears("input_audio_buffer.speech_started", 10) is None  # nothing sounds yet
    row = line.says("hello")
    line.answers("r1", "A long story.", at_ms=1000)
    assert line.hears("input_audio_buffer.speech_started", 1400) == {
        "type": "conversation.item.truncate",
        "item_id": "item_r1",
        "content_index": 0,
        "audio_end_ms": 400,
    }
    assert row.interrupted


def test_a_barge_in_waits_until_the_answer_has_sounded_for_so_long() -> None:
    line = Line()
    assert not line.hearing.sounded_for(0, 10_000)
    line.says("hello")
    assert not line.hearing.sounded_for(0, 10_000)
    line.answers("r1", "A long story.", at_ms=1000)
    assert not line.hearing.sounded_for(600, 1599)
    assert line.hearing.sounded_for(600, 1600)


def test_sound_that_is_complete_and_has_sounded_is_not_cut() -> None:
    line = Line()
    line.hears("response.created", response={"id": "r1"})
    line.sounds("r1", "a", 0)
    line.hears("response.output_audio.done")
    assert line.hears("input_audio_buffer.speech_started", 1500) is None


def test_tools_and_their_outcomes_stand_under_the_turn() -> None:
    line = Line()
    row = line.says("book")
    for kind in ("response.output_item.added", "response.output_item.done"):
        line.hears(kind, item={"type": "message", "id": "m"})
        line.hears(kind, item={"type": "mcp_call", "id": "a", "name": "find", "arguments": "{}", "output": "two"})
        refused = {"type": "mcp_call", "id": "b", "name": "book", "arguments": "{}", "error": {"message": "full"}}
        line.hears(kind, item=refused)
    assert row.tools == [ToolRow("find", "{}", "two", None), ToolRow("book", "{}", None, "full")]
    assert line.told[1:] == ["tool    find {} -> two", "tool    book {} -> full"]


def test_what_the_model_reports_is_told_by_code_and_type() -> None:
    line = Line()
    row = line.says("hello")
    failure = {"type": "server_error", "code": "rate_limit_exceeded", "message": "Slow down."}
    line.hears("response.created", response={"id": "r1"})
    line.hears("response.done", response={"id": "r1", "status": "failed", "status_details": {"error": failure}})
    assert row.error == "the answer failed: rate_limit_exceeded (server_error)"
    cut = line.says("and now")
    details = {"type": "incomplete", "reason": "content_filter"}
    line.hears("response.created", response={"id": "r2"})
    line.hears("response.done", response={"id": "r2", "status": "incomplete", "status_details": details})
    assert (cut.error, cut.problem) == (
        "the answer was cut off before a word: content_filter (incomplete)",
        ProblemRow("content_filter", "incomplete"),
    )
    assert line.told[1::2] == ["problem rate_limit_exceeded (server_error)", "problem content_filter (incomplete)"]


def test_an_error_that_ends_the_call_says_what_the_model_said() -> None:
    line = Line()
    why = {"code": "insufficient_quota", "type": "insufficient_quota"}
    error = {"code": "model_lost", "type": "server_error", "message": "Lost.", "model_problem": why}
    line.hears("error", error=error)
    line.hears("error", error={"code": 'no "word"\n', "type": None, "message": None})
    assert line.told[0] == "error   model_lost (server_error), insufficient_quota: Lost."
    assert line.report.as_json()["problems"] == [
        {"code": "model_lost", "type": "server_error"},
        {"code": "insufficient_quota", "type": "insufficient_quota"},
        {"code": "other", "type": None},
    ]


def test_faults_are_told_and_a_failed_answer_is_noted() -> None:
    line = Line()
    failed = {"id": "r0", "status": "failed"}
    line.hears("response.done", response=failed)  # a greeting has no row
    row = line.says("hello")
    line.hears("error", error={"message": "too fast"})
    line.hears("response.done", response=failed)
    line.hears("something.new")
    assert line.told == ["caller  hello", "error   too fast"]
    assert row.error == "the answer failed"
