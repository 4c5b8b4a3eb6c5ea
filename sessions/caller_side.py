"""What the caller's leg brings, and what follows from it."""

from __future__ import annotations

from audio.runs import FrameRun
from sessions import line, speaking
from sessions.commands import CancelResponse, Configure, PassToModel, Refuse, SendAudio, Truncated, TruncateItem
from sessions.documents import in_words
from sessions.events import (
    CallerAudio,
    CallerCommitted,
    CallerText,
    CancelWanted,
    ClientToolAnswered,
    DeleteWanted,
    ItemWritten,
    MarkEchoed,
    PlaybackReported,
    SettingsChanged,
)
from sessions.past import Past, PastMessage, PastToolCall, told_as
from sessions.remembering import remember
from sessions.state import CallState, Line, Unconfirmed
from sessions.wishes import Origin

MAX_ITEMS = 20_000  # of a call; five a second for an hour
MAX_UNCONFIRMED = 64  # messages that the model has neither taken nor refused: it answers in order, and soon


def sound(state: CallState, event: CallerAudio, now_ms: int) -> SendAudio | None:
    """Caller sound: on to the model, measured on its way. None while it has to wait for the model's leg."""
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
    command = SendAudio(frame, event.wire)
    if state.line is Line.OPEN:
        return command
    state.held.sound(command)
    return None


def run(state: CallState, run: FrameRun) -> None:
    """Caller sound that has gone to the model already, frame by frame as it came: measured."""
    format = run.format
    meter = state.meter
    if format.rate_hz != meter.caller_rate_hz:
        meter.caller_rate(format.rate_hz)
    meter.caller_samples += run.samples
    state.watch.caller_track(format).feed_run(run)


def committed(state: CallState, event: CallerCommitted) -> None:
    """The end of a turn that the caller takes by hand."""
    state.caller_speaks = False
    if event.wire is not None:
        state.to_model(PassToModel(event.wire))


def typed(state: CallState, event: CallerText, now_ms: int) -> None:
    """A typed message, perhaps with pictures."""
    if _full(state, event.client_event_id):
        return
    state.limits.active(now_ms)
    state.greeting_due_ms = None
    state.client_calls.clear()
    new = not state.knows(event.item_id)  # else the model refuses it, and the first one stands
    if new:
        if not state.caller_speaks:
            state.watch.caller_typed(now_ms)
        state.talk.caller_typed(event.item_id, event.text, event.images, now_ms, spoken=event.spoken)
        state.deleted.discard(event.item_id)
    if event.wire is None:
        return
    told = state.to_model(PassToModel(event.wire), event.item_id, event.client_event_id)
    if told:
        entry = PastMessage(event.item_id, "user", in_words(event.text, event.images))
        _unconfirmed(state, event.event_id, entry, new=new)
    elif new:
        state.talk.withdraw(event.item_id)


def wrote(state: CallState, event: ItemWritten) -> None:
    """The client writes an item in somebody else's name: no part of the record, but of what a model is told."""
    if _full(state, event.client_event_id):
        return
    entry = event.entry
    new = not state.knows(entry.item_id)
    if not state.to_model(PassToModel(event.wire), told_as(entry), event.client_event_id):
        return
    _unconfirmed(state, event.event_id, entry, new=new)
    if new:
        state.write(entry)


def _full(state: CallState, client_event_id: str | None) -> bool:
    """Whether the conversation has no room for one more item; the client is told."""
    if max(len(state.talk.places), len(state.item_generation)) < MAX_ITEMS:
        return False
    text = "The conversation has as many items as it can."
    state.out.append(Refuse("rate_limit_exceeded", text, client_event_id))
    return True


def _unconfirmed(state: CallState, event_id: str, entry: Past, *, new: bool) -> None:
    sent = Unconfirmed(entry.item_id, new, None if new else entry)
    remember(state.unconfirmed, event_id, sent, MAX_UNCONFIRMED)


def delete(state: CallState, event: DeleteWanted) -> None:
    """The client wants an item gone: also from a leg that is told of it because this one is lost before it answers."""
    if state.line is Line.OPEN:
        remember(state.deleting, event.item_id, event, MAX_UNCONFIRMED)
    state.to_model(PassToModel(event.wire), event_id=event.client_event_id)


def tool_answered(state: CallState, event: ClientToolAnswered, now_ms: int) -> None:
    """A client's own function came back."""
    use = state.tool_book.find(event.call_id)
    if use is not None and use.server_side:
        state.out.append(Refuse("invalid_value", "The result of this call is not the client's to give.", None))
        return
    state.client_calls.discard(event.call_id)
    state.tool_book.finished(event.call_id, event.output, None, now_ms)
    written = state.written.answer(event.call_id, event.output) if use is None else None
    if use is not None and not state.of_this_leg(use.item_id):
        line.tell_past_call(state, PastToolCall(use.item_id, use.call_id, use.name, use.arguments, use.output or ""))
    elif written is not None and not state.of_this_leg(written.item_id) and event.call_id not in state.held.told:
        line.tell_past_call(state, written)
    elif event.wire is not None:
        state.to_model(PassToModel(event.wire), event.call_id)


def cancel(state: CallState, event: CancelWanted) -> None:
    """A client's `response.cancel`: for what runs, it is the model's to answer; for what waits, ours."""
    if state.line is Line.OPEN and (state.queue.busy or event.response_id is not None or not state.queue.waiting):
        speaking.client_cancels(state, event.response_id)
        state.out.append(CancelResponse(event.response_id, event.wire))
        return
    state.queue.waiting.withdraw(Origin.RESUME)
    wish = state.queue.waiting.withdraw(Origin.CLIENT) if event.response_id is None else None
    if wish is not None:
        text = "The response was cancelled before it began."
        state.out.append(Refuse("response_cancelled", text, wish.client_event_id))
    else:
        text = "Cancellation failed: no active response found"
        state.out.append(Refuse("response_cancel_not_active", text, event.client_event_id))


def played(state: CallState, event: PlaybackReported, now_ms: int) -> None:
    """The client says how much of an item it played: the model and the record shall believe it."""
    known = state.ledger.reported(event.item_id, event.heard_ms, now_ms)
    if known:
        state.talk.interrupt_item(event.item_id)
        state.hearing.settle(now_ms)
        state.hearing.settle_item(event.item_id, now_ms)
    if known and not state.of_this_leg(event.item_id):
        # The leg that spoke it is gone. The new one was told only what was heard, so there is nothing to cut.
        state.out.append(Truncated(event.item_id, event.heard_ms))
        return
    state.to_model(TruncateItem(event.item_id, event.heard_ms, event.wire))


def echoed(state: CallState, event: MarkEchoed, now_ms: int) -> None:
    """A far end that buffers speech says how far it has played."""
    item = state.ledger.echoed(event.name)
    if item is not None and item.settled(now_ms):
        state.hearing.settle_item(item.item_id, now_ms)


def settings(state: CallState, event: SettingsChanged, now_ms: int) -> None:
    """The client changed its session; the first change is what a greeting waits for."""
    state.setup = event.setup
    if state.line is not Line.IDLE:
        state.to_model(Configure(event.setup))
    if state.greeting_due_ms is not None:
        state.greeting_due_ms = min(state.greeting_due_ms, now_ms)
