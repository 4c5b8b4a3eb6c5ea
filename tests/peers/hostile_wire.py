"""A bare HTTP/1.1 server for hostile answers: the answering function writes the bytes itself."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

# The longest that anything here holds a connection.
LATE_S = 30.0


@dataclass(frozen=True)
class Request:
    """One request."""

    method: str
    path: str
    body: bytes

    def json(self) -> Any:
        """The parsed body."""
        return json.loads(self.body)


Writer: TypeAlias = asyncio.StreamWriter
Answering: TypeAlias = Callable[[Request, Writer], Awaitable[None]]
Manner: TypeAlias = Callable[[Writer, bytes], Awaitable[None]]


def whole(body: bytes, kind: str = "application/json", status: str = "200 OK", *heads: str) -> bytes:
    """A complete answer."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *heads]
    if kind:
        lines.append(f"Content-Type: {kind}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def opened(kind: str, *heads: str) -> bytes:
    """The head of an answer that ends with its connection."""
    return "\r\n".join(["HTTP/1.1 200 OK", f"Content-Type: {kind}", "Connection: close", *heads, "", ""]).encode()


def events(body: bytes) -> bytes:
    """Lines as server-sent events."""
    return b"".join(b"event: message\ndata: " + line + b"\n\n" for line in body.split(b"\n"))


async def drip(writer: Writer, payload: bytes, every_s: float) -> None:
    """Write one byte at a time."""
    for at in range(len(payload)):
        writer.write(payload[at : at + 1])
        await writer.drain()
        await asyncio.sleep(every_s)


async def pour(writer: Writer, piece: bytes, seconds: float = 15.0) -> None:
    """Write the same piece repeatedly, until the other side closes."""
    until = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < until:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0)


def bomb() -> bytes:
    """100 MB of blanks, compressed to 100 kB."""
    return gzip.compress(b" " * 100_000_000, 9)


class Wire:
    """Listens on a port of this machine and passes every request on."""

    def __init__(self, answer: Answering) -> None:
        self._answer = answer
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()
        self.port = 0

    async def start(self) -> None:
        """Start to listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Drop all connections."""
        assert self._server is not None
        self._server.close()
        for task in set(self._open):
            task.cancel()
        if self._open:
            await asyncio.wait(set(self._open), timeout=2)

    async def _serve(self, reader: asyncio.StreamReader, writer: Writer) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            with suppress(OSError, EOFError, asyncio.LimitOverrunError):
                request = await _read(reader)
                await self._answer(request, writer)
                await writer.drain()
        except asyncio.CancelledError:
            pass  # the sweep is over
        finally:
            self._open.discard(task)
            writer.close()


async def _read(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    method, path, _ = head.split(" ", 2)
    fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
    if fields.get("transfer-encoding") == "chunked":
        return Request(method, path, await _chunks(reader))
    return Request(method, path, await reader.readexactly(int(fields.get("content-length", "0"))))


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int(await reader.readline(), 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return body
