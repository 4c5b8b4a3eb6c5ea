"""`patchbay model`: a scripted or the local model as a Realtime server of its own, on a socket."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fastapi import FastAPI

from gateway.agents import AgentBook
from gateway.alarm import Alarm
from gateway.announcing import ready_at, tell_ready
from gateway.auth.client_secrets import ClientSecrets
from gateway.auth.entrance import Entrance
from gateway.auth.keys import read_keys
from gateway.auth.origins import OriginRules, check_bind
from gateway.auth.requests import Refusal, UpgradeRequest, read_proxies
from gateway.binding import bound
from gateway.clock import SystemClock
from gateway.guard import Guard
from gateway.ids import RandomIds
from gateway.models.in_process import Engine
from gateway.models.registry import ModelRegistry, ScriptedEngine
from gateway.models.scripted_file import load_script
from gateway.server import Drain, PatchbayServer, ServerOptions
from gateway.settings import Settings
from gateway.sockets import Socket, log_fault
from gateway.upgrade import Accepted, MediaRoute
from sessions.agent import Agent
from sessions.ports import Clock

PATHS = ("/v1/realtime", "/openai/v1/realtime")


class ModelReceiver:
    """One client of the model: its messages go into a `RealtimeServer`, whose timers run on the loop."""

    def __init__(self, engine: Engine, clock: Clock, attempt: int) -> None:
        self._clock = clock
        self._socket: Socket | None = None
        self._alarm = Alarm(clock, self._on_time)
        self._server = engine.server(self._send, self._drop, attempt)

    def opened(self, socket: Socket) -> None:
        """Greet the client."""
        self._socket = socket
        self._server.open(self._clock.now_ms())
        self._after()

    def text(self, message: bytes) -> None:
        """One message."""
        self._server.receive(message, self._clock.now_ms())
        self._after()

    def binary(self, message: bytes) -> None:
        """The protocol has none; it is answered as any other nonsense."""
        self.text(b"\x00")

    def lost(self, code: int, reason: str) -> None:
        """The client is gone."""
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
    """Serves one engine to any number of clients, and counts their dials for the script's `refuse`."""

    def __init__(self, engine: Engine, clock: Clock, entrance: Entrance) -> None:
        self._engine = engine
        self._clock = clock
        self._entrance = entrance
        self.dials = 0

    async def admit(self, request: UpgradeRequest) -> int | Refusal:
        """The number of the dial, or the refusal of the entrance or of the script."""
        caller = self._entrance.let_in(request, client_secrets=False)
        if isinstance(caller, Refusal):
            return caller
        attempt, self.dials = self.dials, self.dials + 1
        status = self._engine.refuses(attempt)
        return (
            attempt if status is None else Refusal(status, "refused_by_script", "The script refuses this connection.")
        )

    def accept(self, attempt: int, request: UpgradeRequest) -> Accepted:
        """A client's socket is here."""
        return Accepted(ModelReceiver(self._engine, self._clock, attempt))

    def routes(self) -> list[MediaRoute[int]]:
        """Where OpenAI's and Azure's clients look."""
        return [MediaRoute(path, self.admit, self.accept, lambda attempt: None) for path in PATHS]


def serve_model(
    settings: Settings, *, script: Path | None, agent: str | None, host: str, port: int, as_json: bool = False
) -> None:
    """Serve a script, or an agent's local model, until interrupted; who may come in is said by the settings.

    `port` 0: any free one. Raises ValueError, VoiceError or OSError where it cannot start.
    """
    clock, ids = SystemClock(), RandomIds()
    door = _Door(settings, model_entrance(settings, host, clock), host, port, as_json)
    registry = ModelRegistry(settings, clock, ids)
    if script is not None:
        scripted = ScriptedEngine(load_script(script), clock, ids)
        asyncio.run(_serve(scripted, clock, door, ()))
        return
    found = AgentBook(settings.agents_dir, registry.check, clock).get(agent or "")
    if found is None:
        raise ValueError(f"--agent: there is no agent {agent!r} in {settings.agents_dir}")
    if found.model.kind != "local":
        raise ValueError(f"--agent: {found.name} is on {found.model}; name an agent on local/offline")
    asyncio.run(_serve_local(registry, found, clock, door))


@dataclass(frozen=True, slots=True)
class _Door:
    """Where to listen, whom to let in, and how to say so."""

    settings: Settings
    entrance: Entrance
    host: str
    port: int
    as_json: bool

    def server(self, host: ModelHost, on_started: Callable[[PatchbayServer], None]) -> PatchbayServer:
        """A server for one engine."""
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
    """The gateway's own rules. Raises ValueError where a model without keys would be open to other machines."""
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
    return Entrance(rules, keys, ClientSecrets(os.urandom(32)), clock)  # nobody has a client secret of this process


async def _serve_local(registry: ModelRegistry, agent: Agent, clock: Clock, door: _Door) -> None:
    try:
        problems = await registry.warm([agent])
        if not problems:
            await _serve(registry.local_engine(agent), clock, door, (agent.name,))
    finally:
        await registry.close()
    if problems:
        raise ValueError("; ".join(problems.values()))


async def _serve(engine: Engine, clock: Clock, door: _Door, agents: tuple[str, ...]) -> None:
    def tell(server: PatchbayServer) -> None:
        ready = ready_at(door.host, server.bound_port, agents, tls=door.settings.tls_cert is not None)
        tell_ready(ready.line() if door.as_json else f"model at {ready.websocket_url}\n")

    sockets = bound(door.host, door.port, "--host, --port")
    try:
        await door.server(ModelHost(engine, clock, door.entrance), tell).serve(sockets)
    finally:
        for listening in sockets:
            listening.close()
