"""What the model's leg brings, and what follows from it."""

from __future__ import annotations

from sessions import answering, ending, line, speaking
from sessions.agent import ToolRule
from sessions.commands import (
    CancelResponse,
    ClearPlayback,
    Refuse,
    Relay,
    RunTool,
    StopTool,
    ToolEnded,
    ToolRunning,
    TruncateItem,
)
from sessions.events import (
    CallerTranscribed,
    CallerTurnTaken,
    ItemDeleted,
    ItemKind,
    ItemStarted,
    ItemTaken,
    ModelRefused,
    Outcome,
    ResponseEnded,
    ResponseRequest,
    ResponseStarted,
    SpeechEnded,
    SpeechStarted,
    ToolWanted,
)
from sessions.jobs import Job
from sessions.record import ToolUse, Turn
from sessions.responses import ActiveResponse
from sessions.state import CallState
from sessions.usage import add_usage
from sessions.wishes import Origin, Wish

TOOL_GRACE_MS = 2_000  # past its deadline, for whoever runs the tool to say so


def speech_started(state: CallState, event: SpeechStarted, now_ms: int) -> None:
    """The caller speaks; if the agent does too, that is a barge-in."""
    state.caller_speaks = True
    state.own_answer_until_ms = None
    state.greeting_due_ms = None
    state.queue.waiting.withdraw(Origin.GREETING)
    state.limits.active(now_ms)
    state.watch.caller_speaks()
    state.client_calls.clear()  # the talk has gone on: a client's late result no longer holds the turn open
    _barge_in(state, now_ms)
    state.talk.caller_spoken(event.item_id, now_ms)
    state.out.append(Relay(event))


def _barge_in(state: CallState, now_ms: int) -> None:
    if state.setup.interrupts_by_itself:  # else the agent speaks on, unless the client cancels or truncates it
        sounding = state.ledger.sounding(now_ms)
        active = state.queue.active
        if sounding is not None:
            state.talk.interrupt_item(sounding.item_id)
        elif active is not None and (turn := state.answers.turn_of(active.response_id)) is not None:
            state.book.interrupt(turn)
        state.silence_all()
        state.live_item = None
        if state.rules.client_plays:
            state.ledger.interrupted(now_ms)
        else:
            state.ledger.cleared(now_ms)
            state.out.append(ClearPlayback())
            if sounding is not None and state.of_this_leg(sounding.item_id):
                state.to_model(TruncateItem(sounding.item_id, sounding.heard_ms(now_ms), None))
        state.hearing.settle(now_ms)
    for job in state.tools.running:
        rule = state.rules.server_tools.get(job.name)
        if rule is not None and rule.stop_on_barge_in:
            state.out.append(StopTool(job.call_id))
            tool_finished(state, job.call_id, "The caller interrupted; this was stopped.", "stopped", now_ms)


def speech_ended(state: CallState, event: SpeechEnded, now_ms: int) -> None:
    """The caller stopped; a model that answers by itself is given a moment to begin."""
    state.limits.active(now_ms)
    state.caller_speaks = False
    if state.setup.answers_by_itself:
        state.own_answer_until_ms = now_ms + state.rules.own_answer_wait_ms
        spoke_on = state.queue.active is not None and not state.setup.interrupts_by_itself
        if spoke_on and not state.queue.waiting.has(Origin.RESUME):
            answering.want(state, Origin.RESUME, now_ms)  # a model that still speaks may make no answer to this
    state.out.append(Relay(event))
    answering.pump(state, now_ms)


def turn_taken(state: CallState, event: CallerTurnTaken, now_ms: int) -> None:
    """The caller's sound became an item: its place in the transcript is here."""
    state.talk.caller_spoken(event.item_id, now_ms)
    state.out.append(Relay(event))


def transcribed(state: CallState, event: CallerTranscribed) -> None:
    """The caller's words, whenever they come."""
    state.talk.caller_text(event.item_id, event.text, final=event.final)
    state.out.append(Relay(event))


def response_started(state: CallState, event: ResponseStarted, now_ms: int) -> None:
    """An answer begins: ours, or one of the model's own making. One that was seen before is left alone."""
    response_id = event.response_id
    if response_id in state.responses:
        return
    state.responses[response_id] = True
    state.out.append(Relay(event))
    if event.out_of_band:
        state.beside.add(response_id)
        state.beside_asked.pop(next(iter(state.beside_asked), ""), None)  # they begin in the order of asking
        return
    state.unsilenced.append(response_id)
    wish = state.queue.started(response_id, event.metadata)
    speaking.begun(state, response_id, wish)
    state.own_answer_until_ms = None
    state.progress_ms = now_ms
    answering.begun(state)
    state.answers.started(response_id, now_ms)
    state.watch.answer_begins()
    if wish is None or wish.origin is Origin.CLIENT or not (state.caller_speaks and state.setup.interrupts_by_itself):
        return
    # It was asked for before the caller began to speak, and would now speak over the caller.
    speaking.silence(state, response_id)
    state.to_model(CancelResponse(response_id, None))
    if wish.origin is not Origin.GREETING:
        answering.put_back(state, wish)


