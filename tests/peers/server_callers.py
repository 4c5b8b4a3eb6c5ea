"""Realtime clients for real servers: one over the `websockets` package, and one that writes raw bytes."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from urllib.parse import urlencode

from peers.server_process import Server
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

WAIT_S = 10.0
FRAME = bytes(960)  # 20 ms of silence, PCM16, 24 kHz
T = TypeVar("T")


class Caller:
    """One call. `events` holds all received events; `until` waits for the next event of a type."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.events: list[dict[str, Any]] = []
        self.session_id = ""

    async def send(self, kind: str, **fields: Any) -> None:
        """Send one event."""
        await self.socket.send(json.dumps({"type": kind, **fields}))

    async def next(self) -> dict[str, Any]:
        """The next event. Raises ConnectionClosed."""
        async with asyncio.timeout(WAIT_S):
            event: dict[str, Any] = json.loads(await self.socket.recv())
        self.events.append(event)
        return event

    async def until(self, kind: str) -> dict[str, Any]:
        """The next event of this type. Earlier ones are kept in `events`."""
        while (event := await self.next())["type"] != kind:
            pass
        return event

    async def say(self, text: str) -> None:
        """Type a message and request an answer."""
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
        await self.send("conversation.item.create", item=item)
        await self.send("response.create")

    async def turn(self, text: str) -> dict[str, Any]:
        """Type a message and wait for its answer. Returns the response's end."""
        await self.say(text)
        return await self.until("response.done")

    async def sound(self, payload: bytes = FRAME) -> None:
        """Send sound."""
        await self.send("input_audio_buffer.append", audio=b64encode(payload).decode())

    async def problem(self) -> dict[str, Any]:
        """The next error's object."""
        problem: dict[str, Any] = (await self.until("error"))["error"]
        return problem

    async def close_code(self) -> int:
        """Read until the server closes the connection."""
        try:
            while True:
                await self.next()
        except ConnectionClosed:
            return self.socket.close_code or 0


@asynccontextmanager
async def calling(
    server: Server,
    agent: str = "desk",
    *,
    headers: Mapping[str, str] | None = None,
    name: str = "127.0.0.1",
    **query: str,
) -> AsyncIterator[Caller]:
    """A call, starting at `session.created`. `name` is the host name that the client expects of the server."""
    async with connect(
        f"ws://{name}:{server.port}/v1/realtime?{urlencode({'model': agent, **query})}",
        host="127.0.0.1",
        port=server.port,
        additional_headers=headers or ({"Authorization": f"Bearer {server.key}"} if server.key else {}),
        compression=None,
        max_size=None,
        ping_interval=None,
        close_timeout=2,
    ) as socket:
        caller = Caller(socket)
        created = await caller.until("session.created")
        caller.session_id = created["session"]["id"]
        yield caller


async def refused(server: Server, agent: str = "desk", **given: Any) -> tuple[int, dict[str, Any]]:
    """Status and error of a call that is refused."""
    try:
        async with calling(server, agent, **given):
            raise AssertionError("the call was let in")
    except InvalidStatus as refusal:
        problem: dict[str, Any] = json.loads(refusal.response.body or b"{}")["error"]
        return refusal.response.status_code, problem


def run(main: Callable[[], Coroutine[Any, Any, T]], seconds: float = 30.0) -> T:
    """Run a test's coroutine within a time limit."""

    async def bounded() -> T:
        async with asyncio.timeout(seconds):
            return await main()

    return asyncio.run(bounded())


async def soon(true: Callable[[], bool], what: str, seconds: float = 5.0) -> None:
    """Wait until something is true."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    while not await asyncio.to_thread(true):
        assert loop.time() < until, what
        await asyncio.sleep(0.05)


async def all_of(*jobs: Awaitable[T]) -> list[T]:
    """Run these concurrently and return their results."""

    async def one(job: Awaitable[T]) -> T:
        return await job

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(job)) for job in jobs]
    return [task.result() for task in tasks]
