"""Waits until the turns of calls have settled, and makes their spans: each once, since readers cannot change a span.

Documents may come in any order and repeatedly, from a running server or from a store; `on_time` yields what has
settled. What is remembered is bounded: of the calls that were changed last, and of each a few turns.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from gateway.telemetry.spans import ids
from gateway.telemetry.spans.call import call_span, dial_is_over, dial_span, is_set_up, setup_span
from gateway.telemetry.spans.content import PressedKeys, Words
from gateway.telemetry.spans.policy import Shape, TelemetryPolicy
from gateway.telemetry.spans.redaction import Redaction
from gateway.telemetry.spans.sampling import is_always_sent, keeps
from gateway.telemetry.spans.span import Span
from gateway.telemetry.spans.turn import turn_spans
from gateway.telemetry.spans.view import CallView, TurnView
from sessions.agent import TelemetryContent
from sessions.record import Turn, Utterance
from sessions.stores import contract, documents
from sessions.stores.contract import BadDocument, Document

WAIT_S = 5.0  # for late transcripts and results, after a turn's end
MAX_CALLS = 4_096  # followed at once
MAX_TURNS = 64  # of one call that wait to settle
MAX_PAST = 16_384  # calls of which is only known what was sent
WITHOUT_KEYS = "realtime"  # the protocol whose callers have no telephone keys
Key: TypeAlias = tuple[str, str]  # tenant and session id


class What(StrEnum):
    """Says which part of a call a group of spans is."""

    SETUP = "setup"
    DIAL = "dial"
    TURN = "turn"
    CALL = "call"


@dataclass(frozen=True, slots=True)
class Settled:
    """Spans that belong together and are ready to be sent; `index` is that of a turn or a dial."""

    tenant: str
    session_id: str
    what: What
    index: int | None
    spans: tuple[Span, ...]


@dataclass(slots=True)
class _Sent:
    """What of a call has been dealt with: sent, or left out by sampling."""

    setup: bool = False
    call: bool = False
    over: bool = False  # nothing more is expected
    dials: set[int] = field(default_factory=set)
    turns: set[int] = field(default_factory=set)


@dataclass(slots=True)
class _Call:
    """One call that is followed."""

    sent: _Sent
    view: CallView | None = None
    turns: dict[int, TurnView] = field(default_factory=dict)  # that wait to settle
    keys: PressedKeys = field(default_factory=PressedKeys)
    searched: set[int] = field(default_factory=set)  # turns whose pressed keys are known
    over_since_s: float | None = None
    # Of a call that is not kept: what is needed as soon as one of its turns is sent all the same, by the first turn
    # of its trace. `wanted` has the traces of which a turn was sent.
    roots: dict[int, list[Settled]] = field(default_factory=dict)
    wanted: set[int] = field(default_factory=set)


class Settling:
    """Follows calls by their documents, and yields the spans of what has settled."""

    def __init__(self, policy: TelemetryPolicy) -> None:
        self._policy = policy
        self._redaction = Redaction(policy.redact)
        self._calls: OrderedDict[Key, _Call] = OrderedDict()  # the one that was changed last is the last
        self._past: OrderedDict[Key, _Sent] = OrderedDict()
        self._ready: list[Settled] = []
        self.unreadable = 0  # documents that could not be read

    @property
    def calls(self) -> int:
        """How many calls are followed."""
        return len(self._calls)

    def take(self, document: Document) -> None:
        """Take a document in its newest version; others than those of sessions and turns are ignored."""
        tenant, session_id = document.get("tenant"), document.get("session_id")
        if not isinstance(tenant, str) or not isinstance(session_id, str):
            self.unreadable += 1
            return
        try:
            match document.get("type"):
                case contract.SESSION:
                    self._take_session((tenant, session_id), CallView.of(document))
                case documents.TURN:
                    self._take_turn((tenant, session_id), TurnView.of(document))
        except BadDocument:
            self.unreadable += 1

    def on_time(self, now_s: float) -> list[Settled]:
        """What has settled by now (Unix time). Call it every second or so; an early call is harmless."""
        for key in list(self._calls):
            call = self._calls[key]
            if call.view is not None:
                self._settle(call, call.view, now_s)
                if _is_done(call, call.view, now_s):
                    self._forget(key, over=True)
        ready, self._ready = self._ready, []
        return ready

    # ---- documents

    def _take_session(self, key: Key, view: CallView) -> None:
        call = self._follow(key)
        if call is not None and (call.view is None or view.over or not call.view.over):
            call.view = view

    def _take_turn(self, key: Key, view: TurnView) -> None:
        call = self._follow(key)
        turn = view.turn
        if call is None:
            return
        if view.has_words:
            call.keys.take(turn)
            call.searched.add(turn.index)
        known = call.turns.get(turn.index)
        if turn.index in call.sent.turns or (known is not None and _is_older(turn, known.turn)):
            return
        call.turns[turn.index] = view
        if len(call.turns) > MAX_TURNS and call.view is not None:
            self._send_turn(call, call.view, min(call.turns))

    def _follow(self, key: Key) -> _Call | None:
        """The call of a document; None where all of it has been sent."""
        call = self._calls.get(key)
        if call is not None:
            self._calls.move_to_end(key)
            return call
        past = self._past.get(key)
        if past is not None and past.over:
            return None
        self._past.pop(key, None)
        call = self._calls[key] = _Call(past or _Sent())
        if len(self._calls) > MAX_CALLS:
            oldest = next(iter(self._calls))
            self._send_all(self._calls[oldest])
            self._forget(oldest, over=False)
        return call

    def _forget(self, key: Key, *, over: bool) -> None:
        sent = self._calls.pop(key).sent
        sent.over = over
        if over:
            sent.dials, sent.turns = set(), set()
        self._past[key] = sent
        if len(self._past) > MAX_PAST:
            self._past.popitem(last=False)

    def _send_all(self, call: _Call) -> None:
        """Send what there is of a call that cannot be followed any longer."""
        if call.view is not None:
            for index in sorted(call.turns):
                if call.turns[index].turn.end_ms is not None:
                    self._send_turn(call, call.view, index)

    # ---- what has settled

    def _settle(self, call: _Call, view: CallView, now_s: float) -> None:
        sent, dials = call.sent, view.record.dials
        if view.over and call.over_since_s is None:
            call.over_since_s = now_s
        if not sent.setup and is_set_up(view):
            sent.setup = True
            self._give(call, view, What.SETUP, None, (setup_span(view),), first=0)
        for at, dial in enumerate(dials if sent.setup else ()):
            if at not in sent.dials and dial_is_over(view, dial):
                sent.dials.add(at)
                self._give(call, view, What.DIAL, at, (dial_span(view, at),))
        for index in sorted(call.turns):
            if has_settled(call.turns[index].turn, view, now_s):
                self._send_turn(call, view, index)
        if view.over and not sent.call:
            sent.call = True
            self._give(call, view, What.CALL, None, (call_span(view),))

    def _send_turn(self, call: _Call, view: CallView, index: int) -> None:
        turn_view = call.turns.pop(index)
        turn = turn_view.turn
        call.sent.turns.add(index)
        words = Words(self._redaction, call.keys) if self._may_speak(call, view, turn_view) else None
        first = ids.first_of_trace(index)
        spans = turn_spans(view, turn_view, self._policy, words)
        if not self._keeps(view) and is_always_sent(view, turn, self._policy):
            if self._policy.shape is Shape.CALL and first not in call.wanted:
                call.wanted.add(first)
                self._ready += call.roots.pop(first, [])
            self._ready.append(_settled(view, What.TURN, index, spans))
        else:
            self._give(call, view, What.TURN, index, spans, first=first if index == first and first else None)

    def _may_speak(self, call: _Call, view: CallView, turn_view: TurnView) -> bool:
        """Whether the words of a turn may be sent.

        On the telephone, a turn may repeat keys that were pressed in an earlier one. So that they are hidden, all
        earlier turns must be known; a courier that began in the middle of a call does not know them.
        """
        if not turn_view.has_words or self._policy.level_of(view.record.agent) is TelemetryContent.NONE:
            return False
        index = turn_view.turn.index
        return view.record.protocol == WITHOUT_KEYS or len([at for at in call.searched if at < index]) == index

    def _give(
        self,
        call: _Call,
        view: CallView,
        what: What,
        index: int | None,
        spans: tuple[Span, ...],
        *,
        first: int | None = None,
    ) -> None:
        """Send spans if their call is kept. `first`: they hold the root of the trace that begins with this turn.

        In the shape `call`, such a root of a call that is not kept waits for a turn that is sent all the same.
        """
        settled = _settled(view, what, index, spans)
        if self._keeps(view) or (first is not None and first in call.wanted):
            self._ready.append(settled)
        elif first is not None and self._policy.shape is Shape.CALL:
            call.roots.setdefault(first, []).append(settled)

    def _keeps(self, view: CallView) -> bool:
        return keeps(view.session_id, self._policy.ratio)


def has_settled(turn: Turn, call: CallView, now_s: float) -> bool:
    """Whether nothing more is expected of a turn."""
    if call.over:
        return True
    if turn.end_ms is None:
        return False
    if now_s >= call.record.started_at + turn.end_ms / 1000 + WAIT_S:
        return True
    return all(entry.final if isinstance(entry, Utterance) else entry.end_ms is not None for entry in turn.entries)


def _settled(view: CallView, what: What, index: int | None, spans: tuple[Span, ...]) -> Settled:
    return Settled(view.record.tenant, view.session_id, what, index, spans)


def _is_older(turn: Turn, known: Turn) -> bool:
    """Whether a turn is an earlier version than the known one, which has ended already."""
    return turn.end_ms is None and known.end_ms is not None


def _is_done(call: _Call, view: CallView, now_s: float) -> bool:
    """Whether a call is over and all its turns have been sent, or are not waited for any more."""
    if not view.over or call.over_since_s is None:
        return False
    return len(call.sent.turns) >= view.record.summary.turns or now_s >= call.over_since_s + WAIT_S
