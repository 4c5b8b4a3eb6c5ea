"""Passes the agent's sound and words on to the caller until the response is over or is cut short.

What comes later is dropped: a model that is told to stop may already have sent more, and some models go on regardless.
It is neither heard nor in the record.
"""

from __future__ import annotations

from audio.runs import FrameRun
from sessions.commands import CancelResponse, Play, Relay
from sessions.events import AgentAudio, AgentText
from sessions.pending_responses import PendingResponse
from sessions.state import CallState


def client_cancels(state: CallState, response_id: str | None) -> None:
    """The client stops a response: the one it names, or the one that speaks, or the one that it has asked for."""
    active, asked = state.queue.active, state.queue.asked
    if response_id is not None:
        state.responses.cut(response_id)
    elif active is not None:
        state.responses.cut(active.response_id)
    elif asked is not None:
        state.responses.cancelled_request = asked.request.request_id


def begun(state: CallState, response_id: str, pending: PendingResponse | None) -> None:
    """A response begins: cut it short if its client has cancelled the request in the meantime."""
    if pending is not None and pending.request.request_id == state.responses.cancelled_request:
        state.responses.cancelled_request = None
        state.responses.cut(response_id)


def cancel_unplayed(state: CallState) -> None:
    """Cancel the response that speaks, once: the caller's leg cannot take more speech."""
    active = state.queue.active
    response = state.responses.find(active.response_id) if active is not None else None
    if response is not None and not response.cancelled:
        response.cancelled = True
        state.responses.cut(response.response_id)
        state.to_model(CancelResponse(response.response_id, None))


def speech(state: CallState, event: AgentAudio, now_ms: int) -> Play | None:
    """Measure agent speech and return it for the caller. None for speech that is dropped."""
    frame = event.frame
    format = frame.format
    rate_hz = format.rate_hz
    samples = len(frame.payload) // format.sample_bytes
    if event.item_id != state.responses.live_item and not _take_up(state, event, now_ms):
        return None
    begins_ms = state.ledger.sent(event.item_id, samples, rate_hz, now_ms)
    meter = state.meter
    if rate_hz != meter.agent_rate_hz:
        meter.agent_rate(rate_hz)
    meter.agent_samples += samples
    if state.watch.listening and (turn := state.answers.turn_of(event.response_id)) is not None:
        latency_ms = state.watch.agent_sound(frame, begins_ms)
        if not state.watch.listening:
            state.accounts.sounded(event.response_id, state.watch.audible_ms)
        if latency_ms is not None:
            state.book.answered_after(turn, latency_ms)
    return Play(event.response_id, event.item_id, frame, event.wire)


def run(state: CallState, item_id: str, run: FrameRun) -> None:
    """Measure speech of the live item that has been sent to the caller already; the latency has been found by then."""
    state.ledger.sent_run(item_id, run)
    meter = state.meter
    if run.format.rate_hz != meter.agent_rate_hz:
        meter.agent_rate(run.format.rate_hz)
    meter.agent_samples += run.samples


def _take_up(state: CallState, event: AgentAudio, now_ms: int) -> bool:
    """Another item brings sound. False if its response was cut short or is beside the conversation."""
    if state.responses.is_cut(event.response_id):
        state.responses.progress_ms = now_ms  # the model is alive
        return False
    if state.responses.is_out_of_band(event.response_id):  # the client gets it, the record does not
        state.out.append(Play(event.response_id, event.item_id, event.frame, event.wire))
        return False
    state.transcript.agent_sounds(event.response_id, event.item_id, now_ms)
    if not state.responses.speaks(event.response_id, event.item_id):
        state.due.settle_ms = now_ms  # its response is unknown, so no end of a response will note what was heard
    return True


def words(state: CallState, event: AgentText, now_ms: int) -> None:
    """Take a piece of what the agent says or writes, or all of it at its end."""
    state.responses.progress_ms = now_ms
    cut = state.responses.is_cut(event.response_id)
    if cut and not event.whole:
        return
    turn = state.answers.turn_of(event.response_id)
    # The words of an item that was cut short may come at its end: they belong to its sound so far.
    if turn is not None and (not cut or event.item_id in state.transcript.places):
        response = state.responses.find(event.response_id)
        placed = state.transcript.agent_words(event.response_id, event.item_id, event.text, now_ms, spoken=event.spoken)
        if placed and response is not None:
            response.worded = True
        if not event.spoken and not cut:
            state.timeouts.active(now_ms)
            state.accounts.sounded(event.response_id, now_ms)
            latency_ms = state.watch.text_answer(now_ms)
            if latency_ms is not None:
                state.book.answered_after(turn, latency_ms)
        if state.responses.is_over(event.response_id):
            state.heard_text.settle_item(event.item_id, now_ms)
    state.out.append(Relay(event))
