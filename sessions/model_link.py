"""The model's leg over a call's life: it is dialled, lost, dialled again, and told what was said before."""

from __future__ import annotations

from sessions import answering, ending
from sessions.budget import BUDGET_GOODBYE, BUDGET_REASON
from sessions.call_end import Goodbye
from sessions.commands import (
    AddToolOutput,
    ClearPlayback,
    DeleteItem,
    DialModel,
    LegReplaced,
    RequestResponse,
    ResponseGone,
    Seed,
)
from sessions.events import ModelLost
from sessions.link import OPEN, LinkState
from sessions.past import Past, PastToolCall, past_of, told_as
from sessions.pending_responses import Origin
from sessions.responses import ActiveResponse
from sessions.state import CallState
from sessions.tool_calls import Job
from sessions.values import ModelSession, Outcome

SEEDED_ENTRIES = 200  # the latest of the conversation; a longer past costs tokens and helps little
# A dial is reported on by its deadline. So long after it, it counts as failed.
DIAL_GRACE_MS = 1_000
# A new leg has so long to hear the rest of what the caller was saying.
LISTEN_FIRST_MS = 3_000


# What is said again from its beginning on the next leg, where any other answer goes on from what was heard of it.
WORD_FOR_WORD = frozenset({Origin.GREETING, Origin.BUDGET})


def dial(state: CallState, now_ms: int, limit_ms: int) -> None:
    """Have a leg to the model opened."""
    state.link.state = LinkState.DIALLING
    state.link.dial_until_ms = now_ms + limit_ms + DIAL_GRACE_MS
    if state.knowledge.generation:
        state.out.append(LegReplaced())
    state.accounts.dialled(now_ms)
    state.out.append(DialModel(state.setup, state.knowledge.generation, now_ms + limit_ms))


def ready(state: CallState, session: ModelSession | None, now_ms: int) -> None:
    """The model's session is open: give it the past, if there is one, then all commands that waited."""
    if state.link.state is not LinkState.DIALLING:
        return
    state.link.state = OPEN
    state.accounts.ready(session, now_ms)
    if state.knowledge.generation:
        _tell_past(state, now_ms)
    for command in state.link.outbox.take():
        if type(command) is RequestResponse:
            state.responses.out_of_band_asked[command.request.request_id] = command.request
        state.out.append(command)
    if state.link.listen_first:
        state.link.listen_first = False
        state.due.own_answer_ms = now_ms + LISTEN_FIRST_MS
    answering.pump(state, now_ms)


def lost(state: CallState, event: ModelLost, now_ms: int) -> None:
    """The model's leg is lost: dial again if that can help, else end the call."""
    if state.over() or state.link.state in (LinkState.GONE, LinkState.IDLE):
        return
    state.note(event.problem, "leg", state.book.open)
    state.accounts.lost(event.error, now_ms)
    dial_again = event.retryable and state.link.answered_since_dial
    # The state changes first: nothing more is sent to the lost leg.
    state.link.state = LinkState.DIALLING if dial_again else LinkState.GONE
    _end_what_ran(state, now_ms)
    if not dial_again:
        if state.budget.used_up:  # the call was about to end, and the goodbye cannot be said any more
            ending.end(state, BUDGET_REASON, BUDGET_GOODBYE, None, now_ms)
            return
        text = "The connection to the model was lost."
        ending.end(state, "model_lost", text, "model_lost", now_ms, problem=event.problem)
        return
    state.link.answered_since_dial = False
    state.knowledge.generation += 1
    state.meter.redials += 1
    dial(state, now_ms, state.rules.redial_limit_ms)


def tell_output(state: CallState, job: Job, output: str) -> None:
    """Give the model the result of a server-side tool; to another leg than the one that called it, with the call."""
    if job.generation == state.knowledge.generation:
        if state.link.state is OPEN:
            state.knowledge.output_sent(job.call_id)
        state.to_model(AddToolOutput(job.call_id, output, None), job.call_id, ours=True)
    elif state.link.state is OPEN:
        state.knowledge.output_seeded(job.call_id)
        state.out.append(Seed((PastToolCall(job.item_id, job.call_id, job.name, job.arguments, output),)))
    # else a leg is being dialled, and the past that it will be given has this result


def tell_past_call(state: CallState, told: PastToolCall) -> None:
    """Give the model a call of the client's own function with its result; the leg that made the call is gone."""
    if state.link.state is OPEN:
        state.out.append(Seed((told,)))


def _tell_past(state: CallState, now_ms: int) -> None:
    sounds_still = state.ledger.plays_until_ms > now_ms
    if sounds_still and not state.rules.client_plays and state.queue.waiting.has(Origin.RESUME):
        # The rest of the broken answer was played until now; the new answer goes on from what was heard of it.
        state.ledger.interrupted(now_ms)
        state.responses.live_item = None
        state.out.append(ClearPlayback())
    state.heard_text.settle(now_ms)
    past = _history(state)
    if past:
        # This leg confirms the items that the lost one did not confirm: a client may wait for that.
        state.out.append(Seed(past, state.knowledge.unseen))


def _history(state: CallState) -> tuple[Past, ...]:
    """The conversation so far, in order, for a session that knows nothing of it.

    Left out are items that the client has deleted, and those that reach the model in another way: commands that wait
    to be sent, and tools that still run.
    """
    untold = state.link.outbox.told | state.tool_book.unfinished()
    past = [entry for entry in past_of(state.book.turns) if entry.item_id not in state.knowledge.deleted]
    told = [entry for entry in state.knowledge.history.among(past, state.book.items) if told_as(entry) not in untold]
    return tuple(told[-SEEDED_ENTRIES:])


def _end_what_ran(state: CallState, now_ms: int) -> None:
    active = state.queue.active
    asked = state.queue.leg_lost()
    client_asks = False
    for response_id in state.responses.take_running():
        state.answers.ended(response_id, Outcome.FAILED, None)
        state.accounts.ended(response_id, Outcome.FAILED, "leg_lost", None, now_ms)
        state.out.append(ResponseGone(response_id))
        round_ = state.tools.find(response_id)
        if round_ is not None:
            round_.over = True
            round_.spoke = state.responses.has_words(response_id)
            client_asks = client_asks or bool(round_.client_calls)
    if asked is not None:
        answering.put_back(state, asked)
    for request in state.responses.out_of_band_asked.values():
        state.to_model(RequestResponse(request))
    state.responses.out_of_band_asked.clear()
    state.keypad.messages.leg_lost()
    for deletion in state.knowledge.lost():
        command = DeleteItem(deletion.item_id, deletion.event_id, deletion.wire)
        state.to_model(command, event_id=deletion.client_event_id)
    answering.follow_up(state, now_ms)
    state.heard_text.settle(now_ms)
    spoken_to = state.setup.turn_policy.model_answers and (state.caller_speaks or state.due.own_answer_ms is not None)
    if (active is not None or spoken_to) and not client_asks:
        _owe(state, active, now_ms)
    state.link.listen_first = state.link.listen_first or state.caller_speaks
    state.caller_speaks = False
    state.due.own_answer_ms = None


def _owe(state: CallState, active: ActiveResponse | None, now_ms: int) -> None:
    """Request from the next leg the answer that the lost one was giving, or about to give, if nothing else will."""
    if state.queue.waiting or state.tools.running or state.end.goodbye is Goodbye.SAID:
        return
    if active is not None and active.pending is not None and active.pending.origin in WORD_FOR_WORD:
        answering.put_back(state, active.pending)
    else:
        answering.want(state, Origin.RESUME, now_ms, like=active.metadata if active is not None else None)
