"""Stops the agent's speech when the caller interrupts it, by speaking or with a key."""

from __future__ import annotations

from sessions.commands import CancelResponse, ClearPlayback, TruncateItem
from sessions.state import CallState


def by_speech(state: CallState, now_ms: int) -> None:
    """The caller speaks: stop the agent, if the model stops by itself too. Otherwise the client decides."""
    if state.setup.turn_policy.model_interrupts:
        _stop_speech(state, now_ms)


def by_key(state: CallState, now_ms: int) -> None:
    """The caller presses a key, which the model does not hear: its response is cancelled, if anything is heard of it.

    An answer that has not begun to sound goes on. It may be about to call a tool.
    """
    if state.ledger.sounding(now_ms) is None:
        return
    active = state.queue.active
    response = None if active is None else state.responses.find(active.response_id)
    _stop_speech(state, now_ms)
    if response is not None and not response.cancelled:
        response.cancelled = True
        state.to_model(CancelResponse(response.response_id, None))


def _stop_speech(state: CallState, now_ms: int) -> None:
    sounding = state.ledger.sounding(now_ms)
    active = state.queue.active
    if sounding is not None:
        state.transcript.interrupt_item(sounding.item_id)
    elif active is not None and (turn := state.answers.turn_of(active.response_id)) is not None:
        state.book.interrupt(turn)
    state.responses.cut_all()
    state.responses.live_item = None
    state.ledger.interrupted(now_ms)
    if not state.rules.client_plays:
        state.out.append(ClearPlayback())
        if sounding is not None and state.knowledge.has_whole(sounding.item_id):
            state.to_model(TruncateItem(sounding.item_id, sounding.heard_ms(now_ms), None))
    state.heard_text.settle(now_ms)
