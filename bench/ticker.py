"""A steady tick for the event loop with Linux's timerfd, because uvloop's timers have a resolution of 1 ms."""

from __future__ import annotations

import ctypes
import os
import struct
import time
from asyncio import AbstractEventLoop
from collections.abc import Callable

_CLOCK_MONOTONIC = 1
_NONBLOCK_CLOEXEC = os.O_NONBLOCK | os.O_CLOEXEC
_ITIMERSPEC = struct.Struct("qqqq")  # interval s, ns; first s, ns
_libc = ctypes.CDLL(None, use_errno=True)


class Ticker:
    """Calls `on_tick(number, due_s)` for each tick in order, also for missed ones, until closed.

    `due_s` is when the tick was due, on the clock of `time.perf_counter`.
    """

    def __init__(self, loop: AbstractEventLoop, period_s: float, on_tick: Callable[[int, float], None]) -> None:
        self._loop, self._period_s, self._on_tick = loop, period_s, on_tick
        self._ticks = 0
        self._file = _libc.timerfd_create(_CLOCK_MONOTONIC, _NONBLOCK_CLOEXEC)
        period_ns = round(period_s * 1e9)
        spec = _ITIMERSPEC.pack(0, period_ns, 0, period_ns)
        self._first_s = time.perf_counter()
        if self._file < 0 or _libc.timerfd_settime(self._file, 0, spec, None) != 0:
            raise OSError(ctypes.get_errno(), "the timerfd cannot be made")
        loop.add_reader(self._file, self._expired)

    def close(self) -> None:
        self._loop.remove_reader(self._file)
        os.close(self._file)

    def _expired(self) -> None:
        try:
            expired = int.from_bytes(os.read(self._file, 8), "little")
        except BlockingIOError:
            return
        for _ in range(expired):
            self._ticks += 1
            self._on_tick(self._ticks, self._first_s + self._ticks * self._period_s)
