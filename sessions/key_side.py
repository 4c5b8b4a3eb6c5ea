"""Handles the keys that a caller presses, and the tool of the agent's that waits for them."""

from __future__ import annotations

import orjson

from sessions import answering, barge_in, caller_side, tool_results
from sessions.agent import KeyMode, ToolRule
from sessions.events import CallerText
from sessions.keys import COLLECT_KEYS, KEYS, BadRequest, Gathered, KeyMessage, read_request
from sessions.line_events import DigitPressed
from sessions.pending_responses import Origin
from sessions.state import CallState

BUSY = "Keys are being collected already; their result comes first."


def pressed(state: CallState, event: DigitPressed, now_ms: int) -> None:
    """Take a key. Where the agent does not want any, it only shows that somebody is there."""
    if event.digit not in KEYS:
        return
    state.timeouts.active(now_ms)
    if state.keypad.mode is KeyMode.OFF:
        return
    if state.rules.phone is not None and state.rules.phone.barge_in:
        barge_in.by_key(state, now_ms)
    _take(state, state.keypad.press(event.digit, now_ms), now_ms)


def on_time(state: CallState, now_ms: int) -> None:
    """Take the keys after which the caller has rested."""
    _take(state, state.keypad.on_time(now_ms, state.ledger.plays_until_ms), now_ms)


def waits_for_keys(state: CallState, rule: ToolRule) -> bool:
    """Whether this tool is the one that waits for keys, which the call itself runs."""
    return rule.server is None and rule.name == COLLECT_KEYS and state.keypad.mode is not KeyMode.OFF


def collect(state: CallState, call_id: str, arguments: str, rule: ToolRule, now_ms: int) -> None:
    """The model calls the tool that waits for keys. A second one is refused while the first waits."""
    try:
        if state.keypad.collect is not None:
            raise BadRequest(BUSY)
        request = read_request(call_id, arguments, state.keypad.terminator, rule.deadline_ms, now_ms)
    except BadRequest as problem:
        told = orjson.dumps({"error": str(problem)}).decode()
        tool_results.finished(state, call_id, told, "tool_execution_error", now_ms)
        return
    _take(state, state.keypad.wait(request, now_ms), now_ms)


def _take(state: CallState, gathered: Gathered | None, now_ms: int) -> None:
    if gathered is None:
        return
    if isinstance(gathered, KeyMessage):
        _tell(state, gathered, now_ms)
    else:
        tool_results.collected(state, gathered, now_ms)
        answering.pump(state, now_ms)  # what waited for the rest of a message


def _tell(state: CallState, message: KeyMessage, now_ms: int) -> None:
    """Tell the model the keys as a message of the caller's, and request an answer."""
    item_id, event_id = state.ids.new("pb"), state.ids.new("pb")
    state.keypad.is_item(item_id, message)
    caller_side.typed(state, CallerText(item_id, message.keys, 0, False, event_id, None, None), now_ms)
    if item_id not in state.transcript.places:
        answering.pump(state, now_ms)
        return  # there was no room for it
    state.transcript.places[item_id].said.keys = True
    if not state.caller_speaks:
        state.watch.caller_typed(message.last_ms)  # the rest afterwards is part of the latency
    state.keypad.messages.told(item_id)
    if state.queue.waiting.has(Origin.KEYS):
        answering.pump(state, now_ms)
    else:
        answering.want(state, Origin.KEYS, now_ms)
