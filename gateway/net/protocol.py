"""picows' protocol for a `PicowsSocket`: it writes through a `CorkedTransport` and stops at the first violation.

Source of the picows behaviour that is worked around here: picows 2.3.1, `picows.pyx`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from picows import WSAutoPingStrategy
from picows.common import WSUpgradeResponse, WSUpgradeResponseWithListener
from picows.picows import WSProtocol  # type: ignore[attr-defined]

from gateway.net.reading import Portions, drops_unread
from gateway.net.sockets import PicowsSocket, SocketLimits
from gateway.net.transport import CorkedTransport, thread_cork
from gateway.net.watch import thread_watch

_ONE_MESSAGE_BYTES = 2048  # a read up to this size holds one message with sound, so there is nothing to gather
_READ_BYTES = 16 * 1024  # the most that is read at once; then the other sockets get their turn
_get_buffer = WSProtocol.get_buffer
_read = WSProtocol.buffer_updated

_picows_logger = logging.getLogger("patchbay.picows")
# At INFO picows logs each connection, at DEBUG headers with credentials.
_picows_logger.setLevel(logging.WARNING)


class _PicowsLog(logging.LoggerAdapter[logging.Logger]):
    """picows' logger: only through it does picows report a protocol violation before it disconnects.

    A violation is the peer's fault and leads to `lost`. Checking after each read would cost two calls for every frame.
    """

    def __init__(self, on_violation: Callable[[], None]) -> None:
        super().__init__(_picows_logger)
        self._on_violation = on_violation

    def error(self, msg: object, *args: object, **kwargs: Any) -> None:
        self.debug(msg, *args, **kwargs)
        self._on_violation()

    def exception(self, msg: object, *args: object, **kwargs: Any) -> None:
        super().exception(msg, *args, **kwargs)
        self._on_violation()


class PicowsProtocol(WSProtocol):  # type: ignore[misc]
    """picows' protocol on a `CorkedTransport`; it stops as soon as the peer breaks the rules."""

    def __init__(
        self,
        socket: PicowsSocket,
        limits: SocketLimits,
        factory: Callable[..., Any],
        client: tuple[str, str, list[tuple[str, str]]] | None,
    ) -> None:
        host, path, headers = client or (None, None, None)
        super().__init__(
            host,
            path,
            client is not None,
            factory,
            _PicowsLog(socket.peer_broke_protocol),
            True,  # disconnect on an exception
            None,  # no handshake timeout: `dial` and the upgrade have their own deadlines
            limits.ping_idle_s is not None,  # whether to send pings
            limits.ping_idle_s or limits.ping_reply_s,  # picows wants a time in any case
            limits.ping_reply_s,
            WSAutoPingStrategy.PING_WHEN_IDLE,
            True,  # answer pings
            limits.max_message_bytes,
            headers,
            _READ_BYTES,  # initial size of the read buffer
        )
        self._limits = limits
        self._on_overflow = socket.overloaded
        self._corked: CorkedTransport | None = None
        self._portions: Portions | None = None
        self._descriptor = -1
        self._cork = thread_cork()

    def get_buffer(self, sizehint: int) -> memoryview:
        if self._portions is not None:
            return self._portions.buffer
        buffer: memoryview = _get_buffer(self, sizehint)  # picows' buffer grows with what the peer sends, without bound
        return buffer if len(buffer) <= _READ_BYTES else buffer[:_READ_BYTES]

    def buffer_updated(self, nbytes: int) -> None:
        if self._portions is not None:
            self._portions.received(nbytes)
            return
        if nbytes >= _READ_BYTES and self._corked is not None:
            self._corked.reading.pause_for_a_turn()  # such a read may hold a thousand messages
        self._take(nbytes)

    def _take(self, nbytes: int) -> None:
        cork = self._cork
        if nbytes <= _ONE_MESSAGE_BYTES or cork.active:
            _read(self, nbytes)
            return
        cork.active = True
        try:
            _read(self, nbytes)
        finally:
            cork.release()

    def connection_made(self, transport: asyncio.Transport) -> None:
        limits = self._limits
        self._corked = CorkedTransport(transport, self, limits.goodbye_s, limits.max_unsent_bytes, self._on_overflow)
        if drops_unread(transport):
            self._portions = Portions(transport, self.feed, _READ_BYTES)
        self._descriptor = transport.get_extra_info("socket").fileno()
        thread_watch().add(self._descriptor, self._corked.reading.read_again)
        super().connection_made(self._corked)

    def connection_lost(self, exc: Exception | None) -> None:
        portions, self._portions = self._portions, None
        if portions is not None:
            portions.finish()
        if self._corked is not None:
            thread_watch().remove(self._descriptor)
            self._corked.ended()
        super().connection_lost(exc)
        if self.transport.is_client_side:
            # picows also reports a violation in a future, and asyncio would log that its exception was never retrieved.
            with suppress(Exception, StopIteration):
                self.transport.wait_disconnected().send(None)

    def pause_writing(self) -> None:
        """See `asyncio.BaseProtocol`: the peer does not keep up."""
        if self._corked is not None:
            self._corked.stall()

    def resume_writing(self) -> None:
        """See `asyncio.BaseProtocol`: the peer has caught up."""
        if self._corked is not None:
            self._corked.unstall()

    def abort(self) -> None:
        """Close the connection at once, if there is one."""
        if self._corked is not None:
            self._corked.abort()

    def feed(self, received: bytes) -> None:
        """Take bytes that were read from the connection by other code."""
        while received:
            buffer = _get_buffer(self, -1)
            size = min(len(buffer), len(received))
            buffer[:size] = received[:size]
            buffer.release()
            self._take(size)
            received = received[size:]


def adopt(
    transport: asyncio.Transport, socket: PicowsSocket, limits: SocketLimits, key: str, subprotocol: str | None
) -> PicowsProtocol:
    """Make an admitted connection a WebSocket. When this returns, 101 has been sent and `opened` has been called.

    `key` is the request's Sec-WebSocket-Key. The transport must not be reading; the caller must resume it.
    """
    socket.subprotocol = subprotocol
    chosen = [("Sec-WebSocket-Protocol", subprotocol)] if subprotocol else []
    answer = WSUpgradeResponse.create_101_response(chosen)
    protocol = PicowsProtocol(socket, limits, lambda _: WSUpgradeResponseWithListener(answer, socket), None)
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    # picows gets a request head made here: it refuses some that browsers send (Connection: keep-alive, Upgrade), and it
    # must not see credentials.
    protocol.feed(
        b"GET / HTTP/1.1\r\nHost: patchbay\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key.encode("ascii") + b"\r\n\r\n"
    )
    return protocol
