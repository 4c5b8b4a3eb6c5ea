"""Replays over real sockets in real time: a gateway on a free port, `websockets` as the client, tools as a program.

The model is the script in the gateway's process, or the same script behind a socket of its own, reached like OpenAI's.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI
from pydantic import SecretStr
from support.replays.client import Client
from support.replays.file import Replay
from support.replays.player import MONDAY_NOON, Outcome, agent_with, at, hidden_of, play
from support.replays.referee import Referee
from support.replays.tools import all_bookings, fill, kitchen
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from gateway.app import Gateway, Overrides
from gateway.auth.requests import Refusal, UpgradeRequest
from gateway.cli.model import ModelReceiver
from gateway.clock import SystemClock
from gateway.config.settings import Settings
from gateway.ids import RandomIds
from gateway.models.registry import ScriptedEngine
from gateway.models.scripted.file import load_script
from gateway.net.media_routes import Accepted, MediaRoute
from gateway.net.server import Drain, PatchbayServer, ServerOptions
from gateway.tools.config import InProcessServer, McpServer, StdioServer
from gateway.tools.pool import McpPool
from mcp_servers.bookings.store import BookingStore

ROOT = Path(__file__).resolve().parents[3]
RECORDED_LIMIT_S = 20.0


class ScriptServer:
    """Serves the scripts of some replays, each under its name, and counts the connections to each."""

    def __init__(self, replays: Sequence[Replay]) -> None:
        self._clock = SystemClock()
        ids = RandomIds()
        self._engines = {
            replay.name: ScriptedEngine(load_script(replay.script), self._clock, ids) for replay in replays
        }
        self.dials: Counter[str] = Counter()

    async def admit(self, request: UpgradeRequest) -> tuple[str, int] | Refusal:
        """The script that the client asks for, and how often it was asked for before."""
        name = request.query.get("model") or ""
        if request.headers.get("authorization") != "Bearer a-key-of-no-worth":
            return Refusal(401, "invalid_api_key", "no")
        attempt, self.dials[name] = self.dials[name], self.dials[name] + 1
        return name, attempt

    def accept(self, admitted: tuple[str, int], request: UpgradeRequest) -> Accepted:
        """Accept the connection."""
        name, attempt = admitted
        return Accepted(ModelReceiver(self._engines[name], self._clock, attempt))

    def server(self) -> PatchbayServer:
        """A server on a free port."""
        app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        route = MediaRoute("/v1/realtime", self.admit, self.accept, lambda admitted: None)
        return PatchbayServer(app, [route], drain=Drain(), options=ServerOptions(port=0, drain_s=0.0))


@asynccontextmanager
async def serving(server: PatchbayServer) -> AsyncIterator[str]:
    """Run a server; yields `127.0.0.1:PORT`."""
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(server.serve())
        while not server.started:
            assert not task.done(), "the server did not start"
            await at(asyncio.get_running_loop().time() + 0.02)
        try:
            yield f"127.0.0.1:{server.bound_port}"
        finally:
            server.stop()
            server.stop()
            await task


@dataclass(frozen=True, slots=True)
class SocketWorld:
    """A running gateway, and how to call it."""

    gateway: Gateway
    address: str
    bookings: Path

    async def call(self, replay: Replay) -> Outcome:
        """Play one replay over TCP."""
        loop = asyncio.get_running_loop()
        query = "".join(f"&{key}={value}" for key, value in replay.query.items())
        url = f"ws://{self.address}/v1/realtime?model={replay.name}{query}"
        async with connect(url, compression=None, max_size=None) as socket:
            begun_s = loop.time()
            line = WebSocketEnd(socket)
            client = Client(lambda: (loop.time() - begun_s) * 1000, line.send)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(line.run(client))
                by_client = await play(replay.steps, client, line, replay, begun_s)
                line.close()
        return await self._outcome(replay, client, by_client)

    async def _outcome(self, replay: Replay, client: Client, by_client: bool) -> Outcome:
        gateway, session_id = self.gateway, str(client.received[0].event["session"]["id"])
        agent = gateway.agents.get(replay.name)
        assert agent is not None
        tools = [spec.name for spec in gateway.admission.toolbox_for(agent).specs]
        referee = Referee(hidden_of(agent.instructions, tools, shown=False), replay.allows)
        for _, said in client.sent:
            referee.client_said(said)
        for received in client.received:
            referee.take(received)
        if not by_client:
            referee.finish()
        async with httpx.AsyncClient(base_url=f"http://{self.address}/api/v1/sessions") as http:
            session = await self._recorded(http, session_id)
            turns = (await http.get(f"/{session_id}/transcript")).json()["turns"]
        store = BookingStore(self.bookings)
        try:
            booked = all_bookings(store)
        finally:
            store.close()
        assert gateway.live_calls is not None
        return Outcome(
            client=client,
            referee=referee,
            caller_format=replay.format,
            closed_by_client=by_client,
            legs=session["summary"]["redials"] + 1,
            session=session,
            turns=turns,
            bookings=booked,
            kept=gateway.settings.data_dir / "blobs" / "default" / session_id,
            broken=gateway.live_calls.broken,
        )

    @staticmethod
    async def _recorded(http: httpx.AsyncClient, session_id: str) -> Mapping[str, Any]:
        """The session, once it has ended and its recording is finished."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(RECORDED_LIMIT_S):
            while True:
                answer = await http.get(f"/{session_id}")
                found: dict[str, Any] = answer.json()
                if answer.status_code == 200 and found["state"] == "ended" and found["recording"]["state"] != "running":
                    return found
                await at(loop.time() + 0.1)


