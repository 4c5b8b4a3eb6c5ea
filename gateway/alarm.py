"""A timer of the loop for somebody's nearest deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sessions.ports import Clock


def _nobody() -> None:
    """Nobody is woken."""


class Alarm:
    """Calls `ring` at the nearest deadline it was set to; waking too early must be harmless."""

    __slots__ = ("_clock", "_due_ms", "_loop", "_ring", "_timer")

    def __init__(self, clock: Clock, ring: Callable[[], None]) -> None:
        self._clock = clock
        self._ring = ring
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._due_ms: int | None = None

    def set(self, deadline_ms: int | None) -> None:
        """Ring at this time, or before: an earlier timer is kept. None: as it is."""
        if deadline_ms is None or (self._due_ms is not None and self._due_ms <= deadline_ms):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._due_ms = deadline_ms
        self._timer = self._loop.call_later(max(0, deadline_ms - self._clock.now_ms()) / 1000, self._rings)

    def close(self) -> None:
        """Never ring again, and let go of who was to be woken: the two then need no collection of garbage."""
        if self._timer is not None:
            self._timer.cancel()
        self._ring = _nobody

    def _rings(self) -> None:
        self._timer = self._due_ms = None
        self._ring()
