"""The calls whose documents come in: a bounded number of them, and what was sent of calls that are past."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from gateway.telemetry.spans.pressed_keys import PressedKeys
from gateway.telemetry.spans.settled import Settled
from gateway.telemetry.spans.view import CallView, TurnView

MAX_CALLS = 4_096  # followed at once
MAX_PAST = 16_384  # calls of which is only known what was sent
Key: TypeAlias = tuple[str, str]  # tenant and session id


@dataclass(slots=True)
class Sent:
    """What of a call has been dealt with: sent, or left out by sampling."""

    setup: bool = False
    call: bool = False
    over: bool = False  # nothing more is expected
    dials: set[int] = field(default_factory=set)
    turns: set[int] = field(default_factory=set)


@dataclass(slots=True)
class FollowedCall:
    """One call that is followed."""

    sent: Sent
    view: CallView | None = None
    turns: dict[int, TurnView] = field(default_factory=dict)  # that wait to settle
    keys: PressedKeys = field(default_factory=PressedKeys)
    searched: set[int] = field(default_factory=set)  # turns whose pressed keys are known
    over_since_s: float | None = None
    changed: bool = True  # since it was looked at
    # Of a call that is not kept: what is needed as soon as one of its turns is sent all the same, by the first turn
    # of its trace. `wanted` has the traces of which a turn was sent.
    roots: dict[int, list[Settled]] = field(default_factory=dict)
    wanted: set[int] = field(default_factory=set)


class FollowedCalls:
    """Knows the calls that were changed last, and forgets the others."""

    def __init__(self, leaving: Callable[[FollowedCall], None]) -> None:
        """`leaving` is told of a call that cannot be followed any longer."""
        self._leaving = leaving
        self._calls: OrderedDict[Key, FollowedCall] = OrderedDict()  # the one that was changed last is the last
        self._past: OrderedDict[Key, Sent] = OrderedDict()

    def __len__(self) -> int:
        return len(self._calls)

    def all(self) -> list[tuple[Key, FollowedCall]]:
        """The calls that are followed."""
        return list(self._calls.items())

    def follow(self, key: Key) -> FollowedCall | None:
        """The call that has changed; None where all of it has been sent."""
        call = self._calls.get(key)
        if call is not None:
            self._calls.move_to_end(key)
            call.changed = True
            return call
        past = self._past.get(key)
        if past is not None and past.over:
            return None
        self._past.pop(key, None)
        call = self._calls[key] = FollowedCall(past or Sent())
        if len(self._calls) > MAX_CALLS:
            oldest = next(iter(self._calls))
            self._leaving(self._calls[oldest])
            self.forget(oldest, over=False)
        return call

    def forget(self, key: Key, *, over: bool) -> None:
        """Follow a call no longer. `over`: nothing more is expected of it."""
        sent = self._calls.pop(key).sent
        sent.over = over
        if over:
            sent.dials, sent.turns = set(), set()
        self._past[key] = sent
        if len(self._past) > MAX_PAST:
            self._past.popitem(last=False)
