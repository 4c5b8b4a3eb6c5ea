"""Measures how late the loop is that carries the sound: a timer of 100 ms, and how late it rings."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gateway.telemetry.figures import Figures
from gateway.telemetry.names import LOOP_LAG

EVERY_S = 0.1
_NS_A_S = 1_000_000_000


class LoopLag:
    """Counts the lateness of the running loop's timers."""

    def __init__(self, figures: Figures, now_ns: Callable[[], int]) -> None:
        self._figures = figures
        self._now_ns = now_ns
        self._timer: asyncio.TimerHandle | None = None
        self._set_ns = 0

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Measure while the `with` body runs."""
        self._set(asyncio.get_running_loop())
        try:
            yield
        finally:
            if self._timer is not None:
                self._timer.cancel()

    def _set(self, loop: asyncio.AbstractEventLoop) -> None:
        self._set_ns = self._now_ns()
        self._timer = loop.call_later(EVERY_S, self._rang, loop)

    def _rang(self, loop: asyncio.AbstractEventLoop) -> None:
        # uvloop rounds times to milliseconds, so a timer may ring early.
        late_s = (self._now_ns() - self._set_ns) / _NS_A_S - EVERY_S
        self._figures.observe(LOOP_LAG, max(0.0, late_s))
        self._set(loop)
