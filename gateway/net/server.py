"""The server: FastAPI's routes and the media sockets on one port, with a shutdown that lets calls finish.

uvicorn does not know connections that were handed over, and stops listening before it waits. So signals are handled
here first: new calls and `/readyz` get 503 while HTTP goes on; running calls get time to end, then a close frame, and
their records are written; only then does uvicorn shut down. A second signal stops at once.
Source: uvicorn 0.54, `server.py`.
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

from gateway.auth.requests import Network, Refusal, is_one_of
from gateway.guard import Guard
from gateway.net.arrivals import Arrivals
from gateway.net.bind import bound
from gateway.net.half_open import MAX_ADDRESS_HALF_OPEN, MAX_HALF_OPEN, HalfOpen
from gateway.net.media_routes import MediaRoute
from gateway.net.upgrade import Gate, GatewayProtocol

log = logging.getLogger("patchbay.server")

_HTTP_GOODBYE_S = 5


class Phase(Enum):
    """The phases of a server."""

    SERVING = "serving"
    DRAINING = "draining"


class Drain:
    """Says whether the server drains: the app reads it, the server sets it."""

    def __init__(self) -> None:
        self.phase = Phase.SERVING

    @property
    def draining(self) -> bool:
        """Whether new calls are refused; true from the first signal on."""
        return self.phase is Phase.DRAINING

    def begin(self) -> None:
        """Refuse new calls from now on."""
        self.phase = Phase.DRAINING


async def _nothing() -> None:
    return None


@dataclass(frozen=True, slots=True)
class DrainHooks:
    """The steps of a shutdown that concern the running calls, in this order.

    `done` returns when no call is alive; `goodbye` closes the calls that still are (1001); `records` returns when the
    last record is written. Each is cancelled when its time is over.
    """

    done: Callable[[], Awaitable[None]] = _nothing
    goodbye: Callable[[], Awaitable[None]] = _nothing
    records: Callable[[], Awaitable[None]] = _nothing


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """Where to listen, and the time limits. `port` 0 means any free port."""

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
    max_half_open: int = MAX_HALF_OPEN  # connections that have not sent a complete request head
    max_address_half_open: int = MAX_ADDRESS_HALF_OPEN
    proxies: tuple[Network, ...] = ()  # networks of proxies, each of which connects for many clients
    loop: str = "uvloop"  # or "asyncio"


class PatchbayServer(uvicorn.Server):
    """Serves until it is stopped, and shuts down as described above. `run()` returns when everything has ended."""

    def __init__(
        self,
        app: Any,
        routes: Sequence[MediaRoute[Any]],
        *,
        drain: Drain,
        calls: DrainHooks | None = None,
        options: ServerOptions | None = None,
        on_started: Callable[[], None] | None = None,
        on_refused: Callable[[Refusal], None] | None = None,
    ) -> None:
        """`on_refused` gets the refusals of upgrades that no opener decided on."""
        self._options = options or ServerOptions()
        self._drain = drain
        self._calls = calls or DrainHooks()
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
            on_refused=on_refused or (lambda refusal: None),
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
        """The port on which it listens; valid once `started` is true."""
        return int(self.servers[0].sockets[0].getsockname()[1])

    def stop(self) -> None:
        """Do what a signal does: the first call drains, the second ends at once. Must run in the loop's thread."""
        if self._ending is None and self._tasks is not None:
            self._drain.begin()
            self._ending = self._tasks.create_task(self._end_calls())
            return
        self.force_exit = True
        self.should_exit = True
        if self._ending is not None:
            self._ending.cancel()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # uvicorn would raise the signal again at the end. A drained server has done its work and must exit with 0.
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
        """Like uvicorn's method, but with `Arrivals` in place of asyncio's server."""
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
            await _at_once(self._calls.goodbye)  # the calls get a close frame, but the server does not wait for them
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
    """Run one step of the shutdown within `seconds`; an error or a timeout must not prevent the next step."""
    with Guard(_log_ending):
        try:
            async with asyncio.timeout(seconds):
                await step()
        except TimeoutError:
            log.warning("a step of stopping ran out of time")


async def _at_once(step: Callable[[], Awaitable[None]]) -> None:
    """Run a step up to its first wait."""
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
        ws="none",  # uvicorn handles no WebSocket: all of them are media routes
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # the entrance evaluates the headers of trusted proxies itself
        timeout_graceful_shutdown=_HTTP_GOODBYE_S,
        ssl_certfile=options.tls_cert,
        ssl_keyfile=options.tls_key,
    )
