"""picows' protocol as a `PicowsSocket` has it: on a `Line`, corked while a read is worked off, and strict.

Source of the traps: picows 2.3.1, `picows.pyx`.
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

from gateway.socket_transport import Line, Portions, cork_here, drops_unread
from gateway.socket_watch import watch_here
from gateway.sockets import PicowsSocket, SocketLimits

_ONE_MESSAGE_BYTES = 2048  # a read no larger holds one frame of sound: nothing to gather
_READ_BYTES = 16 * 1024  # at most, in one go: then the other sockets have their turn
_get_buffer = WSProtocol.get_buffer
_read = WSProtocol.buffer_updated

_picows_logger = logging.getLogger("patchbay.picows")
_picows_logger.setLevel(logging.WARNING)  # at INFO it logs each connection, at DEBUG headers with credentials


class _PicowsLog(logging.LoggerAdapter[logging.Logger]):
    """picows' own log, by which alone it tells of a violation before it disconnects.

    That is no error of ours: it ends up in `lost`. Asking after each read instead would cost every frame two calls.
    """

    def __init__(self, on_trouble: Callable[[], None]) -> None:
        super().__init__(_picows_logger)
        self._on_trouble = on_trouble

    def error(self, msg: object, *args: object, **kwargs: Any) -> None:
        self.debug(msg, *args, **kwargs)
        self._on_trouble()

    def exception(self, msg: object, *args: object, **kwargs: Any) -> None:
        super().exception(msg, *args, **kwargs)
        self._on_trouble()


class PicowsProtocol(WSProtocol):  # type: ignore[misc]
    """picows' protocol, on a `Line` and stopped as soon as its peer breaks the rules."""

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
            _PicowsLog(socket.broken_soon),
            True,  # disconnect on an exception
            None,  # handshake timeout: whoever made this has a deadline of its own
            True,  # pings
            limits.ping_idle_s,
            limits.ping_reply_s,
            WSAutoPingStrategy.PING_WHEN_IDLE,
            True,  # answers to pings
            limits.max_message_bytes,
            headers,
            _READ_BYTES,  # read buffer to begin with
        )
        self._limits = limits
        self._on_overflow = socket.overloaded
        self._line: Line | None = None
        self._portions: Portions | None = None
        self._descriptor = -1
        self._cork = cork_here()

    def get_buffer(self, sizehint: int) -> memoryview:
        if self._portions is not None:
            return self._portions.room
        room: memoryview = _get_buffer(self, sizehint)  # grows without end, to what the peer can fill
        return room if len(room) <= _READ_BYTES else room[:_READ_BYTES]

    def buffer_updated(self, nbytes: int) -> None:
        if self._portions is not None:
            self._portions.came(nbytes)
            return
        if nbytes >= _READ_BYTES and self._line is not None:
            self._line.breathe()  # a thousand messages may be in it
        self._take(nbytes)

    def _take(self, nbytes: int) -> None:
        cork = self._cork
        if nbytes <= _ONE_MESSAGE_BYTES or cork.inserted:
            _read(self, nbytes)
            return
        cork.inserted = True
        try:
            _read(self, nbytes)
        finally:
            cork.draw()

    def connection_made(self, transport: asyncio.Transport) -> None:
        limits = self._limits
        self._line = Line(transport, self, limits.goodbye_s, limits.max_unsent_bytes, self._on_overflow)
        if drops_unread(transport):
            self._portions = Portions(transport, self.feed, _READ_BYTES)
        self._descriptor = transport.get_extra_info("socket").fileno()
        watch_here().add(self._descriptor, self._line.read_again)
        super().connection_made(self._line)

    def connection_lost(self, exc: Exception | None) -> None:
        portions, self._portions = self._portions, None
        if portions is not None:
            portions.finish()
        if self._line is not None:
            watch_here().remove(self._descriptor)
            self._line.gone()
        super().connection_lost(exc)
        if self.transport.is_client_side:
            # A violation is told by the log, and once more by a future that would complain that nobody asked it.
            with suppress(Exception, StopIteration):
                self.transport.wait_disconnected().send(None)

    def pause_writing(self) -> None:
        """As `asyncio.BaseProtocol` has it: the peer does not keep up."""
        if self._line is not None:
            self._line.stall()

    def resume_writing(self) -> None:
        """As above: it has caught up."""
        if self._line is not None:
            self._line.go_on()

    def abort(self) -> None:
        """Cut the line, if there is one."""
        if self._line is not None:
            self._line.abort()

    def feed(self, received: bytes) -> None:
        """Hand over bytes that were read from the line in another way."""
        while received:
            room = _get_buffer(self, -1)
            size = min(len(room), len(received))
            room[:size] = received[:size]
            room.release()
            self._take(size)
            received = received[size:]


def adopt(
    transport: asyncio.Transport, socket: PicowsSocket, limits: SocketLimits, key: str, subprotocol: str | None
) -> PicowsProtocol:
    """Make an admitted connection a WebSocket: 101 is sent, and `opened` has been called when this returns.

    `key` is the request's Sec-WebSocket-Key. The transport must not be reading; whoever calls this resumes it.
    """
    socket.subprotocol = subprotocol
    chosen = [("Sec-WebSocket-Protocol", subprotocol)] if subprotocol else []
    answer = WSUpgradeResponse.create_101_response(chosen)
    protocol = PicowsProtocol(socket, limits, lambda _: WSUpgradeResponseWithListener(answer, socket), None)
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    # A head of our own: picows refuses some that browsers send (Connection: keep-alive, Upgrade), and needs no secrets.
    protocol.feed(
        b"GET / HTTP/1.1\r\nHost: patchbay\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key.encode("ascii") + b"\r\n\r\n"
    )
    return protocol
