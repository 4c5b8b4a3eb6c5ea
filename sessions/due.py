"""What a call does by itself when its time has come, and when that is."""

from __future__ import annotations

from sessions import answering, ending, line, model_side
from sessions.events import ModelLost
from sessions.state import CallState, Line
from sessions.wishes import Origin

SETTLE_AGAIN_MS = 1_000
GOODBYES = {
    "length_limit": "The call has reached its longest duration.",
    "idle_limit": "The call was silent for too long.",
    "agent_hung_up": "The agent ended the call.",
}


def deadline(state: CallState) -> int:
    """When the next thing is due, if nothing happens before."""
    first = state.limits.deadline_ms
    optional = (
        state.leave_at_ms,
        state.own_answer_until_ms,
        state.settle_at_ms,
        state.queue.deadline_ms,
        state.tools.deadline_ms,
    )
    for due in optional:
        if due is not None and due < first:
            first = due
    if state.line is Line.OPEN:
        if state.greeting_due_ms is not None:
            first = min(first, state.greeting_due_ms)
        if state.queue.active is not None:
            first = min(first, _stalls_at(state))
        if state.caller_speaks:
            first = min(first, _falls_silent_at(state))
    elif state.line is Line.DIALLING:
        first = min(first, state.dial_until_ms)
    return first


def act(state: CallState, now_ms: int) -> None:
    """Do what is due."""
    state.limits.active(min(now_ms, state.ledger.plays_until_ms))
    reason = state.limits.reached(now_ms)
    if reason is not None or (state.caller_speaks and now_ms >= _falls_silent_at(state)):
        # How loud the caller was is asked when it matters, not for every frame.
        audible_ms = state.watch.caller_audible_ms
        if audible_ms is not None:
            state.limits.active(min(now_ms, audible_ms))
            reason = state.limits.reached(now_ms)
    if reason is None and state.leave_at_ms is not None and now_ms >= state.leave_at_ms:
        reason = "agent_hung_up"
    if reason is not None:
        ending.end(state, reason, GOODBYES[reason], None, now_ms)
        return
    _give_up_on_the_leg(state, now_ms)
    if state.over():
        return
    if state.own_answer_until_ms is not None and now_ms >= state.own_answer_until_ms:
        state.own_answer_until_ms = None
    if state.caller_speaks and now_ms >= _falls_silent_at(state):
        state.caller_speaks = False  # the model never said that the caller stopped
    if state.settle_at_ms is not None and now_ms >= state.settle_at_ms:
        _settle(state, now_ms)
    model_side.tools_overdue(state, now_ms)
    due = state.greeting_due_ms
    if due is not None and now_ms >= due and state.line is Line.OPEN:
        state.greeting_due_ms = None
        answering.want(state, Origin.GREETING, now_ms, say=state.rules.greeting)
    answering.pump(state, now_ms)


def _give_up_on_the_leg(state: CallState, now_ms: int) -> None:
    overdue = state.queue.overdue(now_ms)
    if state.line is Line.DIALLING and now_ms >= state.dial_until_ms:
        line.lost(state, ModelLost("not ready in time", retryable=True), now_ms)
    elif state.line is Line.OPEN and overdue:
        line.lost(state, ModelLost("a request for a response was not answered", retryable=True), now_ms)
    elif state.line is Line.OPEN and state.queue.active is not None and now_ms >= _stalls_at(state):
        line.lost(state, ModelLost("a response stalled", retryable=True), now_ms)


def _stalls_at(state: CallState) -> int:
    # Speech counts until it has been played: nobody waits for more of it before then.
    return max(state.progress_ms, state.ledger.plays_until_ms) + state.rules.stall_limit_ms


def _falls_silent_at(state: CallState) -> int:
    return state.limits.active_ms + state.rules.speech_limit_ms


def _settle(state: CallState, now_ms: int) -> None:
    state.hearing.settle(now_ms)
    until_ms = state.ledger.plays_until_ms
    if until_ms <= now_ms or state.talk.playing.keys() <= {state.live_item}:
        state.settle_at_ms = None  # what the running response says is noted when it ends
    elif state.queue.active is None:
        state.settle_at_ms = until_ms
    else:  # each frame that comes puts it off by its own length
        state.settle_at_ms = max(until_ms, now_ms + SETTLE_AGAIN_MS)
