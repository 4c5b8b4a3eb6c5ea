"""`patchbay model`: serves a scripted model or the local one on a socket, as a Realtime server of its own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fastapi import FastAPI

from gateway.agents.book import AgentBook
from gateway.auth.client_secrets import ClientSecrets
from gateway.auth.entrance import Entrance
from gateway.auth.keys import read_keys
from gateway.auth.origins import OriginRules, check_bind
from gateway.auth.requests import Refusal, UpgradeRequest, read_proxies
from gateway.cli.announce import print_ready, ready_at
from gateway.clock import SystemClock
from gateway.config.settings import Settings
from gateway.guard import Guard
from gateway.ids import RandomIds
from gateway.models.in_process import Engine
from gateway.models.registry import ModelRegistry, ScriptedEngine
from gateway.models.scripted.file import load_script
from gateway.net.bind import bound
from gateway.net.media_routes import Accepted, MediaRoute
from gateway.net.server import Drain, PatchbayServer, ServerOptions
from gateway.net.sockets import Socket, log_fault
from gateway.timer import Alarm
from sessions.agent import Agent
from sessions.ports import Clock

PATHS = ("/v1/realtime", "/openai/v1/realtime")


class ModelReceiver:
    """The receiver of one client: passes its messages to a `RealtimeServer`, and keeps that server's time."""

    def __init__(self, engine: Engine, clock: Clock, attempt: int) -> None:
        self._clock = clock
        self._socket: Socket | None = None
        self._alarm = Alarm(clock, self._on_time)
        self._server = engine.server(self._send, self._drop, attempt)

    def opened(self, socket: Socket) -> None:
        """The socket is open: send the server's first message."""
        self._socket = socket
        self._server.open(self._clock.now_ms())
        self._after()

    def text(self, message: bytes) -> None:
        """Take one message."""
        self._server.receive(message, self._clock.now_ms())
        self._after()

    def binary(self, message: bytes) -> None:
        """Answer a binary message as a malformed one: the protocol has none."""
        self.text(b"\x00")

    def lost(self, code: int, reason: str) -> None:
        """The connection has ended."""
        self._socket = None
        self._server.close()
        self._alarm.close()

    def _send(self, message: bytes) -> None:
        if self._socket is not None:
            self._socket.send_text(message)

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close(1011, "dropped by the script")

    def _after(self) -> None:
        if self._server.failed is not None and self._socket is not None:
            self._socket.close(1008, self._server.failed)
            return
        if self._socket is not None:
            self._alarm.set(self._server.deadline_ms)

    def _on_time(self) -> None:
        with Guard(log_fault):
            self._server.on_time(self._clock.now_ms())
            self._after()


class ModelHost:
    """Serves one engine to any number of clients; `dials` counts their connections, for the script's `refuse`."""

    def __init__(self, engine: Engine, clock: Clock, entrance: Entrance) -> None:
        self._engine = engine
        self._clock = clock
        self._entrance = entrance
        self.dials = 0

    async def admit(self, request: UpgradeRequest) -> int | Refusal:
        """Number the connection, or refuse it: by the gateway's entrance rules, then by the script."""
        caller = self._entrance.let_in(request, client_secrets=False)
        if isinstance(caller, Refusal):
            return caller
        attempt, self.dials = self.dials, self.dials + 1
        status = self._engine.refuses(attempt)
        return (
            attempt if status is None else Refusal(status, "refused_by_script", "The script refuses this connection.")
        )

    def accept(self, attempt: int, request: UpgradeRequest) -> Accepted:
        """Make the receiver of an admitted client."""
        return Accepted(ModelReceiver(self._engine, self._clock, attempt))

    def routes(self) -> list[MediaRoute[int]]:
        """The paths that OpenAI's and Azure's clients use."""
        return [MediaRoute(path, self.admit, self.accept, lambda attempt: None) for path in PATHS]


def serve_model(
    settings: Settings, *, script: Path | None, agent: str | None, host: str, port: int, as_json: bool = False
) -> None:
    """Serve a script, or an agent's local model, until interrupted. The settings say who may connect.

    With `port` 0 it takes any free port. Raises ValueError, VoiceError or OSError where it cannot start.
    """
    clock, ids = SystemClock(), RandomIds()
    listener = _Listener(settings, model_entrance(settings, host, clock), host, port, as_json)
    registry = ModelRegistry(settings, clock, ids)
    if script is not None:
        scripted = ScriptedEngine(load_script(script), clock, ids)
        asyncio.run(_serve(scripted, clock, listener, ()))
        return
    found = AgentBook(settings.agents_dir, registry.check, clock).get(agent or "")
    if found is None:
        raise ValueError(f"--agent: there is no agent {agent!r} in {settings.agents_dir}")
    if found.model.kind != "local":
        raise ValueError(f"--agent: {found.name} is on {found.model}; name an agent on local/offline")
    asyncio.run(_serve_local(registry, found, clock, listener))


@dataclass(frozen=True, slots=True)
class _Listener:
    """Where to listen, whom to admit, and how to announce it."""

    settings: Settings
    entrance: Entrance
    host: str
    port: int
    as_json: bool

    def server(self, host: ModelHost, on_started: Callable[[PatchbayServer], None]) -> PatchbayServer:
        """Make the server for one engine."""
        settings = self.settings
        options = ServerOptions(
            host=self.host,
            port=self.port,
            tls_cert=str(settings.tls_cert) if settings.tls_cert else None,
            tls_key=str(settings.tls_key) if settings.tls_key else None,
            drain_s=0.0,
            max_half_open=settings.max_half_open,
            max_address_half_open=settings.max_address_half_open,
            proxies=read_proxies(settings.trusted_proxies),
        )
        app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        server = PatchbayServer(
            app, host.routes(), drain=Drain(), options=options, on_started=lambda: on_started(server)
        )
        return server


def model_entrance(settings: Settings, host: str, clock: Clock) -> Entrance:
    """The gateway's entrance rules. Raises ValueError where a model without keys would be open to other machines."""
    keys = read_keys(settings.api_key_entries)
    rules = OriginRules(
        credentials=bool(keys),
        allowed_origins=frozenset(settings.allowed_origins),
        proxies=read_proxies(settings.trusted_proxies),
        require_tls=settings.require_tls,
    )
    try:
        check_bind(host, rules)
    except ValueError as error:
        raise ValueError(f"--host: {error}; give --key (PATCHBAY_API_KEYS), or --host 127.0.0.1") from error
    return Entrance(
        rules, keys, ClientSecrets(os.urandom(32)), clock
    )  # no client has a secret that this process signed


async def _serve_local(registry: ModelRegistry, agent: Agent, clock: Clock, listener: _Listener) -> None:
    try:
        problems = await registry.warm([agent])
        if not problems:
            await _serve(registry.local_engine(agent), clock, listener, (agent.name,))
    finally:
        await registry.close()
    if problems:
        raise ValueError("; ".join(problems.values()))


async def _serve(engine: Engine, clock: Clock, listener: _Listener, agents: tuple[str, ...]) -> None:
    def tell(server: PatchbayServer) -> None:
        ready = ready_at(listener.host, server.bound_port, agents, tls=listener.settings.tls_cert is not None)
        print_ready(ready.line() if listener.as_json else f"model at {ready.websocket_url}\n")

    sockets = bound(listener.host, listener.port, "--host, --port")
    try:
        await listener.server(ModelHost(engine, clock, listener.entrance), tell).serve(sockets)
    finally:
        for listening in sockets:
            listening.close()
