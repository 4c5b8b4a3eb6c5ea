"""The transport under a WebSocket: it gathers writes, bounds unsent data, and closes so that the peer learns why.

Messages that arrive in one read (a model's burst, or what has piled up while the loop was busy) go out in one write:
one system call for each message would be most of the cost of relaying it. So a message gets cheaper as the load grows.

All data that a peer does not take is counted in one place: messages, answers to pings, our own pings, close frames.
Above the transport's high-water mark it is kept here in one buffer, because thousands of answers to empty pings, each
in an object of its own, take a hundred times the memory of their bytes.

If we close a TCP connection while the peer still sends, the kernel answers with a reset, which can overtake our close
frame (RFC 6455, 7.1.1, and RFC 1122, 4.2.2.13). So after a protocol violation we read and discard input for a moment.
A graceful close waits for the peer to read; a peer that does not read in time is disconnected.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from gateway.net.reading import PausableReading

LINGER_S = 1.0
MAX_UNSENT_BYTES = 16 * 1024 * 1024
CORKED_MAX_BYTES = 64 * 1024  # of one transport; when there are more, they are sent at once
_DRAIN_BYTES = 64 * 1024


class _Drain(asyncio.BufferedProtocol):
    """Reads and discards input; the end of the connection is reported to the protocol that was set before."""

    def __init__(self, before: asyncio.BufferedProtocol) -> None:
        self._before = before
        self._scratch = bytearray(_DRAIN_BYTES)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._scratch

    def buffer_updated(self, nbytes: int) -> None:
        pass

    def connection_lost(self, exc: Exception | None) -> None:
        self._before.connection_lost(exc)


class Cork:
    """While `active`, the transports of one thread gather their writes, like TCP_CORK; `release` sends them."""

    __slots__ = ("_transports", "active")

    def __init__(self) -> None:
        self.active = False
        self._transports: list[CorkedTransport] = []

    def add(self, transport: CorkedTransport) -> None:
        """Flush this transport on `release`, because it has begun to gather."""
        self._transports.append(transport)

    def release(self) -> None:
        """Send everything that was gathered, in one write for each transport."""
        self.active = False
        while self._transports:
            self._transports.pop().flush()


class _ThreadLocal(threading.local):
    """One cork for all sockets of a thread, that is, of an event loop."""

    def __init__(self) -> None:
        self.cork = Cork()


_LOCAL = _ThreadLocal()


def thread_cork() -> Cork:
    """The cork of this thread's transports."""
    return _LOCAL.cork


class CorkedTransport:
    """The transport that picows writes to: it gathers writes, bounds what is unsent and ends the connection properly.

    `on_overflow` is called by a write after which more than `max_unsent_bytes` wait for the peer.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        protocol: asyncio.BufferedProtocol,
        goodbye_s: float,
        max_unsent_bytes: int = MAX_UNSENT_BYTES,
        on_overflow: Callable[[], None] = lambda: None,
    ) -> None:
        self._write = transport.write
        self._waiting = transport.get_write_buffer_size
        self.reading = PausableReading(transport)
        self._cork = thread_cork()
        self._held = bytearray()  # gathered under a cork, or while the peer does not keep up
        self._stalled = False  # the transport holds more than its high-water mark
        self._max_unsent_bytes = max_unsent_bytes
        self._on_overflow = on_overflow
        self._transport = transport
        self._protocol = protocol
        self._goodbye_s = goodbye_s
        self._lingering = False
        self._ended = False
        self._deadline: asyncio.TimerHandle | None = None

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """See `asyncio.BaseTransport`."""
        return self._transport.get_extra_info(name, default)

    @property
    def unsent_bytes(self) -> int:
        """Bytes that wait for the peer. With TLS, up to 64 KiB plus one message more can be unsent."""
        return self._waiting() + len(self._held)

    def get_write_buffer_size(self) -> int:
        """Bytes that wait. Never 0 under a cork: at 0 picows writes directly to the socket."""
        return self._waiting() + len(self._held) or (1 if self._cork.active else 0)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """See `asyncio.WriteTransport`. Under a cork the data is copied, because picows reuses its buffer."""
        if self._cork.active:
            if not self._held:
                self._cork.add(self)
            self._held += data
            if len(self._held) > CORKED_MAX_BYTES:
                self.flush()
            return
        if self._stalled:
            self._held += data
        else:
            self._write(data)
        if self._waiting() + len(self._held) > self._max_unsent_bytes:
            self._on_overflow()

    def flush(self) -> None:
        """Send what was gathered; while the peer does not keep up, it stays here."""
        if not self._held or self._ended:
            return
        if not self._stalled:
            self._send_held()
        if self._waiting() + len(self._held) > self._max_unsent_bytes:
            self._on_overflow()

    def _send_held(self) -> None:
        held, self._held = self._held, bytearray()
        with suppress(RuntimeError):  # the writing side has been shut meanwhile, so the data is no longer wanted
            self._write(held)

    def stall(self) -> None:
        """Gather all writes from now on, because the transport holds more than its high-water mark."""
        self._stalled = True

    def unstall(self) -> None:
        """Send again, because the transport can take more."""
        self._stalled = False
        if self._cork.active:
            self._cork.add(self)
        else:
            self.flush()

    def writelines(self, parts: Iterable[bytes | memoryview]) -> None:
        """Write all parts, copied, because picows passes its header as a view of a buffer that it reuses."""
        self.write(b"".join(parts))

    def is_closing(self) -> bool:
        """See `asyncio.BaseTransport`."""
        return self._transport.is_closing()

    def close(self) -> None:
        """Send what is unsent, then close; disconnect a peer that does not take it in time."""
        if not self._lingering and not self._ended:
            self._send_all()
            self.reading.resume_for_close()
            self._transport.close()
            self.abort_in(self._goodbye_s)

    def linger(self) -> None:
        """After the last frame: discard what the peer still sends, and end the connection soon."""
        if self._lingering or self._ended:
            return
        self._lingering = True
        self._send_all()
        self._transport.set_protocol(_Drain(self._protocol))
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self.abort_in(LINGER_S)

    def _send_all(self) -> None:
        """Send everything that is held back, before an end."""
        if self._held:
            self._send_held()

    def abort(self) -> None:
        """Close at once; unsent bytes are lost."""
        if not self._ended:
            self._transport.abort()

    def abort_in(self, seconds: float) -> None:
        """Abort after `seconds`, unless the connection has ended by then; a new call replaces the earlier one."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = asyncio.get_running_loop().call_later(seconds, self.abort)

    def ended(self) -> None:
        """The connection has ended: drop references and timers."""
        self._ended = True
        self.reading.end()
        self._protocol = asyncio.BufferedProtocol()  # breaks the reference cycle with the real protocol
        if self._deadline is not None:
            self._deadline.cancel()
