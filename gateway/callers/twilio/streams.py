"""The media sockets of one account: which call has which, and what is done when a call and its socket disagree.

A call ends with its socket. When this side closes the socket, the carrier goes on with the TwiML, which hangs up, and
tells the status address that the stream has ended. Only where it says nothing for `CONFIRM_S` is the call ended through
the carrier's own API: the close has not reached it, and a caller would listen to nothing, at a price. When the
carrier says that a call is over whose socket still stands, the call ends here.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeAlias

from gateway.callers.phone.counts import CarrierCounts
from gateway.guard import ForeignTasks
from gateway.timer import Alarm
from sessions.ports import Clock

CONFIRM_S = 10
CLOSE_S = 5.0
# The end reason of a call that the caller or the carrier has ended.
BY_CALLER = "caller_hung_up"
HangUp: TypeAlias = Callable[[str], Coroutine[Any, Any, None]]


class MediaSocket(Protocol):
    """A call's media socket, as a status of the carrier can end it."""

    @property
    def stream_sid(self) -> str | None:
        """The carrier's id of the stream, once it is known."""
        ...

    def give_up(self, reason: str) -> None:
        """End the call for this reason, whatever the socket does. Harmless where it has ended."""
        ...


class Streams:
    """The calls of one account that have a media socket, by the carrier's call id."""

    def __init__(self, clock: Clock, counts: CarrierCounts, hang_up: HangUp | None) -> None:
        """`hang_up` ends a call through the carrier's API; None where that is not used."""
        self._clock = clock
        self._counts = counts
        self._hang_up = hang_up
        self._live: dict[str, MediaSocket] = {}
        self._unconfirmed: dict[str, int] = {}  # calls ended here, with the time until which a status is awaited
        self._tasks = ForeignTasks()
        self._alarm = Alarm(clock, self._on_time)

    def began(self, call_id: str, socket: MediaSocket) -> None:
        """A call has a media socket. One that it had before is dead: a carrier opens one at a time."""
        before = self._live.pop(call_id, None)
        self._unconfirmed.pop(call_id, None)
        self._live[call_id] = socket
        if before is not None:
            self._counts.note("socket_replaced")
            before.give_up(BY_CALLER)

    def ended(self, call_id: str, socket: MediaSocket, reason: str) -> bool:
        """A media socket has ended, for this end reason of its call. Returns whether it was the call's socket."""
        if self._live.get(call_id) is not socket:
            return False
        del self._live[call_id]
        if reason != BY_CALLER and self._hang_up is not None:
            until_ms = self._clock.now_ms() + CONFIRM_S * 1000
            self._unconfirmed[call_id] = until_ms
            self._alarm.set(until_ms)
        return True

    def over(self, call_id: str, stream_sid: str | None = None) -> None:
        """The carrier says that a call is over, or with `stream_sid` that one of its streams is."""
        self._unconfirmed.pop(call_id, None)
        socket = self._live.get(call_id)
        if socket is None or (stream_sid is not None and socket.stream_sid not in (None, stream_sid)):
            return
        self._counts.note("ended_by_status")
        socket.give_up(BY_CALLER)

    async def close(self) -> None:
        """Hang up nothing more."""
        self._alarm.close()
        await self._tasks.close(CLOSE_S)

    def _on_time(self) -> None:
        now_ms = self._clock.now_ms()
        for call_id, until_ms in tuple(self._unconfirmed.items()):
            if now_ms < until_ms:
                self._alarm.set(until_ms)
                break  # they are in the order of their times
            del self._unconfirmed[call_id]
            if self._hang_up is not None:
                self._tasks.start(self._hang_up(call_id))
