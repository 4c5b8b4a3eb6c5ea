"""A collector of telemetry: it answers 200 to every POST and counts, or fails in a way that collectors fail.

`python -m bench collector --port P [--mode answering|hanging|slow]`. It takes what OTLP, Langfuse and Application
Insights take, on any path, and keeps the bodies of traces. They are decoded only when somebody asks for `/arrivals`, so
that this costs nothing while calls are measured. `/counters` shows how many requests and bytes came for each path.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import time
from collections import Counter
from typing import cast
from urllib.parse import parse_qs, urlsplit

from bench.arrivals import Body, arrivals_in, as_json
from bench.serving import run_on_uvloop, until_stopped

ANSWERING, HANGING, SLOW = "answering", "hanging", "slow"
MODES = (ANSWERING, HANGING, SLOW)
SLOW_S = 2.0
KEPT_BYTES = 256 << 20  # of traces; many minutes of a large load
COUNTERS, ARRIVALS = "/counters", "/arrivals"
TRACES = "/v1/traces"  # the end of the paths of OTLP's and of Langfuse's spans
_TRACK = "/track"


class Received:
    """What has come so far."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.body_bytes: Counter[str] = Counter()
        self.bodies: list[Body] = []
        self._kept_bytes = 0

    def take(self, path: str, body: bytes, zipped: bool) -> None:
        """Count one request, and keep it if it holds spans."""
        self.requests[path] += 1
        self.body_bytes[path] += len(body)
        if path.endswith(TRACES) and self._kept_bytes < KEPT_BYTES:
            self._kept_bytes += len(body)
            self.bodies.append(Body(path, time.time_ns(), body, zipped))

    def page(self, target: str) -> bytes | None:
        """The page of a GET, as JSON; None if there is no such page."""
        parts = urlsplit(target)
        if parts.path == COUNTERS:
            counted = {"requests": dict(self.requests), "bytes": dict(self.body_bytes)}
            return json.dumps(counted).encode()
        if parts.path == ARRIVALS:
            until = parse_qs(parts.query).get("ended_before_ns")
            return json.dumps(as_json(arrivals_in(self.bodies, int(until[0]) if until else None))).encode()
        return b"{}" if parts.path == "/readyz" else None


class Connection(asyncio.Protocol):
    """One connection of HTTP/1.1 with bodies of a known length, which is what exporters send."""

    def __init__(self, received: Received, mode: str) -> None:
        self._received, self._mode = received, mode
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's does not inherit from it

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            first, headers = _head(bytes(self._buffer[:end]))
            whole = end + 4 + int(headers.get("content-length", 0))
            if len(self._buffer) < whole:
                return
            body = bytes(self._buffer[end + 4 : whole])
            del self._buffer[:whole]
            method, target = first.split(" ")[:2]
            if method == "POST":
                self._posted(
                    f"/{target.partition('?')[0].lstrip('/')}", body, headers.get("content-encoding") == "gzip"
                )
            else:
                self._shown(target)

    def _posted(self, path: str, body: bytes, zipped: bool) -> None:
        self._received.take(path, body, zipped)
        answer = _answer(path, body, zipped)
        if self._mode == ANSWERING:
            self._reply(answer)
        elif self._mode == SLOW:
            asyncio.get_running_loop().call_later(SLOW_S, self._reply, answer)

    def _shown(self, target: str) -> None:
        page = self._received.page(target)
        self._reply(
            _reply(page, "application/json") if page is not None else _reply(b"", "text/plain", "404 Not Found")
        )

    def _reply(self, answer: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(answer)


def _head(head: bytes) -> tuple[str, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    named = (line.partition(":") for line in lines)
    return first, {name.lower(): value.strip() for name, _, value in named}


def _answer(path: str, body: bytes, zipped: bool) -> bytes:
    """What this kind of receiver says to a request that it takes in full."""
    if not path.endswith(_TRACK):
        return _reply(b"", "application/x-protobuf")  # an empty message: nothing was rejected
    taken = (gzip.decompress(body) if zipped else body).count(b'"baseType"')  # once in each item
    counted = {"itemsReceived": taken, "itemsAccepted": taken, "errors": []}
    return _reply(json.dumps(counted).encode(), "application/json")


def _reply(body: bytes, kind: str, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


async def serve(port: int, mode: str, received: Received) -> asyncio.Server:
    """Listen on loopback; `port` 0 means any free one."""
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: Connection(received, mode), "127.0.0.1", port)


async def _main(port: int, mode: str) -> None:
    async with await serve(port, mode, Received()):
        await until_stopped()


def main(arguments: list[str]) -> int:
    """Collect until a signal."""
    parser = argparse.ArgumentParser(prog="python -m bench collector", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--mode", choices=MODES, default=ANSWERING)
    given = parser.parse_args(arguments)
    run_on_uvloop(_main(given.port, given.mode))
    return 0
