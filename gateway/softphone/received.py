"""Turns the gateway's events into sound to play and rows of the report."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pybase64

from gateway.softphone.agent_activity import AgentActivity
from gateway.softphone.playback import Playback
from gateway.softphone.report import CallReport, ProblemRow, ToolRow, TurnRow
from sessions.problems import plain


class ReceivedEvents:
    """Reads events in the order of their arrival, and records under each turn what followed it.

    Times are in ms since the call began. Each line of what is said goes to `tell`.
    """

    def __init__(self, report: CallReport, tell: Callable[[str], None]) -> None:
        self._report = report
        self._tell = tell
        self._turn: TurnRow | None = None  # the caller's latest turn
        self._row_of_response: dict[str, TurnRow | None] = {}  # the turn that each response answers; None: the greeting
        self._row_of_item: dict[str, TurnRow | None] = {}  # the same for each item that has sounded
        self._answer_begin_ms: dict[int, int] = {}  # by the turn's number: when its answer began to sound
        self.playback = Playback()
        self.activity = AgentActivity(self.playback)

    def turn_begins(self, row: TurnRow) -> None:
        """Begin a turn of the caller; responses that start from now on answer it."""
        self._turn = row
        self._report.turns.append(row)
        self._tell(f"caller  {row.said}")

    def sounded_for(self, ms: int, now_ms: int) -> bool:
        """Whether the answer to this turn has sounded for `ms`, or would have if it had not ended earlier."""
        begun_ms = self._answer_begin_ms.get(self._turn.number) if self._turn is not None else None
        return begun_ms is not None and now_ms >= begun_ms + ms

    def take(self, event: dict[str, Any], now_ms: int) -> dict[str, Any] | None:
        """Read one event. Returns a truncation for the agent where its speech was cut off, else None."""
        match event.get("type"):
            case "session.created":
                self._report.session_id = event["session"]["id"]
            case "response.output_audio.delta":
                self._play(event["response_id"], event["item_id"], pybase64.b64decode(event["delta"]), now_ms)
            case "response.output_audio.done":
                self.playback.complete()
            case "input_audio_buffer.speech_started":
                self.activity.caller_heard()
                return self._truncation(now_ms)
            case "response.created":
                self._row_of_response[event["response"]["id"]] = self._turn
                self.activity.response_begins(event["response"]["id"])
            case "response.done":
                self._response_done(event["response"], now_ms)
            case "conversation.item.input_audio_transcription.completed":
                self._add_transcript(event.get("transcript", ""))
            case "response.output_audio_transcript.done":
                self._add_answer(event["response_id"], event.get("transcript", ""))
            case "response.output_text.done":
                self._add_answer(event["response_id"], event.get("text", ""))
            case "response.output_item.added" | "response.output_item.done":
                self._tool(event["type"], event["item"], now_ms)
            case "error":
                self._error(event["error"])
            case _:
                pass
        return None

    def _play(self, response_id: str, item_id: str, pcm: bytes, now_ms: int) -> None:
        begins_ms = self.playback.take(item_id, pcm, now_ms)
        row = self._row_of_item.setdefault(item_id, self._row_of_response.get(response_id))
        if row is not None:
            self._answer_begin_ms.setdefault(row.number, begins_ms)

    def _truncation(self, now_ms: int) -> dict[str, Any] | None:
        cut = self.playback.cut(now_ms)
        if cut is None:
            return None
        item_id, heard_ms = cut
        row = self._row_of_item.get(item_id)
        if row is not None:
            row.interrupted = True
        return {
            "type": "conversation.item.truncate",
            "item_id": item_id,
            "content_index": 0,
            "audio_end_ms": heard_ms,
        }

    def _response_done(self, response: dict[str, Any], now_ms: int) -> None:
        self.playback.complete()  # a response that failed with the model's connection sends no end of its sound
        self.activity.response_ended(response, now_ms)
        details = response.get("status_details") or {}
        failure = details.get("error") or {}
        code, type = failure.get("code") or details.get("reason"), failure.get("type") or details.get("type")
        problem = _problem(code, type) if response.get("status") in ("failed", "incomplete") else None
        if problem is not None:
            self._tell(f"problem {problem}")
        if self._turn is None:
            return
        self._turn.problem = problem or self._turn.problem
        why = "" if problem is None else f": {problem}"
        if response.get("status") == "failed":
            self._turn.error = f"the answer failed{why}"
        elif response.get("status") == "incomplete" and not self._turn.answer:
            self._turn.error = f"the answer was cut off before a word{why}"

    def _error(self, error: dict[str, Any]) -> None:
        """Record an error of the gateway or the model. After a lost connection it may hold the model's own reason."""
        why = error.get("model_problem") or {}
        found = (_problem(error.get("code"), error.get("type")), _problem(why.get("code"), why.get("type")))
        problems = [problem for problem in found if problem is not None]
        self._report.problems += problems
        codes = ", ".join(str(problem) for problem in problems)
        self._tell(f"error   {codes}: {error.get('message')}" if codes else f"error   {error.get('message')}")

    def _add_transcript(self, text: str) -> None:
        if self._turn is not None:
            self._turn.heard = f"{self._turn.heard} {text}".strip()
        self._tell(f"heard   {text}")

    def _add_answer(self, response_id: str, text: str) -> None:
        row = self._row_of_response.get(response_id)
        if row is None:
            self._report.greeting = f"{self._report.greeting} {text}".strip()
        else:
            row.answer = f"{row.answer} {text}".strip()
        self._tell(f"agent   {text}")

    def _tool(self, kind: str, item: dict[str, Any], now_ms: int) -> None:
        if item.get("type") != "mcp_call":
            return
        if kind.endswith("added"):
            self.activity.tool_begins(item["id"])
            return
        self.activity.tool_ended(item["id"], now_ms)
        problem = (item.get("error") or {}).get("message")
        row = ToolRow(item["name"], item["arguments"], item.get("output"), problem)
        if self._turn is not None:
            self._turn.tools.append(row)
        self._tell(f"tool    {row.name} {row.arguments} -> {row.output if problem is None else problem}")


def _problem(code: object, type: object) -> ProblemRow | None:
    """A problem with short plain names; None where the event names none."""
    kind = plain(type)
    name = plain(code) or kind
    return None if name is None else ProblemRow(name, kind)
