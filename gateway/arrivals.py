"""Taking connections in: bounded as long as they are half-open, without Nagle's delay, and with a deadline for TLS.

`asyncio`'s own server tells nobody of a connection before its TLS handshake is done, which costs no credential and may
last a minute.
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
from gateway.half_open import HalfOpen, HalfOpenConnection

log = logging.getLogger("patchbay.arrivals")

BACKLOG = 2048
TLS_GOODBYE_S = 5.0  # for a client to answer the end of its TLS
_AT_A_TIME = 16  # connections; then everybody else has a turn
_PAUSE_S = 0.1  # after the system has refused one
_NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Arrivals:
    """Listens, and makes a protocol for each connection. To uvicorn it is a server of asyncio's."""

    def __init__(
        self,
        listening: Sequence[socket.socket],
        half_open: HalfOpen,
        make: Callable[[HalfOpenConnection], asyncio.Protocol],
        *,
        tls: ssl.SSLContext | None,
        handshake_timeout_s: float,
    ) -> None:
        """`make` gets what stands for the connection as long as it is half-open; its protocol lets that leave."""
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
        """Those that listen."""
        return self._listening

    def start(self) -> None:
        """Listen from now on."""
        for listening in self._listening:
            listening.setblocking(False)
            listening.listen(BACKLOG)
            self._accepting.append(self._tasks.start(self._accept(listening)))

    def close(self) -> None:
        """Take no more in, and drop those that are still shaking hands."""
        for task in self._accepting:
            task.cancel()
        while self._half_open.cut_one():
            pass
        for listening in self._listening:
            listening.close()

    async def wait_closed(self) -> None:
        """Return when nothing of this runs any more."""
        await self._tasks.close(TLS_GOODBYE_S)

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        connect = _connector(loop)
        while True:
            for _ in range(_AT_A_TIME):
                try:
                    line, address = await loop.sock_accept(listening)
                except OSError as error:
                    await self._refused(error)
                    continue
                self._take(line, address, connect)
            await asyncio.sleep(0)

    async def _refused(self, error: OSError) -> None:
        """The system gives us no connection. One that is half-open makes room where there is none."""
        if error.errno in _NO_ROOM:
            log.warning("the system has no room for a connection", extra={"errno": errno.errorcode[error.errno or 0]})
            self._half_open.cut_one()
            await asyncio.sleep(_PAUSE_S)

    def _take(self, line: socket.socket, address: Any, connect: Callable[..., Coroutine[Any, Any, Any]]) -> None:
        line.setblocking(False)
        with suppress(OSError):  # it has hung up already
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        entry = self._half_open.enter(str(address[0]) if address else "", line.close)
        task = self._tasks.start(self._bring_in(line, entry, connect))
        entry.cut = task.cancel

    async def _bring_in(
        self, line: socket.socket, entry: HalfOpenConnection, connect: Callable[..., Coroutine[Any, Any, Any]]
    ) -> None:
        there = False
        try:
            await connect(lambda: self._make(entry), line, **self._tls)
            there = True
        except OSError:
            pass  # no TLS came of it, which is the client's affair
        finally:
            if not there:
                self._half_open.leave(entry)
                line.close()


def _connector(loop: asyncio.AbstractEventLoop) -> Callable[..., Coroutine[Any, Any, Any]]:
    """What makes a transport of an accepted connection: aiofastnet's where the loop is patched, and else its own."""
    made: Any = loop.create_server
    if isinstance(made, functools.partial) and made.func is aiofastnet.create_server:
        return functools.partial(aiofastnet.connect_accepted_socket, loop)
    return loop.connect_accepted_socket
