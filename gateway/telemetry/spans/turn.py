"""The spans of one turn: its root `invoke_agent` with events, and everything within it."""

from __future__ import annotations

from gateway.telemetry.spans import ids, names
from gateway.telemetry.spans.bounds import short, value
from gateway.telemetry.spans.content import Words
from gateway.telemetry.spans.parts import FAILED, TurnParts, agent_items, is_cut, response_error
from gateway.telemetry.spans.policy import Shape, TelemetryPolicy
from gateway.telemetry.spans.span import Attribute, Kind, Link, Span, SpanEvent
from gateway.telemetry.spans.usage import cost_attributes
from gateway.telemetry.spans.view import CallView, TurnView
from sessions.accounts import Dial, DialCause, ResponseOrigin
from sessions.record import Heard, ToolUse, Turn

# How surely it is known what was heard of a turn: as surely as of the item of which it is known least.
_LEAST_SURE = (Heard.ESTIMATED, Heard.MARKED, Heard.REPORTED)


def turn_spans(call: CallView, view: TurnView, policy: TelemetryPolicy, words: Words | None) -> tuple[Span, ...]:
    """A turn as spans, its root first. `words`: None where none may be sent."""
    turn = view.turn
    until_ms = max(turn.begin_ms, call.record.summary.duration_ms) if turn.end_ms is None else turn.end_ms
    children = TurnParts(call, view, policy, words, until_ms).all()
    return (_root(call, turn, policy, words, children, until_ms), *children)


def turn_error(turn: Turn) -> str | None:
    """Why the last answer of a turn has failed, in one plain word; None if it has not."""
    if turn.outcome != FAILED:
        return None
    last = turn.responses[-1] if turn.responses else None
    error = response_error(turn, last) if last is not None else None
    return error or (turn.problem.code if turn.problem is not None else FAILED)


def has_redial(call: CallView, turn: Turn) -> bool:
    """Whether a model was dialled again in this turn, or an answer given again because its leg was lost."""
    again = any(dial.cause is not DialCause.START and _is_in(turn, dial.begin_ms) for dial in call.record.dials)
    return again or any(use.origin is ResponseOrigin.REDIAL for use in turn.responses)


def has_failed_tool(turn: Turn) -> bool:
    """Whether a tool has failed in this turn."""
    return any(isinstance(entry, ToolUse) and entry.error is not None for entry in turn.entries)


def _root(
    call: CallView,
    turn: Turn,
    policy: TelemetryPolicy,
    words: Words | None,
    children: list[Span],
    until_ms: int,
) -> Span:
    session_id, index = call.session_id, turn.index
    heard = [said.begin_ms + said.heard_ms for said in agent_items(turn) if said.heard_ms > 0]
    # A tool or a response may outlast its turn; the turn's span holds it all the same.
    begin_ns = min([call.ns(turn.begin_ms), *(span.begin_ns for span in children)])
    end_ns = max([call.ns(max([until_ms, turn.begin_ms, *heard])), *(span.end_ns for span in children)])
    error = turn_error(turn)
    attributes = _attributes(call, turn)
    if error is not None:
        attributes[names.ERROR_TYPE] = value(error)
    if words is not None:
        said = {names.INPUT_MESSAGES: words.turn_input(turn), names.OUTPUT_MESSAGES: words.turn_output(turn)}
        attributes |= {name: text for name, text in said.items() if text is not None}
    trace_id, parent_id = ids.turn_trace(session_id, index, policy.shape), _parent(session_id, index, policy.shape)
    setup = Link(ids.call_trace(session_id), ids.setup_span(session_id))
    return Span(
        name=f"{names.INVOKE_AGENT} {short(call.record.agent)}",
        kind=Kind.INTERNAL,
        trace_id=trace_id,
        span_id=ids.turn_span(session_id, index),
        parent_id=parent_id,
        begin_ns=begin_ns,
        end_ns=end_ns,
        attributes=attributes,
        events=_events(call, turn, begin_ns, end_ns, until_ms),
        links=() if parent_id == setup.span_id else (setup,),
        error=error is not None,
        model=call.record.model,
    )


def _parent(session_id: str, index: int, shape: Shape) -> bytes | None:
    """In the shape `call`, the set-up; in a further trace, the first turn of that trace."""
    if shape is Shape.TURN:
        return None
    first = ids.first_of_trace(index)
    if first == 0:
        return ids.setup_span(session_id)
    return None if index == first else ids.turn_span(session_id, first)


def _attributes(call: CallView, turn: Turn) -> dict[str, Attribute]:
    items = agent_items(turn)
    attributes: dict[str, Attribute] = {
        **call.common_of_turns,
        names.OPERATION: names.INVOKE_AGENT,
        names.INVOCATION_END_REASON: _end_reason(call, turn),
        names.TURN: turn.index,
        names.SENT_MS: sum(said.sent_ms for said in items),
        names.HEARD_MS: sum(said.heard_ms for said in items),
        **cost_attributes(turn.cost_nano),
    }
    if turn.latency_ms is not None:
        attributes[names.LATENCY_MS] = turn.latency_ms
    known = {said.heard for said in items}
    heard = next((each for each in _LEAST_SURE if each in known), None)
    if heard is not None:
        attributes[names.HEARD] = heard.value
    return attributes


def _end_reason(call: CallView, turn: Turn) -> str:
    """How the agent's part of a turn has ended, in the conventions' words."""
    if turn.interrupted:
        return "interrupted"
    last = call.over and turn.index == call.record.summary.turns - 1
    unheard = any(said.spoken and said.heard_ms < said.sent_ms for said in agent_items(turn))
    if last and (turn.outcome in (None, "cancelled") or unheard):
        return "session_closed"
    return "interrupted" if turn.outcome == "cancelled" else "completed"


def _events(call: CallView, turn: Turn, begin_ns: int, end_ns: int, until_ms: int) -> tuple[SpanEvent, ...]:
    """What happened within a turn, in order of time, each within the turn's span."""
    found: list[tuple[int, str, dict[str, Attribute]]] = []
    items = agent_items(turn)
    if turn.interrupted:
        heard = [said.begin_ms + said.heard_ms for said in items if said.heard_ms > 0]
        found.append((max(heard, default=until_ms), names.INTERRUPTED_EVENT, {}))
    for said in items:
        if is_cut(turn, said):
            cut: dict[str, Attribute] = {names.ITEM_ID: value(said.item_id), names.HEARD_MS: said.heard_ms}
            found.append((said.begin_ms + said.heard_ms, names.TRUNCATED_EVENT, cut))
    found += [
        (dial.lost_ms, names.MODEL_LOST_EVENT, _lost(dial))
        for dial in call.record.dials
        if dial.ready_ms is not None and dial.lost_ms is not None and _is_in(turn, dial.lost_ms)
    ]
    if turn.budget_reached:
        asked = [use.begin_ms for use in turn.responses if use.origin is ResponseOrigin.BUDGET]
        found.append((min(asked, default=until_ms), names.BUDGET_EVENT, {}))
    timed = [SpanEvent(name, min(max(call.ns(at_ms), begin_ns), end_ns), more) for at_ms, name, more in found]
    return tuple(sorted(timed, key=lambda event: event.at_ns))


def _lost(dial: Dial) -> dict[str, Attribute]:
    return {} if dial.error is None else {names.ERROR_TYPE: dial.error.value}


def _is_in(turn: Turn, at_ms: int) -> bool:
    return turn.begin_ms <= at_ms and (turn.end_ms is None or at_ms <= turn.end_ms)
