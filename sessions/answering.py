"""When the next answer is asked for: requests in line, a model that answers by itself, results of tools."""

from __future__ import annotations

from dataclasses import replace

from sessions import ending
from sessions.commands import Refuse, RequestResponse
from sessions.events import ResponseRequest, ResponseWanted
from sessions.ports import JsonObject
from sessions.state import CallState, Line
from sessions.wishes import MAX_WAITING, Origin, Wish

ACTIVE_ALREADY = "conversation_already_has_active_response"
TRIES = 2  # of a request of ours that the model refuses, or answers with a failure
RETRY_MS = 1_000
RACE_RETRY_MS = 500  # the model says that a response runs, and we know of none


def client_wants(state: CallState, event: ResponseWanted, now_ms: int) -> None:
    """A client's `response.create`: out of band goes on at once; else one that it can see under way refuses it."""
    request = event.request
    if request.out_of_band:
        if state.line is Line.OPEN and len(state.beside_asked) < MAX_WAITING:
            state.beside_asked[request.request_id] = request
        state.to_model(RequestResponse(request), event_id=event.client_event_id)
        return
    if state.queue.client_sees_one():
        text = "Conversation already has an active response in progress. Wait until the response is finished."
        state.out.append(Refuse(ACTIVE_ALREADY, text, event.client_event_id))
        return
    if not state.queue.waiting.add(Wish(request, Origin.CLIENT, event.client_event_id)):
        state.out.append(Refuse("rate_limit_exceeded", "Too many responses are waiting.", event.client_event_id))
        return
    state.greeting_due_ms = None  # the client leads
    state.queue.waiting.withdraw(Origin.RESUME)  # it asks again for what it saw break off
    pump(state, now_ms)


def want(
    state: CallState, origin: Origin, now_ms: int, *, say: str | None = None, like: JsonObject | None = None
) -> None:
    """Put a request of our own in line. `like` is the metadata of the response that it follows up."""
    request = ResponseRequest(state.ids.new("pb"), out_of_band=False, metadata=like, say=say, wire=None)
    state.queue.waiting.add(Wish(request, origin))
    pump(state, now_ms)


def pump(state: CallState, now_ms: int) -> None:
    """Ask for the next answer if the conversation is free for it."""
    head = state.queue.waiting.head
    if head is None or state.queue.busy or state.line is not Line.OPEN or state.over():
        return
    if head.origin is Origin.CLIENT:
        if state.tools.hold_client:
            return
    elif state.caller_speaks or state.own_answer_until_ms is not None:
        return  # the model is about to answer what the caller says, knowing all that we would have asked about
    wish = state.queue.ask_next(now_ms)
    if wish is not None:
        state.out.append(RequestResponse(wish.request))


def follow_up(state: CallState, now_ms: int) -> None:
    """Once all results of a response's tools are in and it is over, have them spoken, unless its client will ask."""
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
    """A response began: it makes some of what waits superfluous."""
    state.active_knows_all = not state.untaken and not state.seeded
    state.seeded.clear()  # the next response will know them
    state.queue.waiting.withdraw(Origin.GREETING)
    state.queue.waiting.withdraw(Origin.RESUME)
    if state.active_knows_all:
        state.queue.waiting.withdraw(Origin.TOOLS)
    state.greeting_due_ms = None


def put_back(state: CallState, wish: Wish) -> None:
    """Back in line, under a new name if it is ours: a refusal that comes twice must not hit the second attempt."""
    if wish.origin is not Origin.CLIENT:
        wish = replace(wish, request=replace(wish.request, request_id=state.ids.new("pb")))
    state.queue.waiting.put_back(wish)


def lost_race(state: CallState, wish: Wish, now_ms: int, *, crossed: bool) -> None:
    """A response was running when this request reached the model: ask again after it, if that is still of use."""
    if not crossed:  # we know of none: it must have ended, or will soon
        put_back(state, wish)
        state.queue.pause(now_ms + RACE_RETRY_MS)
    elif wish.origin is Origin.CLIENT or (wish.origin is Origin.TOOLS and not state.active_knows_all):
        put_back(state, wish)


def try_again(state: CallState, wish: Wish, now_ms: int) -> bool:
    """A request of ours came to nothing: once more, a little later. False if that was the last try."""
    if wish.tries + 1 >= TRIES or wish.origin is Origin.CLIENT:
        return False
    put_back(state, replace(wish, tries=wish.tries + 1))
    state.queue.pause(now_ms + RETRY_MS)
    return True
