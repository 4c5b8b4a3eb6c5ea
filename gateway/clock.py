"""The only place that reads a clock: a monotonic one for durations, the wall clock for timestamps."""

from __future__ import annotations

import asyncio
import time

NS_A_MS = 1_000_000


class SystemClock:
    """The machine's clocks."""

    def now_ms(self) -> int:
        """Monotonic milliseconds; only differences mean anything."""
        return time.monotonic_ns() // NS_A_MS

    now_ns = staticmethod(time.monotonic_ns)

    def wall_s(self) -> float:
        """Unix seconds."""
        return time.time()


def loop_s() -> float:
    """The running loop's time in seconds, virtual or real, as `asyncio.timeout_at` needs it."""
    return asyncio.get_running_loop().time()


class LoopClock:
    """The time of an event loop, for tests in virtual time: the wall clock moves exactly as the loop's time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, wall_start: float) -> None:
        self._loop = loop
        self._wall_start = wall_start
        self._loop_start = loop.time()

    def now_ms(self) -> int:
        """Milliseconds of the loop; only differences mean anything."""
        return int(self._loop.time() * 1000 + 1e-6)  # so that 0.29 s are 290 ms despite binary fractions

    def now_ns(self) -> int:
        """The time of `now_ms` in nanoseconds."""
        return self.now_ms() * NS_A_MS

    def wall_s(self) -> float:
        """Unix seconds, `wall_start` at the moment this clock was made."""
        return self._wall_start + (self._loop.time() - self._loop_start)
