"""Handles the events of the model's leg."""

from __future__ import annotations

from sessions import answering, barge_in, budget_side, ending, key_side, speaking, tool_results, transcribing
from sessions.accounts import ResponseOrigin
from sessions.agent import ToolRule
from sessions.call_end import Goodbye
from sessions.commands import (
    CancelResponse,
    Refuse,
    Relay,
    RunTool,
    ToolRunning,
)
from sessions.events import (
    CallerTranscribed,
    CallerTurnTaken,
    ItemDeleted,
    ItemStarted,
    ItemTaken,
    ModelRefused,
    ResponseEnded,
    ResponseStarted,
    SpeechEnded,
    SpeechStarted,
    ToolWanted,
)
from sessions.leg_knowledge import Unconfirmed
from sessions.pending_responses import Origin, PendingResponse
from sessions.ports import OWN_PREFIX
from sessions.record import ToolUse, Turn
from sessions.responses import ActiveResponse
from sessions.setup import TurnPolicy
from sessions.state import CallState
from sessions.tool_calls import Job
from sessions.usage import add_usage
from sessions.values import ItemKind, Outcome, ResponseRequest

ORIGINS = {
    Origin.CLIENT: ResponseOrigin.CLIENT,
    Origin.TOOLS: ResponseOrigin.TOOL,
    Origin.KEYS: ResponseOrigin.KEYS,
    Origin.GREETING: ResponseOrigin.GREETING,
    Origin.BUDGET: ResponseOrigin.BUDGET,
    Origin.RESUME: ResponseOrigin.REDIAL,
}


def speech_started(state: CallState, event: SpeechStarted, now_ms: int) -> None:
    """The caller speaks; if the agent does too, that is a barge-in."""
    state.caller_speaks = True
    state.due.own_answer_ms = None
    state.due.greeting_ms = None
    state.queue.waiting.withdraw(Origin.GREETING)
    state.timeouts.active(now_ms)
    state.watch.caller_speaks()
    state.tools.client_calls.clear()  # a client's late result does not keep the turn open any more
    barge_in.by_speech(state, now_ms)
    tool_results.interrupted(state, now_ms)
    state.transcript.caller_spoken(event.item_id, now_ms)
    begun_ms = now_ms - max(0, state.meter.caller_ms - event.at_ms)
    state.accounts.speech_began(state.transcript.places[event.item_id].turn, state.watch.speech_begin_ms(begun_ms))
    _relay_speech(state, event)


def speech_ended(state: CallState, event: SpeechEnded, now_ms: int) -> None:
    """The caller stopped; a model that answers by itself has a moment to begin."""
    state.timeouts.active(now_ms)
    state.caller_speaks = False
    state.accounts.speech_ended(state.watch.caller_audible_ms or now_ms)
    policy = state.setup.turn_policy
    if policy.model_answers:
        state.due.own_answer_ms = now_ms + state.rules.own_answer_wait_ms
        spoke_on = state.queue.active is not None and policy is TurnPolicy.MODEL
        if spoke_on and not state.queue.waiting.has(Origin.RESUME):
            answering.want(state, Origin.RESUME, now_ms)  # a model that was still speaking may not answer this
    _relay_speech(state, event)
    answering.pump(state, now_ms)


def _relay_speech(state: CallState, event: SpeechStarted | SpeechEnded) -> None:
    """Tell the client, unless the budget is used up: it would stop the goodbye, which nothing may interrupt."""
    if not state.budget.used_up:
        state.out.append(Relay(event))


def turn_taken(state: CallState, event: CallerTurnTaken, now_ms: int) -> None:
    """The caller's sound became an item: its place in the transcript is taken now."""
    state.transcript.caller_spoken(event.item_id, now_ms)
    state.out.append(Relay(event))


def transcribed(state: CallState, event: CallerTranscribed, now_ms: int) -> None:
    """Take the caller's words, which may come long after the sound."""
    transcribing.words(state, event)
    state.out.append(Relay(event))
    if event.usage is not None:
        budget_side.spent(state, now_ms)
        answering.pump(state, now_ms)


def response_started(state: CallState, event: ResponseStarted, now_ms: int, *, announced: bool = True) -> None:
    """A response begins, to a request or by the model itself. One that has begun before is ignored.

    The client learns of it if the model has `announced` it.
    """
    response_id = event.response_id
    if state.responses.find(response_id) is not None:
        return
    state.responses.begin(response_id, out_of_band=event.out_of_band)
    if announced:
        state.out.append(Relay(event))
    if event.out_of_band:
        return
    pending = state.queue.started(response_id, event.metadata)
    speaking.begun(state, response_id, pending)
    state.due.own_answer_ms = None
    state.responses.progress_ms = now_ms
    answering.begun(state)
    turn = state.answers.started(response_id, now_ms)
    state.accounts.began(turn, response_id, _origin(pending), state.queue.asked_ms if pending else None, now_ms)
    state.watch.answer_begins()
    budget_side.response_begins(state, response_id, pending, now_ms)
    if (
        pending is None
        or pending.origin is Origin.CLIENT
        or not (state.caller_speaks and state.setup.turn_policy.model_interrupts)
    ):
        return
    # It was requested before the caller began to speak, and would now be heard over the caller.
    state.responses.cut(response_id)
    state.to_model(CancelResponse(response_id, None))
    if pending.origin is not Origin.GREETING:
        answering.put_back(state, pending)