def _unannounced(state: CallState, response_id: str, now_ms: int) -> None:
    """News of a response that nobody saw begin, while one is asked for: it is that one, and begins here."""
    if response_id in state.responses or state.queue.active is not None:
        return
    if state.queue.asked is not None or state.beside_asked:
        beside = state.queue.asked is None
        response_started(state, ResponseStarted(response_id, out_of_band=beside, metadata=None, wire=None), now_ms)


def item_started(state: CallState, event: ItemStarted, now_ms: int) -> None:
    """A response opened an item."""
    _unannounced(state, event.response_id, now_ms)
    state.progress_ms = now_ms
    state.item_generation[event.item_id] = state.generation
    if event.kind is ItemKind.MESSAGE and not speaking.is_cut(state, event.response_id):
        state.talk.agent_item(event.response_id, event.item_id, now_ms, spoken=not state.setup.text_only)
    state.out.append(Relay(event))


def tool_wanted(state: CallState, event: ToolWanted, now_ms: int) -> None:
    """The model calls a function: one of the agent's is run here, any other is the client's."""
    _unannounced(state, event.response_id, now_ms)
    state.progress_ms = now_ms
    if event.response_id in state.beside:
        # Beside the conversation nothing is run for the agent: the model could not be given the result.
        state.out.append(Relay(event))
        return
    rule = state.rules.server_tools.get(event.name)
    if rule is None and not state.setup.is_clients(event.name):
        rule = ToolRule(None, event.name)  # nobody's: whoever runs the tools tells the model so
    use = ToolUse(event.call_id, event.item_id, event.name, event.arguments, rule is not None, begin_ms=0)
    if not state.tool_book.wanted(event.response_id, use, now_ms):
        return
    state.out.append(Relay(event))
    state.item_generation[event.item_id] = state.generation
    active = state.queue.active
    of_active = active is not None and active.response_id == event.response_id
    round_ = state.tools.round(event.response_id, active.metadata if active is not None and of_active else None)
    round_.over = not state.responses.get(event.response_id, False)
    if rule is None:
        round_.client_calls.add(event.call_id)
        state.client_calls.add(event.call_id)
    else:
        due_ms = now_ms + rule.deadline_ms + TOOL_GRACE_MS
        ids = (event.call_id, event.item_id, event.name, event.arguments, event.response_id)
        state.tools.start(round_, Job(*ids, state.generation, due_ms))
        state.out.append(ToolRunning(event.call_id, event.item_id, event.name, event.arguments))
        state.out.append(RunTool(event.call_id, event.name, event.arguments))
    if round_.over:
        answering.follow_up(state, now_ms)


def tool_finished(
    state: CallState, call_id: str, output: str, error: str | None, now_ms: int, *, hang_up: bool = False
) -> None:
    """A server-side tool came back: the model gets its result, and is asked to speak when the last one is in."""
    found = state.tools.finish(call_id)
    if found is None:
        return
    job, round_ = found
    state.tool_book.finished(call_id, output, error, now_ms)
    line.tell_output(state, job, output)
    state.out.append(ToolEnded(call_id, job.item_id, job.name, job.arguments, output, error))
    if hang_up:
        round_.hang_up = True
        ending.leave_soon(state, now_ms)
    answering.follow_up(state, now_ms)


def tools_overdue(state: CallState, now_ms: int) -> None:
    """Tools that whoever runs them forgot about: the model is told so."""
    for job in state.tools.running:
        if now_ms >= job.due_ms:
            state.out.append(StopTool(job.call_id))
            tool_finished(state, job.call_id, f"{job.name} did not answer in time.", "timeout", now_ms)


def response_ended(state: CallState, event: ResponseEnded, now_ms: int) -> None:
    """An answer is over: the turn ends with it, unless tools or a request in line will continue it."""
    response_id = event.response_id
    if state.responses.get(response_id) is False:
        return  # told twice
    _unannounced(state, response_id, now_ms)
    state.responses[response_id] = False
    ended = state.queue.ended(response_id)
    turn = state.answers.turn_of(response_id)
    if event.usage is not None:
        state.meter.usage = add_usage(state.meter.usage, event.usage)
    state.answers.ended(response_id, event.outcome, event.usage)
    state.note(event.problem, "response", turn)
    state.live_item = None
    if event.outcome is Outcome.CANCELLED:
        speaking.silence(state, response_id)
        if turn is not None:
            state.book.interrupt(turn)
    state.out.append(Relay(event))
    round_ = state.tools.find(response_id)
    if round_ is not None:
        round_.over = True
        round_.spoke = state.talk.has_words(response_id)
    if ended is not None and event.outcome is Outcome.COMPLETED:
        state.answered_since_dial = True
    elif ended is not None and event.outcome is Outcome.FAILED and round_ is None:
        _failed(state, ended, now_ms)
    answering.follow_up(state, now_ms)
    state.limits.active(now_ms)
    state.settle_at_ms = max(now_ms, state.ledger.plays_until_ms)
    if turn is not None:
        _close_turn(state, turn, now_ms)


