"""Accepts connections: with a bound on the half-open ones, a deadline for TLS, and without Nagle's delay.

`asyncio`'s server does not report a connection before its TLS handshake is complete. A handshake needs no credential
and may last a minute, so those connections could not be bounded.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import logging
import socket
import ssl
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any

import aiofastnet

from gateway.guard import ForeignTasks
from gateway.net.half_open import HalfOpen, HalfOpenConnection

log = logging.getLogger("patchbay.arrivals")

BACKLOG = 2048
TLS_GOODBYE_S = 5.0  # the time for a client to answer the TLS close alert
_AT_A_TIME = 16  # connections accepted in one turn of the loop; then other tasks can run
_PAUSE_S = 0.1  # after the system has refused a connection
_OUT_OF_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Arrivals:
    """Listens and makes a protocol for each connection. uvicorn uses it like an `asyncio.Server`."""

    def __init__(
        self,
        listening: Sequence[socket.socket],
        half_open: HalfOpen,
        make: Callable[[HalfOpenConnection], asyncio.Protocol],
        *,
        tls: ssl.SSLContext | None,
        handshake_timeout_s: float,
    ) -> None:
        """`make` gets the connection's entry in `half_open`; its protocol must remove it with `HalfOpen.leave`."""
        self._listening = tuple(listening)
        self._half_open = half_open
        self._make = make
        self._tls: dict[str, Any] = {}
        if tls is not None:
            times = {"ssl_handshake_timeout": handshake_timeout_s, "ssl_shutdown_timeout": TLS_GOODBYE_S}
            self._tls = {"ssl": tls, **times}
        self._tasks = ForeignTasks()
        self._accepting: list[asyncio.Task[Any]] = []

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        """The listening sockets."""
        return self._listening

    def start(self) -> None:
        """Start to listen."""
        for listening in self._listening:
            listening.setblocking(False)
            listening.listen(BACKLOG)
            accepting = self._tasks.start(self._accept(listening))
            # A socket must not be closed while the loop watches it: its number may soon be that of another one.
            accepting.add_done_callback(functools.partial(_close, listening))
            self._accepting.append(accepting)

    def close(self) -> None:
        """Accept no more connections, and drop those that are still half-open."""
        for task in self._accepting:
            task.cancel()
        while self._half_open.cut_one():
            pass
        for listening in self._listening:
            with suppress(OSError):  # where a listening socket cannot be shut, it is closed in the next turn
                listening.shutdown(socket.SHUT_RDWR)
            if not self._accepting:
                listening.close()

    async def wait_closed(self) -> None:
        """Wait until all its tasks have ended."""
        await self._tasks.close(TLS_GOODBYE_S)

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        connect = _connector(loop)
        while True:
            for _ in range(_AT_A_TIME):
                try:
                    connection, address = await loop.sock_accept(listening)
                except OSError as error:
                    await self._refused(error)
                    continue
                self._take(connection, address, connect)
            await asyncio.sleep(0)

    async def _refused(self, error: OSError) -> None:
        """Handle a refusal by the system: if it is out of resources, drop a half-open connection and wait."""
        if error.errno in _OUT_OF_RESOURCES:
            log.warning("the system has no room for a connection", extra={"errno": errno.errorcode[error.errno or 0]})
            self._half_open.cut_one()
            await asyncio.sleep(_PAUSE_S)

    def _take(self, connection: socket.socket, address: Any, connect: Callable[..., Coroutine[Any, Any, Any]]) -> None:
        connection.setblocking(False)
        with suppress(OSError):  # the client has already hung up
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        entry = self._half_open.enter(str(address[0]) if address else "", connection.close)
        task = self._tasks.start(self._connect(connection, entry, connect))
        entry.cut = task.cancel

    async def _connect(
        self, connection: socket.socket, entry: HalfOpenConnection, connect: Callable[..., Coroutine[Any, Any, Any]]
    ) -> None:
        connected = False
        try:
            await connect(lambda: self._make(entry), connection, **self._tls)
            connected = True
        except OSError:
            pass  # the TLS handshake failed, which is the client's problem
        finally:
            if not connected:
                self._half_open.leave(entry)
                connection.close()


def _close(listening: socket.socket, accepting: asyncio.Task[Any]) -> None:
    listening.close()


def _connector(loop: asyncio.AbstractEventLoop) -> Callable[..., Coroutine[Any, Any, Any]]:
    """The function that makes a transport of an accepted socket: aiofastnet's if it has patched the loop."""
    create_server: Any = loop.create_server
    if isinstance(create_server, functools.partial) and create_server.func is aiofastnet.create_server:
        return functools.partial(aiofastnet.connect_accepted_socket, loop)
    return loop.connect_accepted_socket
