"""One signal on its way to one destination: a bounded queue, batches, retries, and word of what is done."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from gateway.guard import Boundary, kind_and_place
from gateway.telemetry.courier.outcome import Outcome, Pace, Result
from gateway.telemetry.courier.standing import Standing
from gateway.telemetry.link.wire import TelemetryFigures

GATHER_S = 1.0  # how long parcels are gathered
BATCH_ITEMS = 512
BATCH_BYTES = 1024 * 1024
# Of what the server keeps until it is acknowledged. Below its 8 MiB, so that a receiver that is lost takes no room from
# the others.
QUEUE_MAX_BYTES = 3 * 1024 * 1024
HURRY_S = 0.5  # the longest pause between tries once the courier is ending

log = logging.getLogger("patchbay.telemetry")


@dataclass(frozen=True, slots=True)
class Parcel:
    """What is sent or dropped as a whole: the spans of one part of a session, a log line, all figures, a score, or the
    sound of a call.

    `size_bytes` is the size of what the server keeps for it.
    """

    items: Sequence[Any]
    size_bytes: int
    done: Callable[[bool], None]  # told once: whether the destination has it, or it was given up


Deliver = Callable[[Sequence[Any]], Awaitable[Outcome]]


class Outlet:
    """Sends parcels in batches, in order. When its queue is full, the oldest parcels are given up and counted."""

    def __init__(
        self,
        signal: str,
        destination: str,
        deliver: Deliver,
        counts: TelemetryFigures,
        *,
        gather_s: float = GATHER_S,
        max_bytes: int = QUEUE_MAX_BYTES,
        standing: Standing | None = None,
    ) -> None:
        """`standing` is that of the destination, which its outlets share."""
        self.signal = signal
        self.destination = destination
        self._deliver = deliver
        self._counts = counts
        self._standing = standing or Standing(destination, counts)
        self._gather_s = gather_s
        self._max_bytes = max_bytes
        self._queue: deque[Parcel] = deque()
        self._queued_bytes = 0
        self._queued_items = 0
        self._in_hand: list[Parcel] = []
        self._pace = Pace()
        self._wake = asyncio.Event()
        self._ending = asyncio.Event()
        self._idle = asyncio.Event()  # nothing is queued or in hand
        self._idle.set()
        self._failing = False  # whether the last request failed

    async def empty(self) -> None:
        """Return once everything is done. To be called when nothing more comes."""
        await self._idle.wait()

    def put(self, parcel: Parcel) -> None:
        """Queue a parcel. The oldest are given up for it if there is no room."""
        self._idle.clear()
        self._queue.append(parcel)
        self._queued_bytes += parcel.size_bytes
        self._queued_items += len(parcel.items)
        while self._queued_bytes > self._max_bytes and self._queue:
            self._give_up([self._pop()], "queue_full")
        self._wake.set()

    def only_newest(self, parcel: Parcel) -> None:
        """Queue a parcel that makes those before it worthless."""
        self._give_up([self._pop() for _ in range(len(self._queue))], "stale")
        self.put(parcel)

    def hurry(self) -> None:
        """Try without long pauses from now on, because the courier is ending."""
        self._ending.set()
        self._wake.set()

    def give_up_all(self, why: str) -> None:
        """Count what is still here as dropped."""
        self._give_up([*self._in_hand, *self._queue], why)
        self._in_hand = []
        self._queue.clear()
        self._queued_bytes = self._queued_items = 0

    async def run(self) -> None:
        """Send for as long as the courier runs."""
        while True:
            if not self._queue:
                self._idle.set()
                self._wake.clear()
                await self._wake.wait()
            if self._queued_items < BATCH_ITEMS:
                await self._pause(self._gather_s)
            if self._queue:
                self._in_hand = self._next()
                await self._send(self._in_hand)
                self._in_hand = []

    async def _send(self, parcels: list[Parcel]) -> None:
        """Try until the destination has taken or refused these parcels."""
        items = [item for parcel in parcels for item in parcel.items]
        while True:
            outcome = await self._try(items)
            if outcome.result is Result.TAKEN:
                self._taken(parcels, len(items), outcome)
                return
            self._failing = True
            self._standing.failed(self.signal, outcome)
            if outcome.result is Result.REFUSED:
                self._counts.telemetry_items(self.signal, self.destination, "refused", len(items))
                _done(parcels, has=False)
                return
            if outcome.result is Result.DENIED and self._ending.is_set():
                self._give_up(parcels, "shutdown")
                return
            await self._pause(self._pace.wait_s(outcome, random.random()))

    async def _try(self, items: Sequence[Any]) -> Outcome:
        faults: list[BaseException] = []
        with Boundary(faults.append):
            return await self._deliver(items)
        # An exporter that breaks on a batch breaks on it again.
        return Outcome(Result.REFUSED, reason=kind_and_place(faults[0]))

    def _taken(self, parcels: list[Parcel], items: int, outcome: Outcome) -> None:
        self._pace.succeeded()
        self._failing = False
        self._standing.taken(self.signal)
        rejected = min(outcome.rejected, items)
        if rejected:
            self._counts.telemetry_items(self.signal, self.destination, "rejected", rejected)
            fields = {"destination": self.destination, "signal": self.signal, "items": rejected}
            log.warning("a destination of telemetry rejected some items", extra=fields)
        self._counts.telemetry_items(self.signal, self.destination, "sent", items - rejected)
        _done(parcels, has=True)

    def _next(self) -> list[Parcel]:
        taken = [self._pop()]
        items, size = len(taken[0].items), taken[0].size_bytes
        while self._queue:
            items += len(self._queue[0].items)
            size += self._queue[0].size_bytes
            if items > BATCH_ITEMS or size > BATCH_BYTES:
                break
            taken.append(self._pop())
        return taken

    def _pop(self) -> Parcel:
        parcel = self._queue.popleft()
        self._queued_bytes -= parcel.size_bytes
        self._queued_items -= len(parcel.items)
        return parcel

    async def _pause(self, seconds: float) -> None:
        """Wait; not for long once the courier is ending."""
        if self._ending.is_set():
            await asyncio.sleep(min(seconds, HURRY_S) if self._failing else 0)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ending.wait()

    def _give_up(self, parcels: Sequence[Parcel], why: str) -> None:
        items = sum(len(parcel.items) for parcel in parcels)
        if items:
            self._counts.telemetry_dropped(self.signal, why, items)
        _done(parcels, has=False)


def _done(parcels: Sequence[Parcel], *, has: bool) -> None:
    for parcel in parcels:
        parcel.done(has)