def _origin(pending: PendingResponse | None) -> ResponseOrigin:
    return ResponseOrigin.MODEL if pending is None else ORIGINS[pending.origin]


def _unannounced(state: CallState, response_id: str, now_ms: int) -> None:
    """Begin a response whose beginning was missed, if one is expected.

    It is the conversation's, if the call has requested one or the model is about to answer the caller by itself;
    otherwise it is the out-of-band response that was requested.
    """
    if state.responses.find(response_id) is not None or state.queue.active is not None:
        return
    if state.queue.asked is not None or state.responses.out_of_band_asked:
        out_of_band = state.queue.asked is None and state.due.own_answer_ms is None
        missed = ResponseStarted(response_id, out_of_band=out_of_band, metadata=None, wire=None)
        response_started(state, missed, now_ms, announced=False)


def item_started(state: CallState, event: ItemStarted, now_ms: int) -> None:
    """A response opened an item."""
    _unannounced(state, event.response_id, now_ms)
    state.responses.progress_ms = now_ms
    state.knowledge.has(event.item_id)
    if event.kind is ItemKind.MESSAGE and not state.responses.is_cut(event.response_id):
        state.transcript.agent_item(event.response_id, event.item_id, now_ms, spoken=not state.setup.text_only)
    state.out.append(Relay(event))


def tool_wanted(state: CallState, event: ToolWanted, now_ms: int) -> None:
    """The model calls a function: one of the agent's tools is run, any other function is left to the client."""
    _unannounced(state, event.response_id, now_ms)
    state.responses.progress_ms = now_ms
    if state.responses.is_out_of_band(event.response_id):
        # The agent's tools are not run beside the conversation: the model could not be given the result.
        state.out.append(Relay(event))
        return
    rule = declared = state.rules.server_tools.get(event.name)
    if rule is None and not state.setup.is_clients(event.name):
        rule = ToolRule(None, event.name)  # nobody has declared it: the toolbox will answer that it is unknown
    use = ToolUse(event.call_id, event.item_id, event.name, event.arguments, rule is not None, begin_ms=0)
    if declared is not None:
        use.server, use.deadline_ms = declared.server, declared.deadline_ms
    if not state.tool_book.wanted(event.response_id, use, now_ms):
        return
    state.out.append(Relay(event))
    state.knowledge.has(event.item_id)
    active = state.queue.active
    of_active = active is not None and active.response_id == event.response_id
    round_ = state.tools.round(event.response_id, active.metadata if active is not None and of_active else None)
    round_.over = not state.responses.runs(event.response_id)
    if rule is None:
        round_.client_calls.add(event.call_id)
        state.tools.client_calls.add(event.call_id)
    else:
        due_ms = now_ms + rule.deadline_ms + tool_results.TOOL_GRACE_MS
        ids = (event.call_id, event.item_id, event.name, event.arguments, event.response_id)
        state.tools.start(round_, Job(*ids, state.knowledge.generation, due_ms))
        arguments = state.keypad.secrets.hide_in_json(event.arguments)
        state.out.append(ToolRunning(event.call_id, event.item_id, event.name, arguments))
        if state.budget.used_up:
            tool_results.not_run(state, event.call_id, now_ms)
        elif key_side.waits_for_keys(state, rule):
            key_side.collect(state, event.call_id, event.arguments, rule, now_ms)
        else:
            state.out.append(
                RunTool(event.call_id, event.name, event.arguments, state.tool_book.turn_of(event.call_id))
            )
    if round_.over:
        answering.follow_up(state, now_ms)


def response_ended(state: CallState, event: ResponseEnded, now_ms: int) -> None:
    """A response is over: the turn ends with it, unless tools or a queued request will continue it."""
    response_id = event.response_id
    if state.responses.is_over(response_id):
        return  # it has ended before
    _unannounced(state, response_id, now_ms)
    state.responses.end(response_id)
    ended = state.queue.ended(response_id)
    turn = state.answers.turn_of(response_id)
    if event.usage is not None:
        state.meter.usage = add_usage(state.meter.usage, event.usage)
    state.answers.ended(response_id, event.outcome, event.usage)
    state.accounts.ended(response_id, event.outcome, event.reason, event.usage, now_ms)
    state.budget.cut_ms = None if ended is not None else state.budget.cut_ms
    budget_side.spent(state, now_ms)
    state.note(event.problem, "response", turn)
    if event.outcome is Outcome.CANCELLED and turn is not None and not state.budget.cut(response_id):
        state.book.interrupt(turn)
    state.out.append(Relay(event))
    round_ = state.tools.find(response_id)
    if round_ is not None:
        round_.over = True
        round_.spoke = state.responses.has_words(response_id)
    if ended is not None and ended.pending is not None and ended.pending.origin is Origin.BUDGET:
        ending.leave(state, now_ms)
    elif ended is not None and event.outcome is Outcome.COMPLETED:
        state.link.answered_since_dial = True
    elif ended is not None and event.outcome is Outcome.FAILED and round_ is None:
        _failed(state, ended, now_ms)
    answering.follow_up(state, now_ms)
    state.timeouts.active(now_ms)
    state.due.settle_ms = max(now_ms, state.ledger.plays_until_ms)
    if turn is not None:
        _close_turn(state, turn, now_ms)


