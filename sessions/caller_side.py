"""Handles the events of the caller's leg."""

from __future__ import annotations

from audio.runs import FrameRun
from sessions import budget_side, model_link, speaking
from sessions.commands import (
    AddItem,
    AddToolOutput,
    CancelResponse,
    CommitSound,
    Configure,
    DeleteItem,
    Refuse,
    SendAudio,
    Truncated,
    TruncateItem,
)
from sessions.events import (
    CallerAudio,
    CallerCommitted,
    CallerText,
    CancelWanted,
    ClientToolAnswered,
    DeleteWanted,
    ItemWritten,
    PlaybackReported,
    SettingsChanged,
)
from sessions.line_events import CallerSilence, SpeechDropped
from sessions.link import OPEN, LinkState
from sessions.past import PastMessage, PastToolCall, in_words, told_as
from sessions.pending_responses import Origin
from sessions.state import CallState

MAX_ITEMS = 20_000  # in one call: five a second for an hour


def sound(state: CallState, event: CallerAudio, now_ms: int) -> SendAudio | None:
    """Measure caller sound and send it to the model. None while it has to wait for the model's leg."""
    frame = event.frame
    format = frame.format
    meter = state.meter
    if format.rate_hz != meter.caller_rate_hz:
        meter.caller_rate(format.rate_hz)
    meter.caller_samples += len(frame.payload) // format.sample_bytes
    track = state.watch.caller
    if track is None or track.format is not format:
        track = state.watch.caller_track(format)
    track.feed(frame, now_ms)
    return _to_model(state, SendAudio(frame, event.wire))


def silence(state: CallState, event: CallerSilence) -> SendAudio | None:
    """Send silence to the model in the place of sound that did not come; nobody has said it, so it counts as no sound.

    None while it has to wait for the model's leg.
    """
    return _to_model(state, SendAudio(event.frame, None))


def _to_model(state: CallState, command: SendAudio) -> SendAudio | None:
    if state.link.state is OPEN:
        return command
    state.link.outbox.sound(command)
    return None


def run(state: CallState, run: FrameRun) -> None:
    """Measure caller sound that has been sent to the model already, with the arrival time of each frame."""
    format = run.format
    meter = state.meter
    if format.rate_hz != meter.caller_rate_hz:
        meter.caller_rate(format.rate_hz)
    meter.caller_samples += run.samples
    state.watch.caller_track(format).feed_run(run)


def committed(state: CallState, event: CallerCommitted) -> None:
    """End a turn that the caller takes by hand."""
    state.caller_speaks = False
    state.to_model(CommitSound(event.wire))


def typed(state: CallState, event: CallerText, now_ms: int) -> None:
    """Take a message of the caller's: text, images, or sound in one piece."""
    if _full(state, event.client_event_id):
        return
    state.timeouts.active(now_ms)
    state.due.greeting_ms = None
    state.tools.client_calls.clear()
    new = not state.knows(event.item_id)  # else the model refuses it, and the first one stays
    if new:
        if not state.caller_speaks:
            state.watch.caller_typed(now_ms)
        state.transcript.caller_typed(event.item_id, event.text, event.images, now_ms, spoken=event.spoken)
        state.knowledge.deleted.discard(event.item_id)
    entry = PastMessage(event.item_id, "user", in_words(event.text, event.images))
    command = AddItem(entry, event.event_id, event.wire)
    if state.to_model(command, event.item_id, event.client_event_id):
        state.knowledge.sent(event.event_id, entry, new=new)
    elif new:
        state.transcript.withdraw(event.item_id)


def wrote(state: CallState, event: ItemWritten) -> None:
    """Take an item that the client adds in another's name: the model gets it, the record does not."""
    if _full(state, event.client_event_id):
        return
    entry = event.entry
    new = not state.knows(entry.item_id)
    if not state.to_model(AddItem(entry, event.event_id, event.wire), told_as(entry), event.client_event_id):
        return
    state.knowledge.sent(event.event_id, entry, new=new)
    if new:
        state.write(entry)


def _full(state: CallState, client_event_id: str | None) -> bool:
    """Whether the conversation has no room for one more item; then the client's request is refused."""
    if max(len(state.transcript.places), state.knowledge.items) < MAX_ITEMS:
        return False
    text = "The conversation has as many items as it can."
    state.out.append(Refuse("rate_limit_exceeded", text, client_event_id))
    return True


