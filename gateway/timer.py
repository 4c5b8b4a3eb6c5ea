"""A timer of the event loop for the nearest of several deadlines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sessions.ports import Clock


def _do_nothing() -> None:
    """Replaces `ring` after `close`."""


class Alarm:
    """Calls `ring` at the nearest deadline that was set; a call that is too early must be harmless.

    It may be made before the event loop runs.
    """

    __slots__ = ("_clock", "_due_ms", "_ring", "_timer")

    def __init__(self, clock: Clock, ring: Callable[[], None]) -> None:
        self._clock = clock
        self._ring = ring
        self._timer: asyncio.TimerHandle | None = None
        self._due_ms: int | None = None

    def set(self, deadline_ms: int | None) -> None:
        """Ring at this time or earlier; an earlier timer is kept. None changes nothing."""
        if deadline_ms is None or (self._due_ms is not None and self._due_ms <= deadline_ms):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._due_ms = deadline_ms
        self._timer = asyncio.get_running_loop().call_later(
            max(0, deadline_ms - self._clock.now_ms()) / 1000, self._on_timer
        )

    def cancel(self) -> None:
        """Do not ring until a deadline is set again."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._due_ms = None

    def close(self) -> None:
        """Never ring again. This drops the reference to `ring`, so that no reference cycle is left."""
        self.cancel()
        self._ring = _do_nothing

    def _on_timer(self) -> None:
        self._timer = self._due_ms = None
        self._ring()
