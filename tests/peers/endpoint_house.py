"""A small OpenAI-compatible server on loopback that answers with anything, and calls on a brain that asks it."""

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
from local_world import LocalCall, front_desk, parts_or_skip

from gateway.guard import ForeignTasks
from gateway.models.local.endpoints import Endpoint, LocalSettings, Outside, client_of
from gateway.models.local.engine import local_brain_factory

TONE = (8000 * np.sin(np.arange(24_000) * 0.1)).astype("<i2").tobytes()  # a second at 24 kHz
Until = Callable[[Callable[[], bool]], Awaitable[None]]


@dataclass(frozen=True)
class Body:
    """What one request is answered with."""

    pieces: Sequence[bytes]
    content_type: str | None = "text/event-stream"
    status: int = 200
    cut: bool = False  # the connection breaks behind the last piece
    times: int = 1  # the pieces, over and over
    location: str | None = None

    def response(self) -> Response:
        """It, on its way."""

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
    """A stream of these and its end."""
    return [b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks] + [b"data: [DONE]\n\n"]


def deltas(*given: Any) -> Body:
    """A chat's answer of these deltas."""
    piece = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "m"}
    return Body(events(*({**piece, "choices": [{"index": 0, "delta": delta}]} for delta in given)))


@dataclass
class FakeOpenAI:
    """Answers as told, and keeps what it was asked."""

    chats: list[Body] = field(default_factory=list)  # the coming answers; the last one is given again and again
    transcript: Body = Body([b'{"text": "where are you"}'], "application/json")
    speech: Body = Body([TONE], "audio/pcm")
    asked: list[dict[str, Any]] = field(default_factory=list)
    heard_bytes: int = 0

    def app(self) -> FastAPI:
        """The server."""
        app = FastAPI()

        @app.post("/v1/chat/completions")
        async def chat(request: Request) -> Response:
            self.asked.append(await request.json())
            return (self.chats.pop(0) if len(self.chats) > 1 else self.chats[0]).response()

        @app.post("/v1/audio/transcriptions")
        async def transcribe(request: Request) -> Response:
            self.heard_bytes = len(await request.body())
            return self.transcript.response()

        @app.post("/v1/audio/speech")
        async def speech(request: Request) -> Response:
            self.asked.append(await request.json())
            return self.speech.response()

        return app


class LoopbackServer(uvicorn.Server):
    """uvicorn without a hand on the process's signals."""

    def install_signal_handlers(self) -> None:
        """None."""

    def capture_signals(self) -> Any:
        """None."""
        return nullcontext()


@asynccontextmanager
async def listening(fake: FakeOpenAI) -> AsyncIterator[int]:
    """The fake on a port of its own."""
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
    """A call on a brain with endpoints for these parts, all at this port."""
    endpoint = replace(Endpoint(f"http://127.0.0.1:{port}/v1", "m"), **given)
    foreign = ForeignTasks()
    clients: list[Any] = []

    def connect(endpoint: Endpoint) -> Any:
        clients.append(client_of(endpoint))
        return clients[-1]

    settings = LocalSettings(**dict.fromkeys(parts, endpoint))
    call = LocalCall(local_brain_factory(front_desk(), parts_or_skip(), Outside(settings, foreign.start, connect)))
    try:
        yield call
    finally:
        call.brain.close()
        assert await foreign.close(2.0) == 0
        for client in clients:
            await client.close()


async def until_in(call: LocalCall, done: Callable[[], bool]) -> None:
    """Let a call go on until something is so. Its time runs as fast as the machine lets it."""
    while not done():
        await asyncio.sleep(0.01)
        call.advance(20)


def run(fake: FakeOpenAI, parts: frozenset[str], test: Callable[[LocalCall, Until], Awaitable[None]]) -> None:
    """A call on a brain with endpoints for these parts, all at the fake server."""

    async def main() -> None:
        async with asyncio.timeout(30), listening(fake) as port, calling(port, parts) as call:
            await test(call, lambda done: until_in(call, done))

    asyncio.run(main())


@contextmanager
def hostile(body: Body) -> Iterator[int]:
    """A server in a process of its own that answers every request with this as fast as it is read; its port."""
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
