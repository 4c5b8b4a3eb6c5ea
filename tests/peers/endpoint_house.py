"""A small OpenAI-compatible server on loopback that sends any answer, and calls with a brain that uses it."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from support.local.local_world import LocalCall, front_desk, parts_or_skip

from gateway.guard import ForeignTasks
from gateway.models.local.endpoints import Endpoint, EndpointAccess, LocalSettings, client_of
from gateway.models.local.engine import local_brain_factory

TONE = (8000 * np.sin(np.arange(24_000) * 0.1)).astype("<i2").tobytes()  # 1 s at 24 kHz
Until = Callable[[Callable[[], bool]], Awaitable[None]]


@dataclass(frozen=True)
class Body:
    """The answer to one request."""

    pieces: Sequence[bytes]
    content_type: str | None = "text/event-stream"
    status: int = 200
    cut: bool = False  # whether the connection breaks after the last piece
    times: int = 1  # how often the pieces are sent
    location: str | None = None

    def response(self) -> Response:
        """The answer as an HTTP response."""

        async def stream() -> AsyncIterator[bytes]:
            for _ in range(self.times):
                for piece in self.pieces:
                    yield piece
            if self.cut:
                raise ConnectionResetError

        answer = StreamingResponse(stream(), self.status)
        if self.content_type is not None:
            answer.headers["content-type"] = self.content_type
        if self.location is not None:
            answer.headers["location"] = self.location
        return answer


def events(*chunks: Any) -> list[bytes]:
    """A server-sent event for each chunk, then `[DONE]`."""
    return [b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks] + [b"data: [DONE]\n\n"]


def deltas(*given: Any) -> Body:
    """A chat answer with these deltas."""
    piece = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "m"}
    return Body(events(*({**piece, "choices": [{"index": 0, "delta": delta}]} for delta in given)))


@dataclass
class FakeOpenAI:
    """Sends the given answers, and records the requests."""

    chats: list[Body] = field(default_factory=list)  # the next answers; the last one is repeated
    transcript: Body = Body([b'{"text": "where are you"}'], "application/json")
    speech: Body = Body([TONE], "audio/pcm")
    requests: list[dict[str, Any]] = field(default_factory=list)
    heard_bytes: int = 0

    def app(self) -> FastAPI:
        """The application with the three endpoints."""
        app = FastAPI()

        @app.post("/v1/chat/completions")
        async def chat(request: Request) -> Response:
            self.requests.append(await request.json())
            return (self.chats.pop(0) if len(self.chats) > 1 else self.chats[0]).response()

        @app.post("/v1/audio/transcriptions")
        async def transcribe(request: Request) -> Response:
            self.heard_bytes = len(await request.body())
            return self.transcript.response()

        @app.post("/v1/audio/speech")
        async def speech(request: Request) -> Response:
            self.requests.append(await request.json())
            return self.speech.response()

        return app


class LoopbackServer(uvicorn.Server):
    """uvicorn without signal handlers."""

    def install_signal_handlers(self) -> None:
        """Install none."""

    def capture_signals(self) -> Any:
        """Capture none."""
        return nullcontext()


@asynccontextmanager
async def listening(fake: FakeOpenAI) -> AsyncIterator[int]:
    """Serve the fake on a free port, and return the port."""
    server = LoopbackServer(uvicorn.Config(fake.app(), port=0, log_level="critical", ws="none", lifespan="off"))
    served = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = server.force_exit = True
        await served


@asynccontextmanager
async def calling(port: int, parts: frozenset[str], **given: Any) -> AsyncIterator[LocalCall]:
    """A call with a brain whose endpoints for these parts are at this port."""
    endpoint = replace(Endpoint(f"http://127.0.0.1:{port}/v1", "m"), **given)
    foreign = ForeignTasks()
    clients: list[Any] = []

    def connect(endpoint: Endpoint) -> Any:
        clients.append(client_of(endpoint))
        return clients[-1]

    settings = LocalSettings(**dict.fromkeys(parts, endpoint))
    call = LocalCall(
        local_brain_factory(front_desk(), parts_or_skip(), EndpointAccess(settings, foreign.start, connect))
    )
    try:
        yield call
    finally:
        call.brain.close()
        assert await foreign.close(2.0) == 0
        for client in clients:
            await client.close()


async def until_in(call: LocalCall, done: Callable[[], bool]) -> None:
    """Advance a call until `done` is true; its time passes as fast as the machine allows."""
    while not done():
        await asyncio.sleep(0.01)
        call.advance(20)


def run(fake: FakeOpenAI, parts: frozenset[str], test: Callable[[LocalCall, Until], Awaitable[None]]) -> None:
    """Run a test with a call whose endpoints for these parts are at the fake server."""

    async def main() -> None:
        async with asyncio.timeout(30), listening(fake) as port, calling(port, parts) as call:
            await test(call, lambda done: until_in(call, done))

    asyncio.run(main())


@contextmanager
def hostile(body: Body) -> Iterator[int]:
    """A server in a separate process that sends this answer to every request as fast as it is read; yields its port."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve_hostile, args=(theirs, body), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        process.kill()
        process.join()


def _serve_hostile(pipe: Connection, body: Body) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            await reader.readuntil(b"\r\n\r\n")
            head = f"HTTP/1.1 {body.status} x\r\nContent-Type: {body.content_type}\r\nConnection: close\r\n\r\n"
            writer.write(head.encode())
            for _ in range(body.times):
                for piece in body.pieces:
                    writer.write(piece)
                    await writer.drain()
            writer.close()

    async def main() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())
