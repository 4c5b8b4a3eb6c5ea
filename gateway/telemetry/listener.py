"""A port of its own for `/metrics`, without a key: for a monitor in a network that callers do not reach.

Each connection gets one answer within ten seconds and is closed then. Few are served at once, so that a client that
hangs costs a small buffer for a moment, and nothing else.
Source: RFC 9112, 3 and 9.6.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass

from gateway.guard import ForeignTasks, kind_and_place
from gateway.net.bind import bound
from gateway.telemetry.writing import CONTENT_TYPE, FiguresText

log = logging.getLogger(__name__)

SETTING = "PATCHBAY_METRICS_LISTEN"
PATH = "/metrics"
MAX_HEAD_BYTES = 8 * 1024
MAX_CONNECTIONS = 16
ANSWER_S = 10.0
_GOODBYE_S = 1.0


@dataclass(frozen=True, slots=True)
class MetricsAddress:
    """Where to listen; `port` 0 means any free one."""

    host: str
    port: int


class MetricsListener:
    """Answers `GET /metrics` on an address of its own."""

    def __init__(self, text: FiguresText, at: MetricsAddress, *, answer_s: float = ANSWER_S) -> None:
        self._text = text
        self._at = at
        self._answer_s = answer_s
        self.port = at.port  # on which it listens, once it has started
        self._servers: list[asyncio.Server] = []
        self._tasks = ForeignTasks()

    async def start(self) -> None:
        """Listen from now on. Raises OSError, whose text names the setting and says why that is not possible."""
        for listening in bound(self._at.host, self._at.port, SETTING):
            server = await asyncio.start_server(self._accept, sock=listening, limit=MAX_HEAD_BYTES)
            self._servers.append(server)
            self.port = int(listening.getsockname()[1])

    async def close(self) -> None:
        """Stop listening, and end the connections."""
        for server in self._servers:
            server.close()
        await self._tasks.close(_GOODBYE_S)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._tasks) >= MAX_CONNECTIONS:
            writer.transport.abort()
            return
        self._tasks.start(self._serve(reader, writer), _log_fault)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                async with asyncio.timeout(self._answer_s):
                    await self._answer(await reader.readuntil(b"\r\n\r\n"), writer)
                    writer.close()
                    await writer.wait_closed()
        finally:
            writer.transport.abort()  # harmless if it is closed

    async def _answer(self, head: bytes, writer: asyncio.StreamWriter) -> None:
        method, _, rest = head.partition(b"\r\n")[0].decode("latin-1").partition(" ")
        target = rest.partition(" ")[0]
        if target.partition("?")[0] != PATH:
            _refuse(writer, "404 Not Found", "There is only /metrics here.\n")
        elif method not in ("GET", "HEAD"):
            _refuse(writer, "405 Method Not Allowed", "Only GET and HEAD are answered.\n", "allow: GET, HEAD\r\n")
        else:
            writer.write(_head("200 OK", CONTENT_TYPE))
            if method == "GET":
                async for piece in self._text.pieces():
                    writer.write(piece)
                    await writer.drain()
        await writer.drain()


def _refuse(writer: asyncio.StreamWriter, status: str, why: str, extra: str = "") -> None:
    writer.write(_head(status, "text/plain; charset=utf-8", extra) + why.encode())


def _head(status: str, kind: str, extra: str = "") -> bytes:
    # Without a length the body ends with the connection.
    lines = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\n{extra}cache-control: no-store\r\nconnection: close\r\n\r\n"
    return lines.encode()


def _log_fault(fault: BaseException) -> None:
    log.error("an answer to a monitor failed", extra={"fault": kind_and_place(fault)})
