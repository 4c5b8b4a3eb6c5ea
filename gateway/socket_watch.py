"""Resets that nobody is told of: uvloop 0.23 reports a reset once and stops watching the socket.

Where the peer's last bytes came with the reset, that one report is spent on reading them, and a peer that has gone
looks like one that is silent until our ping to it fails. So every second all sockets are asked at once, and what has
been reset is read again.
"""

from __future__ import annotations

import asyncio
import select
import threading
from collections.abc import Callable

LOOK_S = 1.0
_GONE = select.POLLERR | select.POLLHUP if hasattr(select, "poll") else 0


class Watch:
    """The sockets of one thread's loop, by file descriptor, each with what reads it again."""

    def __init__(self) -> None:
        self._read_again: dict[int, Callable[[], None]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None  # whose timer is set

    def add(self, descriptor: int, read_again: Callable[[], None]) -> None:
        """Look after one more."""
        if not _GONE:
            return
        self._read_again[descriptor] = read_again
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop = loop
            loop.call_later(LOOK_S, self._look, loop)

    def remove(self, descriptor: int) -> None:
        """It is about to be closed."""
        self._read_again.pop(descriptor, None)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._loop is not loop:
            return
        if not self._read_again:
            self._loop = None
            return
        poll = select.poll()
        for descriptor in self._read_again:
            poll.register(descriptor, 0)  # errors are reported unasked
        for descriptor, found in poll.poll(0):
            if found & _GONE and descriptor in self._read_again:
                self._read_again[descriptor]()
        loop.call_later(LOOK_S, self._look, loop)


class _Here(threading.local):
    def __init__(self) -> None:
        self.watch = Watch()


_HERE = _Here()


def watch_here() -> Watch:
    """The watch over this thread's sockets."""
    return _HERE.watch
