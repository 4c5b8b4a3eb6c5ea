"""Decides when the next answer is requested, beside a model that may also answer by itself."""

from __future__ import annotations

from dataclasses import replace

from sessions import budget_side, ending
from sessions.budget import BUDGET_REACHED, REFUSAL
from sessions.commands import Refuse, RequestResponse
from sessions.events import ResponseWanted
from sessions.link import OPEN
from sessions.pending_responses import MAX_WAITING, Origin, PendingResponse
from sessions.ports import JsonObject
from sessions.state import CallState
from sessions.values import ResponseRequest

ACTIVE_ALREADY = "conversation_already_has_active_response"
# How often a request of the gateway's is made that the model refuses, or answers with a failure.
TRIES = 2
RETRY_MS = 1_000
# The wait before a request is repeated that the model refused because a response runs, when none is known here.
RACE_RETRY_MS = 500


def client_wants(state: CallState, event: ResponseWanted, now_ms: int) -> None:
    """Take a client's request for a response.

    An out-of-band one is sent at once. Any other is refused while the client knows of a response under way.
    """
    request = event.request
    if state.budget.used_up or (request.out_of_band and not budget_side.before_response(state, now_ms)):
        state.out.append(Refuse(BUDGET_REACHED, REFUSAL, event.client_event_id))
        pump(state, now_ms)
        return
    if request.out_of_band:
        if state.link.state is OPEN and len(state.responses.out_of_band_asked) < MAX_WAITING:
            state.responses.out_of_band_asked[request.request_id] = request
        state.to_model(RequestResponse(request), event_id=event.client_event_id)
        return
    if state.queue.client_sees_one():
        text = "Conversation already has an active response in progress. Wait until the response is finished."
        state.out.append(Refuse(ACTIVE_ALREADY, text, event.client_event_id))
        return
    if not state.queue.waiting.add(PendingResponse(request, Origin.CLIENT, event.client_event_id)):
        state.out.append(Refuse("rate_limit_exceeded", "Too many responses are waiting.", event.client_event_id))
        return
    state.due.greeting_ms = None  # the client has begun the conversation
    state.queue.waiting.withdraw(Origin.RESUME)  # the client requests again what it saw break off
    pump(state, now_ms)


def want(
    state: CallState, origin: Origin, now_ms: int, *, say: str | None = None, like: JsonObject | None = None
) -> None:
    """Queue a request of the gateway's. `like` is the metadata of the response that it follows up.

    Once the call's budget is used up, nothing is queued any more.
    """
    if state.budget.used_up:
        return
    request = ResponseRequest(state.ids.new("pb"), out_of_band=False, metadata=like, say=say, wire=None)
    state.queue.waiting.add(PendingResponse(request, origin))
    pump(state, now_ms)


def pump(state: CallState, now_ms: int) -> None:
    """Send the next request if no response runs and the caller's turn is over."""
    head = state.queue.waiting.head
    if head is None or state.queue.busy or state.link.state is not OPEN or state.over():
        return
    if head.origin is Origin.CLIENT:
        if state.tools.hold_client:
            return
    elif head.origin is not Origin.BUDGET and (
        state.caller_speaks or state.keypad.gathering or state.due.own_answer_ms is not None
    ):
        return  # the caller is about to be answered, and that answer takes in what this request is for
    if head.origin is not Origin.BUDGET and not budget_side.before_response(state, now_ms):
        pump(state, now_ms)  # only the goodbye waits now
        return
    pending = state.queue.ask_next(now_ms)
    if pending is not None:
        state.out.append(RequestResponse(pending.request))
        if pending.origin is Origin.BUDGET:
            budget_side.goodbye_by(state, now_ms)


def follow_up(state: CallState, now_ms: int) -> None:
    """Request an answer for each response that is over and whose tools have returned, unless its client will."""
    for done in state.tools.rounds:
        if not (done.over and done.outputs_in):
            continue
        state.tools.close(done)
        if done.hang_up and done.spoke:
            ending.leave(state, now_ms)
        elif done.client_calls or not done.jobs:
            continue
        elif not state.queue.waiting.has(Origin.TOOLS):
            want(state, Origin.TOOLS, now_ms, like=done.metadata)
    pump(state, now_ms)


def begun(state: CallState) -> None:
    """A response has begun: drop the queued requests that it makes unnecessary."""
    state.knowledge.response_begins()
    state.queue.waiting.withdraw(Origin.GREETING)
    state.queue.waiting.withdraw(Origin.RESUME)
    if state.knowledge.knows_outputs:
        state.queue.waiting.withdraw(Origin.TOOLS)
    state.keypad.messages.response_begins()
    if state.keypad.messages.known:
        state.queue.waiting.withdraw(Origin.KEYS)
    state.due.greeting_ms = None


def put_back(state: CallState, pending: PendingResponse) -> None:
    """Queue a request again. One of the gateway's gets a new id: a second refusal must not count for the new try."""
    if state.budget.used_up and pending.origin is not Origin.BUDGET:
        return
    if pending.origin is not Origin.CLIENT:
        pending = replace(pending, request=replace(pending.request, request_id=state.ids.new("pb")))
    state.queue.waiting.put_back(pending)


def lost_race(state: CallState, pending: PendingResponse, now_ms: int, *, crossed: bool) -> None:
    """A response was running when this request reached the model: queue the request again if it is still needed."""
    if not crossed:  # no response is known here: it has ended just now, or will soon
        put_back(state, pending)
        state.queue.pause(now_ms + RACE_RETRY_MS)
        return
    known = {
        Origin.TOOLS: state.knowledge.knows_outputs,
        Origin.KEYS: state.keypad.messages.known,
        Origin.BUDGET: False,
    }
    if pending.origin is Origin.CLIENT or not known.get(pending.origin, True):
        put_back(state, pending)


def try_again(state: CallState, pending: PendingResponse, now_ms: int) -> bool:
    """Queue a request of the gateway's again that failed. False if there are no tries left."""
    if pending.tries + 1 >= TRIES or pending.origin is Origin.CLIENT:
        return False
    put_back(state, replace(pending, tries=pending.tries + 1))
    state.queue.pause(now_ms + RETRY_MS)
    return True
