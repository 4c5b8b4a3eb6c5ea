"""The reading side of a socket's transport: pauses, and input handed on in pieces, so that no peer holds up the others.

Source of what the TLS transports do: aiofastnet 1.2.0 and CPython's `asyncio/sslproto.py`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

_BUFFER_BYTES = 256 * 1024  # as much as asyncio's TLS can hold
_DELIVER = "_retry_ssl_read"


def read_on(transport: asyncio.Transport) -> None:
    """Resume reading, and first deliver what TLS has already read. Must not be called from a protocol's callback.

    aiofastnet 1.2.0 delivers the data it holds, decrypted or not, only when the peer sends more, and drops it when the
    peer closes: after a pause, the end of one message arrived only together with the next message. Its private method
    delivers this data. The other transports deliver it by themselves.
    """
    transport.resume_reading()
    deliver = getattr(transport, _DELIVER, None)
    if deliver is not None:
        deliver()


def drops_unread(transport: asyncio.Transport) -> bool:
    """Whether the transport drops decrypted, undelivered data when the peer hangs up, as asyncio's own TLS does."""
    return transport.get_extra_info("ssl_object") is not None and not hasattr(transport, _DELIVER)


class PausableReading:
    """Pauses and resumes the reading of one transport."""

    __slots__ = ("_ended", "_held", "_paused", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._paused = False
        self._held = False  # until `release`
        self._ended = False

    def pause_for_a_turn(self) -> None:
        """Read on in the next turn of the event loop, so that a peer that floods us does not hold up the others."""
        self._pause()
        asyncio.get_running_loop().call_soon(self._read_on)

    def hold(self) -> None:
        """Read nothing until `release`, because handling the data read so far takes more than one turn of the loop."""
        self._held = True
        self._pause()

    def release(self) -> None:
        """Read on after `hold`. Must not be called from a protocol's callback."""
        self._held = False
        self._read_on()

    def read_again(self) -> None:
        """Read once more after a reset by the peer, because the loop may not have reported it."""
        if self._transport.is_reading() and not self._ended:
            self._transport.pause_reading()
            read_on(self._transport)

    def resume_for_close(self) -> None:
        """Resume before a close: TLS must read the peer's close alert, and a closing transport cannot be resumed."""
        if self._paused:
            self._paused = False
            self._transport.resume_reading()

    def end(self) -> None:
        """The connection has ended, so nothing is resumed any more."""
        self._ended = True

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def _read_on(self) -> None:
        if self._paused and not self._held and not self._ended:
            self._paused = False
            read_on(self._transport)


class Portions:
    """Takes all data of a transport at once and hands it on in pieces; other tasks can run between two pieces."""

    def __init__(self, transport: asyncio.Transport, take: Callable[[bytes], None], portion_bytes: int) -> None:
        self.buffer = _LOCAL.buffer
        self._transport = transport
        self._take = take
        self._portion_bytes = portion_bytes
        self._rest = bytearray()
        self._paused = False

    def received(self, nbytes: int) -> None:
        """`nbytes` bytes have been read into `buffer`."""
        self._rest += self.buffer[:nbytes]
        if not self._paused:
            self._hand_on()

    def finish(self) -> None:
        """Hand on the whole rest at once, because the connection has ended."""
        self._paused = False
        while self._rest:
            self._hand_on_one()

    def _hand_on_one(self) -> None:
        portion = bytes(self._rest[: self._portion_bytes])
        del self._rest[: self._portion_bytes]
        self._take(portion)

    def _hand_on(self) -> None:
        if self._rest:
            self._hand_on_one()
        if self._rest:
            if not self._paused:
                self._paused = True
                self._transport.pause_reading()
            asyncio.get_running_loop().call_soon(self._hand_on)
        elif self._paused:
            self._paused = False
            # Also while it is closing: the notice of the peer's end may be held back by the pause.
            self._transport.resume_reading()


class _ThreadLocal(threading.local):
    """One read buffer for all sockets of a thread."""

    def __init__(self) -> None:
        self.buffer = memoryview(bytearray(_BUFFER_BYTES))  # only used within one callback


_LOCAL = _ThreadLocal()