def delete(state: CallState, event: DeleteWanted) -> None:
    """Ask the model to delete an item. If this leg is lost before it answers, the next one is asked as well."""
    if state.link.state is OPEN:
        state.knowledge.delete(event)
    state.to_model(DeleteItem(event.item_id, event.event_id, event.wire), event_id=event.client_event_id)


def tool_answered(state: CallState, event: ClientToolAnswered, now_ms: int) -> None:
    """Take the result of one of the client's own functions."""
    use = state.tool_book.find(event.call_id)
    if use is not None and use.server_side:
        state.out.append(Refuse("invalid_value", "The result of this call is not the client's to give.", None))
        return
    state.tools.client_calls.discard(event.call_id)
    state.tool_book.finished(event.call_id, event.output, None, now_ms)
    written = state.knowledge.history.answer(event.call_id, event.output) if use is None else None
    knowledge, told = state.knowledge, state.link.outbox.told
    if use is not None and not knowledge.has_whole(use.item_id):
        call = PastToolCall(use.item_id, use.call_id, use.name, use.arguments, use.output or "")
        model_link.tell_past_call(state, call)
    elif written is not None and not knowledge.has_whole(written.item_id) and event.call_id not in told:
        model_link.tell_past_call(state, written)
    else:
        state.to_model(AddToolOutput(event.call_id, event.output, event.wire), event.call_id)


def cancel(state: CallState, event: CancelWanted) -> None:
    """Stop a response for the client. The model answers if one runs or was requested, the call if one is queued."""
    queue = state.queue
    if state.link.state is OPEN and (queue.busy or event.response_id is not None or not queue.waiting):
        speaking.client_cancels(state, event.response_id)
        state.out.append(CancelResponse(event.response_id, event.wire))
        return
    state.queue.waiting.withdraw(Origin.RESUME)
    pending = state.queue.waiting.withdraw(Origin.CLIENT) if event.response_id is None else None
    if pending is not None:
        text = "The response was cancelled before it began."
        state.out.append(Refuse("response_cancelled", text, pending.client_event_id))
    else:
        text = "Cancellation failed: no active response found"
        state.out.append(Refuse("response_cancel_not_active", text, event.client_event_id))


def played(state: CallState, event: PlaybackReported, now_ms: int) -> None:
    """Note how much of an item the client has played, and tell the model."""
    known = state.ledger.reported(event.item_id, event.heard_ms, now_ms)
    if known:
        state.transcript.interrupt_item(event.item_id)
        state.heard_text.settle(now_ms)
        state.heard_text.settle_item(event.item_id, now_ms)
    if known and not state.knowledge.has_whole(event.item_id):
        # The leg that spoke the item is gone, and the present one has only what was heard of it.
        state.out.append(Truncated(event.item_id, event.heard_ms))
        return
    state.to_model(TruncateItem(event.item_id, event.heard_ms, event.wire))


def echoed(state: CallState, item_id: str, position_ms: int, now_ms: int) -> None:
    """Note how far a far end that echoes marks has played."""
    item = state.ledger.echoed(item_id, position_ms, now_ms)
    if item is None:
        return
    if item.settled(now_ms):
        state.heard_text.settle_item(item.item_id, now_ms)
    elif item.item_id in state.transcript.places and item.item_id not in state.transcript.playing:
        # It counted as over, and is still being played.
        state.transcript.playing[item.item_id] = True
        state.due.settle_ms = max(now_ms, state.ledger.plays_until_ms)


def dropped(state: CallState, event: SpeechDropped, now_ms: int) -> None:
    """Correct what the record has as heard of speech that was stopped.

    The model is told nothing more. It was told to truncate when the speech was stopped, with the clock's estimate,
    because its next answer does not wait for the far end. What it has deleted for that cannot be restored.
    """
    for item_id, played_ms in event.played_ms:
        if state.ledger.dropped(item_id, played_ms):
            state.heard_text.settle_item(item_id, now_ms)


def settings(state: CallState, event: SettingsChanged, now_ms: int) -> None:
    """Take the client's new settings. A greeting waits for the first of them."""
    state.setup = budget_side.passive(event.setup) if state.budget.used_up else event.setup
    if state.link.state is not LinkState.IDLE:
        state.to_model(Configure(state.setup))
    if state.due.greeting_ms is not None:
        state.due.greeting_ms = min(state.due.greeting_ms, now_ms)
