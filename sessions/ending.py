"""How a call ends: the agent's goodbye, the end itself, and what the record still takes after it."""

from __future__ import annotations

from sessions.commands import DropModel, EndCall, StopTool
from sessions.events import CallerTranscribed, CallEvent, ToolFinished
from sessions.problems import ModelProblem
from sessions.state import CallState, Line

LEAVE_AFTER_MS = 15_000  # a goodbye that has not ended by then is not waited for
LEAVE_LIMIT_MS = 30_000  # a goodbye that has not come by then is not waited for either


def leave_soon(state: CallState, now_ms: int) -> None:
    """The agent wants to hang up, and will say goodbye first."""
    if not state.leave_wanted:
        state.leave_wanted = True
        state.leave_at_ms = now_ms + LEAVE_LIMIT_MS


def leave(state: CallState, now_ms: int) -> None:
    """The agent has said goodbye: end the call when it has sounded."""
    state.leaving = True
    state.leave_at_ms = min(max(now_ms, state.ledger.plays_until_ms) + 200, now_ms + LEAVE_AFTER_MS)


def end(
    state: CallState,
    reason: str,
    message: str,
    error_code: str | None,
    now_ms: int,
    *,
    problem: ModelProblem | None = None,
) -> None:
    """End the call once; what comes later changes nothing. `problem`: of the model's, that is the reason."""
    if state.over():
        return
    state.end_reason = reason
    state.ended_ms = now_ms
    state.out.append(EndCall(reason, message, error_code, problem))


def wind_up(state: CallState, now_ms: int) -> None:
    """Stop what still runs, once, and close the record as it stands."""
    if state.wound_up:
        return
    state.wound_up = True
    for job in state.tools.running:
        state.out.append(StopTool(job.call_id))
    if state.line is not Line.IDLE:
        state.out.append(DropModel())
    state.line = Line.GONE
    state.hearing.close(now_ms)
    state.book.end(now_ms)
    state.answers.close()


def afterwards(state: CallState, event: CallEvent, now_ms: int) -> None:
    """What comes after the end. The caller's last words may still be on their way from the recogniser."""
    if isinstance(event, CallerTranscribed):
        state.talk.caller_text(event.item_id, event.text, final=event.final)
    elif isinstance(event, ToolFinished):
        state.tool_book.finished(event.call_id, event.output, event.error, now_ms)
