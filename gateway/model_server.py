"""`patchbay model`: a scripted or the local model as a Realtime server of its own, on a socket."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

from fastapi import FastAPI

from gateway.agents import AgentBook
from gateway.alarm import Alarm
from gateway.auth.requests import Refusal, UpgradeRequest
from gateway.binding import bound
from gateway.clock import SystemClock
from gateway.ids import RandomIds
from gateway.models.in_process import Engine
from gateway.models.registry import ModelRegistry, ScriptedEngine
from gateway.models.scripted_file import load_script
from gateway.server import Drain, PatchbayServer, ServerOptions
from gateway.settings import Settings
from gateway.sockets import Guard, Socket, log_fault
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

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self.dials = 0

    async def admit(self, request: UpgradeRequest) -> int | Refusal:
        """The number of the dial, or the script's refusal."""
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


def model_server(
    engine: Engine, clock: Clock, host: str, port: int, on_started: Callable[[PatchbayServer], None]
) -> PatchbayServer:
    """A server for one engine; `port` 0: any free one."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    options = ServerOptions(host=host, port=port, drain_s=0.0)
    routes = ModelHost(engine, clock).routes()
    server = PatchbayServer(app, routes, drain=Drain(), options=options, on_started=lambda: on_started(server))
    return server


def serve_model(settings: Settings, *, script: Path | None, agent: str | None, host: str, port: int) -> None:
    """Serve until interrupted. Raises ValueError, VoiceError or OSError where it cannot start."""
    clock, ids = SystemClock(), RandomIds()
    registry = ModelRegistry(settings, clock, ids)
    if script is not None:
        scripted = ScriptedEngine(load_script(script), clock, ids)
        asyncio.run(_serve(scripted, clock, host, port))
        return
    found = AgentBook(settings.agents_dir, registry.check, clock).get(agent or "")
    if found is None:
        raise ValueError(f"there is no agent {agent!r} in {settings.agents_dir}")
    asyncio.run(_serve_local(registry, found, clock, host, port))


async def _serve_local(registry: ModelRegistry, agent: Agent, clock: Clock, host: str, port: int) -> None:
    async with asyncio.TaskGroup() as tasks:
        registry.open(tasks)
        problems = await registry.warm([agent])
        if not problems:
            await _serve(registry.local_engine(agent), clock, host, port)
        await registry.close()
    if problems:
        raise ValueError("; ".join(problems.values()))


async def _serve(engine: Engine, clock: Clock, host: str, port: int) -> None:
    def tell(server: PatchbayServer) -> None:
        sys.stdout.write(f"model at ws://{host}:{server.bound_port}/v1/realtime\n")
        sys.stdout.flush()

    sockets = bound(host, port, "--host, --port")
    try:
        await model_server(engine, clock, host, port, tell).serve(sockets)
    finally:
        for listening in sockets:
            listening.close()
