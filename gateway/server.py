"""The one server: FastAPI's routes and the media sockets on one port, and an ending that lets calls finish.

uvicorn forgets connections that were handed over, and stops listening before it waits. So the signals come here first:
new calls and `/readyz` get 503 while HTTP goes on, running calls get their time, then a goodbye and their records; only
then does uvicorn shut down. A second signal stops at once. Source: uvicorn 0.54, `server.py`.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from types import FrameType
from typing import Any, cast

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.arrivals import Arrivals
from gateway.auth.requests import Network, is_one_of
from gateway.binding import bound
from gateway.guard import Guard
from gateway.half_open import MAX_ADDRESS_HALF_OPEN, MAX_HALF_OPEN, HalfOpen
from gateway.upgrade import Gate, GatewayProtocol, MediaRoute

log = logging.getLogger("patchbay.server")

_HTTP_GOODBYE_S = 5


class Phase(Enum):
    """How far a server's life has come."""

    SERVING = "serving"
    DRAINING = "draining"


class Drain:
    """Whether new calls are taken. Made before the app, which answers by it; the server moves it."""

    def __init__(self) -> None:
        self.phase = Phase.SERVING

    @property
    def draining(self) -> bool:
        """True from the first signal on."""
        return self.phase is Phase.DRAINING

    def begin(self) -> None:
        """Take no new calls."""
        self.phase = Phase.DRAINING


async def _nothing() -> None:
    return None


@dataclass(frozen=True, slots=True)
class LiveCalls:
    """What the server asks of the running calls, in this order, when it must stop.

    `done` returns when no call is alive; `goodbye` closes those that still are (1001); `records` returns when the last
    of them is written. Each is cancelled when its time is over.
    """

    done: Callable[[], Awaitable[None]] = _nothing
    goodbye: Callable[[], Awaitable[None]] = _nothing
    records: Callable[[], Awaitable[None]] = _nothing


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """Where to listen, and how long things may take. `port` 0: any free one."""

    host: str = "127.0.0.1"
    port: int = 8080
    tls_cert: str | None = None  # PEM files
    tls_key: str | None = None
    drain_s: float = 30.0
    goodbye_s: float = 5.0
    records_s: float = 10.0
    handshake_timeout_s: float = 5.0  # TLS
    head_timeout_s: float = 5.0
    admit_timeout_s: float = 10.0
    max_upgrades: int = 256
    max_half_open: int = MAX_HALF_OPEN  # connections that have not sent a whole head
    max_address_half_open: int = MAX_ADDRESS_HALF_OPEN
    proxies: tuple[Network, ...] = ()  # whose connections are those of many clients
    loop: str = "uvloop"  # or "asyncio"


class PatchbayServer(uvicorn.Server):
    """Serves until it is told to stop, and stops as described above. `run()` returns when everything has ended."""

    def __init__(
        self,
        app: Any,
        routes: Sequence[MediaRoute[Any]],
        *,
        drain: Drain,
        calls: LiveCalls | None = None,
        options: ServerOptions | None = None,
        on_started: Callable[[], None] | None = None,
    ) -> None:
        self._options = options or ServerOptions()
        self._drain = drain
        self._calls = calls or LiveCalls()
        given = self._options
        self._half_open = HalfOpen(
            given.max_half_open, given.max_address_half_open, lambda address: is_one_of(address, given.proxies)
        )
        self._gate = Gate(
            routes,
            lambda: drain.draining,
            self._half_open,
            max_upgrades=given.max_upgrades,
            admit_timeout_s=given.admit_timeout_s,
            head_timeout_s=given.head_timeout_s,
        )
        self._on_started = on_started
        self._tasks: asyncio.TaskGroup | None = None
        self._ending: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        super().__init__(_configure(app, given))

    @property
    def draining(self) -> bool:
        """Whether new calls are refused."""
        return self._drain.draining

    @property
    def bound_port(self) -> int:
        """The port listened on, once `started`."""
        return int(self.servers[0].sockets[0].getsockname()[1])

    def stop(self) -> None:
        """What a signal does: the first drains, the second ends at once. Called in the loop's thread."""
        if self._ending is None and self._tasks is not None:
            self._drain.begin()
            self._ending = self._tasks.create_task(self._end_calls())
            return
        self.force_exit = True
        self.should_exit = True
        if self._ending is not None:
            self._ending.cancel()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # Not kept for uvicorn to raise again at the end: a drained server has done what it was asked, and exits with 0.
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self.stop)

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            self._gate.open()
            try:
                await super().serve(sockets)
            finally:
                self._gate.shut()
                if self._ending is not None:
                    self._ending.cancel()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """uvicorn's, with arrivals of our own."""
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            sys.exit(STARTUP_FAILURE)
        arrivals = Arrivals(
            sockets or await self._bind(),
            self._half_open,
            lambda half_open: GatewayProtocol(
                self._gate, half_open, self.config, self.server_state, self.lifespan.state
            ),
            tls=self.config.ssl,
            handshake_timeout_s=self._options.handshake_timeout_s,
        )
        arrivals.start()
        self.servers = cast("list[asyncio.base_events.Server]", [arrivals])
        self.started = True
        if self._on_started is not None:
            self._on_started()

    async def _bind(self) -> list[socket.socket]:
        try:
            return bound(self._options.host, self._options.port, "host, port")
        except OSError as error:
            log.error("cannot listen", extra={"reason": str(error)})
            await self.lifespan.shutdown()
            sys.exit(STARTUP_FAILURE)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self.force_exit:
            await _at_once(self._calls.goodbye)  # nobody waits for the calls, but they hear why they end
        self._gate.shut()
        if self.force_exit:
            for connection in tuple(self.server_state.connections):
                cast(HttpToolsProtocol, connection).transport.abort()
        await super().shutdown(sockets)

    async def _end_calls(self) -> None:
        log.info("draining", extra={"drain_s": self._options.drain_s})
        await _within(self._options.drain_s, self._calls.done)
        await _within(self._options.goodbye_s, self._calls.goodbye)
        await _within(self._options.records_s, self._calls.records)
        self.should_exit = True


async def _within(seconds: float, step: Callable[[], Awaitable[None]]) -> None:
    """One step of the ending: it may take this long, and must not keep the next from coming."""
    with Guard(_log_ending):
        try:
            async with asyncio.timeout(seconds):
                await step()
        except TimeoutError:
            log.warning("a step of stopping ran out of time")


async def _at_once(step: Callable[[], Awaitable[None]]) -> None:
    """As much of a step as it does without waiting."""
    with Guard(_log_ending), suppress(TimeoutError):
        async with asyncio.timeout(0):
            await step()


def _log_ending(fault: BaseException) -> None:
    log.error("a step of stopping failed", exc_info=fault)


def _configure(app: Any, options: ServerOptions) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=options.host,
        port=options.port,
        loop=options.loop,
        http=HttpToolsProtocol,
        ws="none",  # every socket is a media route
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # the entrance looks through proxies of ours itself
        timeout_graceful_shutdown=_HTTP_GOODBYE_S,
        ssl_certfile=options.tls_cert,
        ssl_keyfile=options.tls_key,
    )
