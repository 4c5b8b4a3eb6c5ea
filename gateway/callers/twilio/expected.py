"""Calls whose webhook has been answered, and whose media socket has not come yet.

Each of them holds a place among this server's calls, so that a webhook is only answered with a stream if the stream
will be let in. A carrier dials within a second or two; after `PLACE_S` the place is free for others, so callers who
hang up at once cannot fill the server. A socket that comes later, or to another process, is let in if there is room.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gateway.auth.tickets import TICKET_LIFE_S
from gateway.calls.admission import Ticket
from gateway.timer import Alarm
from sessions.ports import Clock

PLACE_S = 10


@dataclass(slots=True)
class _Expected:
    """`ticket` is None once its place has been given back."""

    ticket: Ticket | None
    free_at_ms: int
    forget_at_ms: int


class ExpectedCalls:
    """Keeps the places of expected calls, by the carrier's call id."""

    def __init__(self, clock: Clock, release: Callable[[Ticket], None], given_up: Callable[[str], None]) -> None:
        """`release` gets the ticket whose place is free; `given_up` the id of a call whose socket can come no more."""
        self._clock = clock
        self._release = release
        self._given_up = given_up
        self._calls: dict[str, _Expected] = {}
        self._alarm = Alarm(clock, self._on_time)

    def __len__(self) -> int:
        return len(self._calls)

    def ticket_of(self, call_id: str) -> Ticket | None:
        """The ticket that this call holds, if it still holds one: a carrier may ask twice for one call."""
        expected = self._calls.get(call_id)
        return None if expected is None else expected.ticket

    def hold(self, call_id: str, ticket: Ticket) -> None:
        """Keep a place for this call from now on, instead of what it had before."""
        before = self._calls.pop(call_id, None)
        if before is not None and before.ticket is not None and before.ticket is not ticket:
            self._release(before.ticket)
        now_ms = self._clock.now_ms()
        self._calls[call_id] = _Expected(ticket, now_ms + PLACE_S * 1000, now_ms + TICKET_LIFE_S * 1000)
        self._alarm.set(now_ms + PLACE_S * 1000)

    def take(self, call_id: str) -> Ticket | None:
        """The ticket that was kept, for the media socket that has come; None if its place was given back before."""
        expected = self._calls.pop(call_id, None)
        return None if expected is None else expected.ticket

    def drop(self, call_id: str) -> None:
        """The call is over before its socket has come. Harmless for a call that is not expected."""
        expected = self._calls.pop(call_id, None)
        if expected is None:
            return
        if expected.ticket is not None:
            self._release(expected.ticket)
        self._given_up(call_id)

    def close(self) -> None:
        """Give all places back."""
        for call_id in tuple(self._calls):
            self.drop(call_id)
        self._alarm.close()

    def _on_time(self) -> None:
        now_ms = self._clock.now_ms()
        for call_id, expected in tuple(self._calls.items()):
            if now_ms >= expected.forget_at_ms:
                self.drop(call_id)
            elif expected.ticket is not None and now_ms >= expected.free_at_ms:
                self._release(expected.ticket)
                expected.ticket = None
        for expected in self._calls.values():
            self._alarm.set(expected.forget_at_ms if expected.ticket is None else expected.free_at_ms)
