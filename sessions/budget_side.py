"""Ends a call whose budget is used up: one goodbye, and nothing else begins.

What counts is the cost that is known; of a running response none is, because models report usage at its end. So a call
goes at most one response, and its goodbye, past its budget. What a model reports no usage of, and what has no price,
does not count.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sessions.budget import (
    ALL_PERCENT,
    BUDGET_REACHED,
    BUDGET_REASON,
    HEARD_LIMIT_MS,
    MOST_PERCENT,
    NEAR_PERCENT,
    REFUSAL,
    BudgetStage,
    reaches,
)
from sessions.call_end import Goodbye
from sessions.commands import CancelResponse, Configure, NoteBudget, Refuse
from sessions.link import OPEN
from sessions.pending_responses import Origin, PendingResponse
from sessions.ports import JsonObject
from sessions.setup import ModelSetup, TurnPolicy
from sessions.state import CallState
from sessions.values import ResponseRequest


def spent(state: CallState, now_ms: int) -> None:
    """Something was paid for: see how much of the budget is left. The caller of this asks for what waits."""
    limit_nano, spent_nano = state.rules.cost_nano, state.accounts.costs.known_nano
    if limit_nano is None or state.budget.used_up or state.over():
        return
    if reaches(spent_nano, limit_nano, ALL_PERCENT):
        use_up(state, now_ms)
    elif state.budget.stage is BudgetStage.WITHIN and reaches(spent_nano, limit_nano, NEAR_PERCENT):
        state.budget.stage = BudgetStage.NEAR
        state.out.append(NoteBudget(NEAR_PERCENT, spent_nano, limit_nano))


def before_response(state: CallState, now_ms: int) -> bool:
    """Whether a response may begin; if a further limit forbids it, the call's budget is used up with that."""
    if not state.budget.used_up and not state.rules.allowance.may_begin(state.accounts.costs.known_nano):
        use_up(state, now_ms)
    return not state.budget.used_up


def use_up(state: CallState, now_ms: int) -> None:
    """The budget is used up: what waits is dropped, the model is told to begin nothing, and the goodbye is queued."""
    state.budget.stage = BudgetStage.USED_UP
    _drop_waiting(state)
    turn = state.book.turns[-1] if state.book.turns else state.book.current(now_ms)
    turn.budget_reached = True
    state.book.touch(turn)
    state.out.append(NoteBudget(ALL_PERCENT, state.accounts.costs.known_nano, state.rules.cost_nano))
    policy = state.setup.turn_policy
    if policy.model_answers or policy.model_interrupts:
        state.setup = passive(state.setup)
        state.to_model(Configure(state.setup))
    if state.end.goodbye is Goodbye.SAID:
        return  # the agent is hanging up anyway
    state.end.goodbye, state.end.leave_reason = Goodbye.WANTED, BUDGET_REASON
    if state.queue.active is None:  # else that response is heard out first
        goodbye_by(state, now_ms)
    request = ResponseRequest(state.ids.new("pb"), False, None, state.rules.budget_goodbye, None)
    state.queue.waiting.add(PendingResponse(request, Origin.BUDGET))


def _drop_waiting(state: CallState) -> None:
    waiting = state.queue.waiting
    while waiting:
        dropped = waiting.take()
        if dropped.origin is Origin.CLIENT:
            state.out.append(Refuse(BUDGET_REACHED, REFUSAL, dropped.client_event_id))


def goodbye_by(state: CallState, now_ms: int) -> None:
    """The goodbye is asked for, or begins: set the time at which the call ends even if it has not been heard.

    It is heard after the speech that still plays.
    """
    state.due.leave_ms = max(now_ms, state.ledger.plays_until_ms) + HEARD_LIMIT_MS


def response_begins(state: CallState, response_id: str, pending: PendingResponse | None, now_ms: int) -> None:
    """A response of the conversation begins: it is cancelled if it may not, unless it is the goodbye."""
    if pending is not None and pending.origin is Origin.BUDGET:
        goodbye_by(state, now_ms)
    elif state.budget.used_up or (pending is None and not before_response(state, now_ms)):
        cancel(state, response_id)
        if state.due.leave_ms is None:
            goodbye_by(state, now_ms)
    else:
        state.budget.cut_ms = _too_long_at(state, now_ms)


def cancel(state: CallState, response_id: str) -> None:
    """Cancel a response that may not begin. Nothing of it has been played, so nothing has to be cleared."""
    response = state.responses.find(response_id)
    if response is not None and not response.cancelled:
        response.cancelled = True
        state.budget.cancelled.add(response_id)
        state.responses.cut(response_id)
        state.to_model(CancelResponse(response_id, None))


def crossed(state: CallState) -> None:
    """The request for the goodbye has crossed a response that the model began by itself: that one is cancelled."""
    if state.budget.used_up and state.queue.active is not None:
        cancel(state, state.queue.active.response_id)


def _too_long_at(state: CallState, now_ms: int) -> int | None:
    """When a response that begins now has cost too much by itself, of a model that is sold by time."""
    price = state.rules.pricing.price_of(state.accounts.model)
    if state.rules.cost_nano is None or price is None or not price.active_minute:
        return None
    return now_ms - (-state.rules.cost_nano * MOST_PERCENT * 600 // price.active_minute)


def on_time(state: CallState, now_ms: int) -> None:
    """Cut the response that runs if it alone has cost too much."""
    if state.budget.cut_ms is None or now_ms < state.budget.cut_ms:
        return
    state.budget.cut_ms = None
    active = state.queue.active
    if active is None or state.link.state is not OPEN:
        return
    if not state.budget.used_up:
        use_up(state, now_ms)
    cancel(state, active.response_id)


def passive(setup: ModelSetup) -> ModelSetup:
    """The same session, in which the model neither answers nor stops by itself."""
    audio = _inside(setup.session, "audio")
    heard = _inside(audio, "input")
    detection = heard.get("turn_detection")
    quiet = setup.session
    if isinstance(detection, Mapping):
        off: JsonObject = {**detection, "create_response": False, "interrupt_response": False}
        quiet = {**quiet, "audio": {**audio, "input": {**heard, "turn_detection": off}}}
    return replace(setup, session=quiet, turn_policy=TurnPolicy.CLIENT)


def _inside(fields: JsonObject, name: str) -> JsonObject:
    value = fields.get(name)
    return value if isinstance(value, Mapping) else {}