def _failed(state: CallState, ended: ActiveResponse, now_ms: int) -> None:
    """An answer came to nothing. Where a client asked, or sees it and may ask again, that is the client's affair."""
    if state.talk.has_words(ended.response_id):
        return
    if ended.wish is not None:
        answering.try_again(state, ended.wish, now_ms)
    elif not state.rules.client_plays and not state.caller_speaks and not state.queue.waiting:
        request = ResponseRequest(state.ids.new("pb"), out_of_band=False, metadata=None, say=None, wire=None)
        answering.try_again(state, Wish(request, Origin.RESUME), now_ms)


def _close_turn(state: CallState, turn: Turn, now_ms: int) -> None:
    state.hearing.settle(now_ms)
    state.settle_at_ms = None if state.hearing.foresee(now_ms) else state.settle_at_ms
    if state.queue.busy or state.queue.waiting or state.tools.rounds or state.client_calls:
        return
    if state.leave_wanted and not state.leaving:
        ending.leave(state, now_ms)
    if turn is state.book.open:
        state.book.end(now_ms)


def refused(state: CallState, event: ModelRefused, now_ms: int) -> None:
    """The model answered something with an error: ours stay here, a client's go on, a lost race goes back in line."""
    name = event.event_id
    state.beside_asked.pop(name or "", None)
    for deletion in [one for one in state.deleting.values() if name is not None and one.event_id == name]:
        del state.deleting[deletion.item_id]
    if name is None and event.code == answering.ACTIVE_ALREADY:
        name = state.queue.latest_asked  # there is nothing else that it can be about
    found = state.queue.refused(name) if name is not None else None
    of_turn = found is not None or event.event_id is None  # else it is about some message of the client's
    state.note(event.problem, "request", state.book.open if of_turn else None)
    if found is None:
        if event.event_id in state.unconfirmed:
            _item_refused(state, event)
            return
        if event.event_id is None or not event.event_id.startswith("pb_"):
            state.out.append(Relay(event))
        return
    wish, crossed = found
    if event.code == answering.ACTIVE_ALREADY or (crossed and wish.origin is not Origin.CLIENT):
        answering.lost_race(state, wish, now_ms, crossed=crossed)
    elif wish.origin is Origin.CLIENT:
        _tell_client(state, wish, event)
    elif not answering.try_again(state, wish, now_ms) and state.leave_wanted:
        ending.leave(state, now_ms)
    answering.pump(state, now_ms)


def item_taken(state: CallState, event: ItemTaken, now_ms: int) -> None:
    """An item stands in the model's conversation, maybe one of the client's that had been deleted from it."""
    state.progress_ms = now_ms
    for name, sent in state.unconfirmed.items():
        if sent.item_id == event.item_id:
            del state.unconfirmed[name]
            if sent.again is not None and event.item_id in state.deleted:  # so do clients change an item
                state.write(sent.again)
            break
    state.out.append(Relay(event))


def item_deleted(state: CallState, event: ItemDeleted) -> None:
    """An item is gone at the client's wish; noted where a later leg would be told of it."""
    if event.item_id in state.talk.places or event.item_id in state.item_generation:
        state.deleted.add(event.item_id)
    state.deleting.pop(event.item_id, None)
    state.written.forget(event.item_id)
    state.out.append(Relay(event))


def _item_refused(state: CallState, event: ModelRefused) -> None:
    """The model's conversation does not hold an item of the client's, and so neither does the record."""
    sent = state.unconfirmed.pop(event.event_id or "")
    if sent.new:
        items = state.book.items
        if sent.item_id in items:
            at = items.index(sent.item_id)
            state.written.moved(sent.item_id, items[at - 1] if at else None)
        state.talk.withdraw(sent.item_id)
        state.written.forget(sent.item_id)
    state.out.append(Relay(event))


def _tell_client(state: CallState, wish: Wish, event: ModelRefused) -> None:
    if wish.client_event_id is not None and wish.client_event_id == event.event_id:
        state.out.append(Relay(event))
    else:
        state.out.append(Refuse(event.code or "invalid_request_error", event.message, wish.client_event_id))
