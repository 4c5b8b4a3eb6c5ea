"""Lets other work run beside long work: other tasks of the event loop, or the event loop beside a computing thread."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable

SLICE_S = 0.002  # short, because several such jobs may run in one turn of the loop
STEPS_PER_PAUSE = 50  # each step takes about ten microseconds
_PAUSE_S = 0.0001


class TimeSlice:
    """Lets the loop's other tasks run between pieces of work that would not wait by themselves."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._since_s = self._loop.time()

    async def yield_if_used(self) -> None:
        """Give the other tasks a turn if this one has run for longer than `SLICE_S`; otherwise return at once."""
        if self._loop.time() - self._since_s > SLICE_S:
            await asyncio.sleep(0)
            self._since_s = self._loop.time()


def let_other_threads_run(step: int) -> None:
    """Pause at every fiftieth step. Call it at each step of long work in a thread, with the step's number.

    A computing thread gives up the interpreter only after 5 ms, and the loop's thread must ask for it again after each
    send and receive: twenty of these took 150 ms while another thread read a large file without a pause.
    """
    if step % STEPS_PER_PAUSE == STEPS_PER_PAUSE - 1:
        pause_for_other_threads()


def pause_for_other_threads() -> None:
    """Let the threads run that wait for the interpreter; call it in a thread about once a millisecond."""
    time.sleep(_PAUSE_S)


class OneATurn(threading.local):
    """Long callbacks of this thread's event loop, one in each turn, so that several together do not block the loop."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: deque[Callable[[], None]] = deque()

    def add(self, callback: Callable[[], None]) -> None:
        """Call `callback` in a later turn of the loop, after those that were added before it."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop = loop
            self._waiting.clear()
        self._waiting.append(callback)
        if len(self._waiting) == 1:
            loop.call_soon(self._next)

    def _next(self) -> None:
        try:
            self._waiting[0]()
        finally:
            self._waiting.popleft()
            if self._waiting:
                asyncio.get_running_loop().call_soon(self._next)


LONG_WORK = OneATurn()
LONG_MESSAGE_BYTES = 256 * 1024  # to read a message of this size takes some milliseconds
