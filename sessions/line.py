"""The model's leg over a call's life: opened, lost, opened once more and told what was said before."""

from __future__ import annotations

from sessions import answering, ending
from sessions.commands import AddToolOutput, ClearPlayback, DialModel, PassToModel, RequestResponse, ResponseGone, Seed
from sessions.documents import past_of
from sessions.events import ModelLost, Outcome
from sessions.jobs import Job
from sessions.past import Past, PastToolCall, told_as
from sessions.responses import ActiveResponse
from sessions.state import CallState, Line
from sessions.wishes import Origin

SEEDED_ENTRIES = 200  # of the latest talk; more would cost more to read than it helps
DIAL_GRACE_MS = 1_000  # whoever dials reports by the deadline; this long after it, nobody will
LISTEN_FIRST_MS = 3_000  # a new leg is given so long to hear the rest of what the caller was saying


def dial(state: CallState, now_ms: int, limit_ms: int) -> None:
    """Open a model leg."""
    state.line = Line.DIALLING
    state.dial_until_ms = now_ms + limit_ms + DIAL_GRACE_MS
    state.out.append(DialModel(state.setup, state.generation, now_ms + limit_ms))


def ready(state: CallState, now_ms: int) -> None:
    """The model's session is open: tell it the past, if there is one, then all that waited."""
    if state.line is not Line.DIALLING:
        return
    state.line = Line.OPEN
    if state.generation:
        _tell_past(state, now_ms)
    for command in state.held.take():
        if type(command) is RequestResponse:
            state.beside_asked[command.request.request_id] = command.request
        state.out.append(command)
    if state.listen_first:
        state.listen_first = False
        state.own_answer_until_ms = now_ms + LISTEN_FIRST_MS
    answering.pump(state, now_ms)


def lost(state: CallState, event: ModelLost, now_ms: int) -> None:
    """The model's leg is gone: dial once more if that can help, else end the call."""
    if state.over() or state.line in (Line.GONE, Line.IDLE):
        return
    state.note(event.problem, "leg", state.book.open)
    dial_again = event.retryable and state.answered_since_dial
    state.line = Line.DIALLING if dial_again else Line.GONE  # nothing more is sent to the leg that is gone
    _end_what_ran(state, now_ms)
    if not dial_again:
        text = "The connection to the model was lost."
        ending.end(state, "model_lost", text, "model_lost", now_ms, problem=event.problem)
        return
    state.answered_since_dial = False
    state.generation += 1
    state.meter.redials += 1
    dial(state, now_ms, state.rules.redial_limit_ms)


def tell_output(state: CallState, job: Job, output: str) -> None:
    """Give the model the result of a server-side tool: to the leg that called it, or with the call to a later one."""
    if job.generation == state.generation:
        if state.line is Line.OPEN:
            state.untaken.add(job.call_id)
        state.to_model(AddToolOutput(job.call_id, output), job.call_id)
    elif state.line is Line.OPEN:
        state.seeded.add(job.call_id)
        state.out.append(Seed((PastToolCall(job.item_id, job.call_id, job.name, job.arguments, output),)))
    # else the leg that is being opened will be told the past, and this is part of it by now


def tell_past_call(state: CallState, told: PastToolCall) -> None:
    """The same for a function of the client's own, which it has answered now; the leg that knew of the call is gone."""
    if state.line is Line.OPEN:
        state.out.append(Seed((told,)))


def _tell_past(state: CallState, now_ms: int) -> None:
    sounds_still = state.ledger.plays_until_ms > now_ms
    if sounds_still and not state.rules.client_plays and state.queue.waiting.has(Origin.RESUME):
        # What still sounds of the broken answer bridged the gap; the new one goes on from what was heard of it.
        state.ledger.cleared(now_ms)
        state.live_item = None
        state.out.append(ClearPlayback())
    state.hearing.settle(now_ms)
    past = _history(state)
    if past:
        # What the lost leg had not answered, this one answers: a client may wait for it.
        unseen = frozenset(sent.item_id for sent in state.unconfirmed.values() if sent.new)
        state.out.append(Seed(past, unseen))


def _history(state: CallState) -> tuple[Past, ...]:
    """What was said, heard, done and written, in order, for a session that knows nothing of it.

    Left out is what it is told otherwise (what waits to be sent, and tools that still run, when they come back), and
    what the client has deleted.
    """
    untold = state.held.told | state.tool_book.unfinished()
    past = [entry for entry in past_of(state.book.turns) if entry.item_id not in state.deleted]
    told = [entry for entry in state.written.among(past, state.book.items) if told_as(entry) not in untold]
    return tuple(told[-SEEDED_ENTRIES:])


def _end_what_ran(state: CallState, now_ms: int) -> None:
    active = state.queue.active
    asked = state.queue.leg_lost()
    client_asks = False
    for response_id, runs in state.responses.items():
        if not runs:
            continue
        state.responses[response_id] = False
        state.answers.ended(response_id, Outcome.FAILED, None)
        state.out.append(ResponseGone(response_id))
        round_ = state.tools.find(response_id)
        if round_ is not None:
            round_.over = True
            round_.spoke = state.talk.has_words(response_id)
            client_asks = client_asks or bool(round_.client_calls)
    if asked is not None:
        answering.put_back(state, asked)
    for request in state.beside_asked.values():
        state.to_model(RequestResponse(request))
    state.beside_asked.clear()
    for deletion in state.deleting.values():
        state.to_model(PassToModel(deletion.wire), event_id=deletion.client_event_id)
    state.deleting.clear()
    state.untaken.clear()
    state.seeded.clear()
    answering.follow_up(state, now_ms)
    state.hearing.settle(now_ms)
    spoken_to = state.setup.answers_by_itself and (state.caller_speaks or state.own_answer_until_ms is not None)
    if (active is not None or spoken_to) and not client_asks:
        _owe(state, active, now_ms)
    state.listen_first = state.listen_first or state.caller_speaks
    state.caller_speaks = False
    state.own_answer_until_ms = None
    state.live_item = state.cancelled_request = None


def _owe(state: CallState, active: ActiveResponse | None, now_ms: int) -> None:
    """The lost leg was answering, or about to: unless another request will see to that, the next one is asked."""
    if state.queue.waiting or state.tools.running or state.leaving:
        return
    if active is not None and active.wish is not None and active.wish.origin is Origin.GREETING:
        answering.put_back(state, active.wish)
    else:
        answering.want(state, Origin.RESUME, now_ms, like=active.metadata if active is not None else None)