class WebSocketEnd:
    """The client's end of a real socket. Messages are sent in order."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._waiting: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._verb: str | None = None

    def send(self, message: bytes) -> None:
        self._waiting.put_nowait(message)

    def verb(self, name: str) -> None:
        self._verb = name
        self._waiting.put_nowait(None)

    def close(self) -> None:
        """Let `run` end."""
        self._waiting.put_nowait(None)

    async def run(self, client: Client) -> None:
        """Carry messages both ways until the connection ends."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._receive(client))
            await self._send_all()

    async def _receive(self, client: Client) -> None:
        with suppress(ConnectionClosed):
            async for message in self._socket:
                client.take(message.encode() if isinstance(message, str) else message)
        close = self._socket.protocol.close_rcvd
        client.end(close.code if close is not None else 1006, close.reason if close is not None else "")

    async def _send_all(self) -> None:
        with suppress(ConnectionClosed):
            while (message := await self._waiting.get()) is not None:
                await self._socket.send(message.decode())
        if self._verb == "drop":
            self._socket.transport.abort()
        else:
            await self._socket.close()


@asynccontextmanager
async def socket_world(replays: Sequence[Replay], data: Path, models: str | None) -> AsyncIterator[SocketWorld]:
    """A gateway that serves these replays' agents. `models`: the address of the scripts' server; None: in process."""
    agents = data / "agents"
    agents.mkdir(parents=True)
    for replay in replays:
        model = f"scripted/{replay.script}" if models is None else f"openai/{replay.name}"
        (agents / f"{replay.name}.yaml").write_text(agent_with(replay, model), encoding="utf-8")
    settings = Settings(
        port=0,
        data_dir=data,
        agents_dir=agents,
        plugins_dir=None,
        mcp_config=data / "none.json",
        openai_api_key=SecretStr("a-key-of-no-worth"),
        openai_base_url=f"http://{models}/v1" if models is not None else "https://api.openai.com/v1",
    )
    bookings = data / "bookings.db"
    store = BookingStore(bookings)
    for replay in replays:
        fill(store, replay.given)
    store.close()
    program = ("-m", "mcp_servers.bookings", "--db", str(bookings), "--now", MONDAY_NOON.isoformat())
    servers: dict[str, McpServer] = {
        "bookings": StdioServer("bookings", sys.executable, program, {"PYTHONPATH": str(ROOT)}, ROOT),
        "kitchen": InProcessServer("kitchen", kitchen()),
    }
    gateway = Gateway(settings, SystemClock(), RandomIds(), Overrides(mcp=McpPool(servers)))
    async with serving(gateway.server()) as address:
        yield SocketWorld(gateway, address, bookings)
