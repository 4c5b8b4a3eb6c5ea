"""Finds connections that were reset without a report: uvloop 0.23 reports a reset once and stops watching the socket.

If the peer's last bytes come together with the reset, that one report only leads to reading them. The lost peer then
looks like a silent one until our ping to it fails. So all sockets are polled once a second, and those that were reset
are read again.
"""

from __future__ import annotations

import asyncio
import select
import threading
from collections.abc import Callable

POLL_EVERY_S = 1.0
_GONE = select.POLLERR | select.POLLHUP if hasattr(select, "poll") else 0


class ResetWatch:
    """Polls the sockets of one thread's loop, and reads those again that were reset."""

    def __init__(self) -> None:
        self._read_again: dict[int, Callable[[], None]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None  # the loop in which the timer runs

    def add(self, descriptor: int, read_again: Callable[[], None]) -> None:
        """Watch one more socket."""
        if not _GONE:
            return
        self._read_again[descriptor] = read_again
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop = loop
            loop.call_later(POLL_EVERY_S, self._poll, loop)

    def remove(self, descriptor: int) -> None:
        """Stop watching a socket, before it is closed."""
        self._read_again.pop(descriptor, None)

    def _poll(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._loop is not loop:
            return
        if not self._read_again:
            self._loop = None
            return
        poll = select.poll()
        for descriptor in self._read_again:
            poll.register(descriptor, 0)  # errors are always reported
        for descriptor, found in poll.poll(0):
            if found & _GONE and descriptor in self._read_again:
                self._read_again[descriptor]()
        loop.call_later(POLL_EVERY_S, self._poll, loop)


class _ThreadLocal(threading.local):
    """One watch for all sockets of a thread."""

    def __init__(self) -> None:
        self.watch = ResetWatch()


_LOCAL = _ThreadLocal()


def thread_watch() -> ResetWatch:
    """The watch over this thread's sockets."""
    return _LOCAL.watch