def _failed(state: CallState, ended: ActiveResponse, now_ms: int) -> None:
    """A response failed: request it again, unless the client asked for it, or sees the failure and can ask again."""
    if state.responses.has_words(ended.response_id):
        return
    if ended.pending is not None:
        answering.try_again(state, ended.pending, now_ms)
    elif not state.rules.client_plays and not state.caller_speaks and not state.queue.waiting:
        request = ResponseRequest(state.ids.new("pb"), out_of_band=False, metadata=None, say=None, wire=None)
        answering.try_again(state, PendingResponse(request, Origin.RESUME), now_ms)


def _close_turn(state: CallState, turn: Turn, now_ms: int) -> None:
    state.heard_text.settle(now_ms)
    state.due.settle_ms = None if state.heard_text.foresee(now_ms) else state.due.settle_ms
    if state.queue.busy or state.queue.waiting or state.tools.rounds or state.tools.client_calls:
        return
    if state.end.goodbye is Goodbye.WANTED:
        ending.leave(state, now_ms)
    if turn is state.book.open:
        state.book.end(now_ms)


def refused(state: CallState, event: ModelRefused, now_ms: int) -> None:
    """The model refused something: pass errors about the client's messages on, and repeat requests that lost a race."""
    name = event.event_id
    state.responses.out_of_band_asked.pop(name or "", None)
    state.knowledge.not_deleted(name)
    if name is None and event.code == answering.ACTIVE_ALREADY:
        name = state.queue.latest_asked  # it can be about nothing else
    found = state.queue.refused(name) if name is not None else None
    of_turn = found is not None or event.event_id is None  # else it is about a message of the client's
    state.note(event.problem, "request", state.book.open if of_turn else None)
    if found is None:
        item = state.knowledge.refused(event.event_id)
        if item is not None:
            _item_refused(state, event, item)
            return
        if event.event_id is None or not event.event_id.startswith(OWN_PREFIX):
            state.out.append(Relay(event))
        return
    pending, crossed = found
    active = state.queue.active
    if crossed and active is not None and active.pending is None:
        state.accounts.by_model(active.response_id)
        budget_side.crossed(state)
    if event.code == answering.ACTIVE_ALREADY or (crossed and pending.origin is not Origin.CLIENT):
        answering.lost_race(state, pending, now_ms, crossed=crossed)
    elif pending.origin is Origin.CLIENT:
        _tell_client(state, pending, event)
    elif not answering.try_again(state, pending, now_ms) and state.end.goodbye is not Goodbye.NONE:
        ending.leave(state, now_ms)
    answering.pump(state, now_ms)


def item_taken(state: CallState, event: ItemTaken, now_ms: int) -> None:
    """The model has taken an item, which may replace one that the client has deleted."""
    state.responses.progress_ms = now_ms
    state.keypad.messages.taken(event.item_id)
    again = state.knowledge.taken(event.item_id)
    if again is not None:  # clients change an item by deleting it and adding it anew
        state.write(again)
    state.out.append(Relay(event))


def item_deleted(state: CallState, event: ItemDeleted) -> None:
    """The model has deleted an item at the client's request: no later leg is told of it."""
    state.knowledge.gone(event.item_id, in_record=event.item_id in state.transcript.places)
    state.out.append(Relay(event))


def _item_refused(state: CallState, event: ModelRefused, sent: Unconfirmed) -> None:
    """Take an item that the model has refused, of the client's or a message of keys, out of the record."""
    state.keypad.messages.taken(sent.item_id)
    if sent.new:
        items = state.book.items
        if sent.item_id in items:
            at = items.index(sent.item_id)
            state.knowledge.history.moved(sent.item_id, items[at - 1] if at else None)
        state.transcript.withdraw(sent.item_id)
        state.knowledge.history.forget(sent.item_id)
    state.out.append(Relay(event))


def _tell_client(state: CallState, pending: PendingResponse, event: ModelRefused) -> None:
    if pending.client_event_id is not None and pending.client_event_id == event.event_id:
        state.out.append(Relay(event))
    else:
        state.out.append(Refuse(event.code or "invalid_request_error", event.message, pending.client_event_id))
