"""What the agent says: on to the caller as it comes, until its response is over or was cut short.

From then on its sound and its words are dropped. A model that is told to stop may have spoken on by then, and some go
on all the same: nobody shall hear it, and it is no part of the record.
"""

from __future__ import annotations

from audio.runs import FrameRun
from sessions.commands import CancelResponse, Play, Relay
from sessions.events import AgentAudio, AgentText
from sessions.state import CallState
from sessions.wishes import Wish


def is_cut(state: CallState, response_id: str) -> bool:
    """Whether what this response says goes no further: it was cut short, or is over. One that is unknown may speak."""
    return response_id in state.silenced or state.responses.get(response_id) is False


def silence(state: CallState, response_id: str) -> None:
    """Cut a response short: what it says from here on goes no further."""
    state.silenced.add(response_id)
    if state.live_response == response_id:
        state.live_item = None


def client_cancels(state: CallState, response_id: str | None) -> None:
    """The client wants no more of a response: of a named one, or of that which speaks or was asked for."""
    active, asked = state.queue.active, state.queue.asked
    if response_id is not None:
        if response_id in state.responses:
            silence(state, response_id)
    elif active is not None:
        silence(state, active.response_id)
    elif asked is not None:
        state.cancelled_request = asked.request.request_id


def begun(state: CallState, response_id: str, wish: Wish | None) -> None:
    """A response begins, which may be one that its client has cancelled meanwhile."""
    if wish is not None and wish.request.request_id == state.cancelled_request:
        state.cancelled_request = None
        silence(state, response_id)


def cancel_unplayed(state: CallState) -> None:
    """The caller's leg cannot take more speech: stop what makes it, once."""
    active = state.queue.active
    if active is not None and active.response_id != state.cancelled:
        state.cancelled = active.response_id
        silence(state, active.response_id)
        state.to_model(CancelResponse(active.response_id, None))


def speech(state: CallState, event: AgentAudio, now_ms: int) -> Play | None:
    """Agent speech: on to the caller, measured on its way. None for what goes no further."""
    frame = event.frame
    format = frame.format
    rate_hz = format.rate_hz
    samples = len(frame.payload) // format.sample_bytes
    if event.item_id != state.live_item and not _take_up(state, event, now_ms):
        return None
    begins_ms = state.ledger.sent(event.item_id, samples, rate_hz, now_ms)
    meter = state.meter
    if rate_hz != meter.agent_rate_hz:
        meter.agent_rate(rate_hz)
    meter.agent_samples += samples
    if state.watch.listening and (turn := state.answers.turn_of(event.response_id)) is not None:
        latency_ms = state.watch.agent_sound(frame, begins_ms)
        if latency_ms is not None:
            state.book.answered_after(turn, latency_ms)
    return Play(event.response_id, event.item_id, frame, event.wire)


def run(state: CallState, item_id: str, run: FrameRun) -> None:
    """Speech that has gone to the caller already, of an item that sounds and whose first sound has been heard."""
    state.ledger.sent_run(item_id, run)
    meter = state.meter
    if run.format.rate_hz != meter.agent_rate_hz:
        meter.agent_rate(run.format.rate_hz)
    meter.agent_samples += run.samples


def _take_up(state: CallState, event: AgentAudio, now_ms: int) -> bool:
    """Another item begins to sound. False if that goes no usual way: its response was cut short, or is aside."""
    if is_cut(state, event.response_id):
        state.progress_ms = now_ms  # a model that goes on is not dead
        return False
    if event.response_id in state.beside:  # for the client to do with as it likes: no part of the talk
        state.out.append(Play(event.response_id, event.item_id, event.frame, event.wire))
        return False
    state.talk.agent_sounds(event.response_id, event.item_id, now_ms)
    if state.responses.get(event.response_id):
        state.live_item, state.live_response = event.item_id, event.response_id
    else:
        state.settle_at_ms = now_ms  # its response is unknown: nothing else will note what was heard of it
    return True


def words(state: CallState, event: AgentText, now_ms: int) -> None:
    """A piece of what the agent says or writes, or all of it in the message that ends it."""
    state.progress_ms = now_ms
    cut = is_cut(state, event.response_id)
    if cut and not event.whole:
        return
    turn = state.answers.turn_of(event.response_id)
    # The words of an item that was cut short may come when it ends: they are those of its sound so far.
    if turn is not None and (not cut or event.item_id in state.talk.places):
        state.talk.agent_words(event.response_id, event.item_id, event.text, now_ms, spoken=event.spoken)
        if not event.spoken and not cut:
            state.limits.active(now_ms)
            latency_ms = state.watch.text_answer(now_ms)
            if latency_ms is not None:
                state.book.answered_after(turn, latency_ms)
        if not state.responses[event.response_id]:
            state.hearing.settle_item(event.item_id, now_ms)
    state.out.append(Relay(event))
