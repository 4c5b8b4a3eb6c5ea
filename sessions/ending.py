"""How a call ends: the agent's goodbye, the end, and what the record still takes afterwards."""

from __future__ import annotations

from sessions import transcribing
from sessions.call_end import Goodbye
from sessions.commands import DropModel, EndCall, StopTool
from sessions.events import CallerAudioDropped, CallerTranscribed, CallEvent, ToolFinished
from sessions.keys import CollectEnd
from sessions.line_events import LineMeasured
from sessions.link import LinkState
from sessions.pending_responses import Origin
from sessions.problems import ModelProblem
from sessions.state import CallState

PLAYED_OUT_MS = 200  # the far end may play this much later than the ledger says
LEAVE_AFTER_MS = 15_000  # how long the call may go on after the goodbye, until that has been played
LEAVE_LIMIT_MS = 30_000  # how long the call may go on after the agent wanted to hang up


def leave_soon(state: CallState, now_ms: int) -> None:
    """The agent wants to hang up, and says goodbye first."""
    if state.end.goodbye is Goodbye.NONE:
        state.end.goodbye = Goodbye.WANTED
        state.due.leave_ms = now_ms + LEAVE_LIMIT_MS


def leave(state: CallState, now_ms: int) -> None:
    """The agent has said goodbye: end the call when that has been played."""
    latest_ms = state.due.leave_ms if state.budget.used_up else None
    state.end.goodbye = Goodbye.SAID
    state.queue.waiting.withdraw(Origin.BUDGET)
    state.end.leave_by_ms = now_ms + LEAVE_AFTER_MS if latest_ms is None else latest_ms
    state.due.leave_ms = min(max(now_ms, state.ledger.plays_until_ms) + PLAYED_OUT_MS, state.end.leave_by_ms)


def goodbye_heard(state: CallState, now_ms: int) -> bool:
    """Whether the call may end now that it is due. If a slow far end still plays the goodbye, it is due later."""
    heard_ms = min(state.ledger.plays_until_ms + PLAYED_OUT_MS, state.end.leave_by_ms)
    if state.end.goodbye is not Goodbye.SAID or now_ms >= heard_ms:
        return True
    state.due.leave_ms = heard_ms
    return False


def end(
    state: CallState,
    reason: str,
    message: str,
    error_code: str | None,
    now_ms: int,
    *,
    problem: ModelProblem | None = None,
) -> None:
    """End the call, unless it has ended. `problem` is the model's problem that is the reason, if there is one."""
    if state.over():
        return
    state.end.reason = reason
    state.end.ended_ms = now_ms
    state.responses.live_item = None
    state.out.append(EndCall(reason, message, error_code, problem))


def wind_up(state: CallState, now_ms: int) -> None:
    """Stop everything that still runs, and close the record. Called once, after the event that has ended the call."""
    _note_last_keys(state, now_ms)
    for job in state.tools.running:
        state.out.append(StopTool(job.call_id))
    if state.link.state is not LinkState.IDLE:
        state.out.append(DropModel())
    state.link.state = LinkState.GONE
    state.accounts.close(state.responses.beside)
    state.heard_text.close(now_ms)
    state.book.end(now_ms)
    state.answers.close()


def _note_last_keys(state: CallState, now_ms: int) -> None:
    """Write the keys into the record that nobody was told of, and those that a tool has so far."""
    collected = state.keypad.stop(CollectEnd.CALL_ENDED, now_ms)
    if collected is not None:
        state.tools.finish(collected.call_id)
        state.tool_book.finished(collected.call_id, collected.output(), "stopped", now_ms)
    rest = state.keypad.rest()
    if rest is not None:
        item_id = state.ids.new("pb")
        state.keypad.is_item(item_id, rest)
        state.transcript.caller_typed(item_id, rest.keys, 0, now_ms, spoken=False)
        state.transcript.places[item_id].said.keys = True


def afterwards(state: CallState, event: CallEvent, now_ms: int) -> None:
    """Take an event after the end: the caller's last words, and results of tools, still go into the record."""
    if isinstance(event, CallerTranscribed):
        transcribing.words(state, event)
    elif isinstance(event, ToolFinished):
        state.tool_book.finished(event.call_id, event.output, event.error, now_ms)
    elif isinstance(event, CallerAudioDropped):
        state.meter.dropped_ms += event.dropped_ms
    elif isinstance(event, LineMeasured):
        state.meter.line = event.counts
