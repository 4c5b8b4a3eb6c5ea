"""What a call does by itself, and when."""

from __future__ import annotations

from sessions import answering, budget_side, ending, key_side, model_link, tool_results
from sessions.accounts import LegError
from sessions.budget import BUDGET_GOODBYE, BUDGET_REASON
from sessions.events import ModelLost
from sessions.link import OPEN, LinkState
from sessions.pending_responses import Origin
from sessions.state import CallState

SETTLE_AGAIN_MS = 1_000
GOODBYES = {
    "length_limit": "The call has reached its longest duration.",
    "idle_limit": "The call was silent for too long.",
    "agent_hung_up": "The agent ended the call.",
    BUDGET_REASON: BUDGET_GOODBYE,
}


def deadline(state: CallState) -> int:
    """When the next thing is due, if no event comes before. In `now_ms`."""
    first = state.timeouts.deadline_ms
    optional = (
        state.due.leave_ms,
        state.due.own_answer_ms,
        state.due.settle_ms,
        state.budget.cut_ms,
        state.queue.deadline_ms,
        state.tools.deadline_ms,
        state.keypad.deadline_ms(state.ledger.plays_until_ms),
    )
    for due in optional:
        if due is not None and due < first:
            first = due
    if state.link.state is OPEN:
        if state.due.greeting_ms is not None:
            first = min(first, state.due.greeting_ms)
        if state.queue.active is not None:
            first = min(first, _stalls_at(state))
        if state.caller_speaks:
            first = min(first, _falls_silent_at(state))
    elif state.link.state is LinkState.DIALLING:
        first = min(first, state.link.dial_until_ms)
    return first


def act(state: CallState, now_ms: int) -> None:
    """Do what is due by now."""
    state.timeouts.active(min(now_ms, state.ledger.plays_until_ms))
    reason = state.timeouts.reached(now_ms)
    if reason is not None or (state.caller_speaks and now_ms >= _falls_silent_at(state)):
        # The caller's level is looked at only when a limit is near, not at every frame.
        audible_ms = state.watch.caller_audible_ms
        if audible_ms is not None:
            state.timeouts.active(min(now_ms, audible_ms))
            reason = state.timeouts.reached(now_ms)
    if reason is None and state.due.leave_ms is not None and now_ms >= state.due.leave_ms:
        reason = state.end.leave_reason if ending.goodbye_heard(state, now_ms) else None
    if reason is not None:
        ending.end(state, reason, GOODBYES[reason], None, now_ms)
        return
    _give_up_on_the_leg(state, now_ms)
    if state.over():
        return
    if state.due.own_answer_ms is not None and now_ms >= state.due.own_answer_ms:
        state.due.own_answer_ms = None
    if state.caller_speaks and now_ms >= _falls_silent_at(state):
        state.caller_speaks = False  # the model never said that the caller stopped
    if state.due.settle_ms is not None and now_ms >= state.due.settle_ms:
        _settle(state, now_ms)
    budget_side.on_time(state, now_ms)
    key_side.on_time(state, now_ms)
    tool_results.overdue(state, now_ms)
    due = state.due.greeting_ms
    if due is not None and now_ms >= due and state.link.state is OPEN:
        state.due.greeting_ms = None
        answering.want(state, Origin.GREETING, now_ms, say=state.rules.greeting)
    answering.pump(state, now_ms)


def _give_up_on_the_leg(state: CallState, now_ms: int) -> None:
    overdue = state.queue.overdue(now_ms)
    if state.link.state is LinkState.DIALLING and now_ms >= state.link.dial_until_ms:
        model_link.lost(state, ModelLost("not ready in time", retryable=True, error=LegError.TIMEOUT), now_ms)
    elif state.link.state is OPEN and overdue:
        lost = ModelLost("a request for a response was not answered", retryable=True, error=LegError.STALLED)
        model_link.lost(state, lost, now_ms)
    elif state.link.state is OPEN and state.queue.active is not None and now_ms >= _stalls_at(state):
        lost = ModelLost("a response stalled", retryable=True, error=LegError.STALLED)
        model_link.lost(state, lost, now_ms)


def _stalls_at(state: CallState) -> int:
    # A response has not stalled while its speech is still being played.
    return max(state.responses.progress_ms, state.ledger.plays_until_ms) + state.rules.stall_limit_ms


def _falls_silent_at(state: CallState) -> int:
    return state.timeouts.active_ms + state.rules.speech_limit_ms


def _settle(state: CallState, now_ms: int) -> None:
    state.heard_text.settle(now_ms)
    until_ms = state.ledger.plays_until_ms
    if until_ms <= now_ms or state.transcript.playing.keys() <= {state.responses.live_item}:
        state.due.settle_ms = None  # the running response's end will note it
    elif state.queue.active is None:
        state.due.settle_ms = until_ms
    else:  # each frame moves the end of playback, so this looks again at intervals
        state.due.settle_ms = max(until_ms, now_ms + SETTLE_AGAIN_MS)
