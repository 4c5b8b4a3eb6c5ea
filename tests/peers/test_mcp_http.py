"""The pool with real MCP servers over streamable HTTP: killed, restarted, frozen, with a key, or not MCP at all."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.tools.config import HttpServer
from gateway.tools.link import LinkTimes
from gateway.tools.mcp_http import McpHttp, tls_for
from gateway.tools.messages import MessageReader
from gateway.tools.pool import McpPool
from sessions.errors import ToolFailed
from sessions.ports import JsonObject

pytestmark = [pytest.mark.sockets, pytest.mark.timed]
ROOT = Path(__file__).parents[2]
TIMES = LinkTimes(connect_ms=3000, wait_ms=5000, first_retry_ms=50, last_retry_ms=200, settle_ms=20)
EVENING: JsonObject = {"date": "tomorrow", "time": "7 pm", "party_size": 2}

SLOW = """
import asyncio, sys
from mcp.server.mcpserver import MCPServer
server = MCPServer("slow", log_level="CRITICAL")
async def hang() -> str:
    open(sys.argv[2], "w").close()
    await asyncio.sleep(60)
    return ""
server.add_tool(hang)
server.run("streamable-http", port=int(sys.argv[1]))
"""


class Process:
    """A server process on a port of its own, which can be started again on the same port."""

    def __init__(self, *command: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._command = [part.replace("PORT", str(self.port)) for part in command]
        self._running: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"

    def start(self) -> None:
        self._running = subprocess.Popen(self._command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def signal(self, number: int) -> None:
        assert self._running is not None
        os.kill(self._running.pid, number)

    def kill(self) -> None:
        if self._running is not None:
            self._running.kill()
            self._running.wait()
            self._running = None


@pytest.fixture
def bookings(tmp_path: Path) -> Iterator[Process]:
    database = str(tmp_path / "bookings.db")
    process = Process(sys.executable, "-m", "mcp_servers.bookings", "--http", "--port", "PORT", "--db", database)
    process.start()
    yield process
    process.kill()


def with_pool(server: HttpServer, body: Callable[[McpPool], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        pool = McpPool({"http": server}, times=TIMES)
        async with asyncio.timeout(40), asyncio.TaskGroup() as tasks:
            await pool.start()
            tasks.create_task(pool.run())
            try:
                await body(pool)
            finally:
                pool.close()

    asyncio.run(main())


def to(process: Process) -> HttpServer:
    return HttpServer("http", process.url, {})


async def connected(pool: McpPool) -> None:
    async with asyncio.timeout(15):
        while pool.problem("http") is not None:
            await asyncio.sleep(0.02)


async def failure(pool: McpPool, tool: str, arguments: JsonObject, deadline_ms: int) -> tuple[str, float]:
    begin = time.monotonic()
    with pytest.raises(ToolFailed) as failed:
        await pool.call("http", tool, arguments, deadline_ms)
    return failed.value.kind, time.monotonic() - begin


def test_a_booking_is_made_and_refused_over_http(bookings: Process) -> None:
    async def body(pool: McpPool) -> None:
        await connected(pool)
        booked = await pool.call("http", "book_table", {**EVENING, "name": "Ada"}, 5000)
        assert json.loads(booked.text)["booking_id"] == 1
        refused = await pool.call("http", "cancel_booking", {"booking_id": 7}, 5000)
        assert (refused.text, refused.error) == (
            '{"error": "There is no booking number 7.", "alternatives": []}',
            "tool_execution_error",
        )

    with_pool(to(bookings), body)


def test_many_calls_share_one_connection(bookings: Process) -> None:
    async def body(pool: McpPool) -> None:
        await connected(pool)
        async with asyncio.TaskGroup() as tasks:
            calls = [
                tasks.create_task(pool.call("http", "book_table", {**EVENING, "name": f"Guest {number}"}, 10_000))
                for number in range(12)
            ]
        booked = [call.result() for call in calls if call.result().error is None]
        tables = [json.loads(result.text)["table"] for result in booked]
        assert sorted(tables) == list(range(1, 9))

    with_pool(to(bookings), body)


def test_a_restarted_server_is_connected_again(bookings: Process) -> None:
    async def body(pool: McpPool) -> None:
        await connected(pool)
        bookings.kill()
        bookings.start()
        # The tool is read-only, so the pool may call it again once the new process answers.
        found = await pool.call("http", "find_tables", EVENING, 10_000)
        assert json.loads(found.text)["free"] is True
        bookings.kill()
        kind, took_s = await failure(pool, "book_table", {**EVENING, "name": "Ada"}, 1000)
        assert kind in ("protocol_error", "http_error", "timeout")
        assert took_s < 5
        assert "find_tables" in {tool.name for tool in pool.tools("http")}
        bookings.start()
        await connected(pool)
        assert (await pool.call("http", "book_table", {**EVENING, "name": "Ada"}, 5000)).error is None

    with_pool(to(bookings), body)


def test_a_server_killed_during_a_call_fails_that_call_at_once(tmp_path: Path) -> None:
    script, called = tmp_path / "slow.py", tmp_path / "called"
    script.write_text(SLOW)
    slow = Process(sys.executable, str(script), "PORT", str(called))
    slow.start()

    async def body(pool: McpPool) -> None:
        await connected(pool)
        async with asyncio.TaskGroup() as tasks:
            call = tasks.create_task(failure(pool, "hang", {}, 20_000))
            while not called.exists():
                await asyncio.sleep(0.01)
            slow.kill()
            kind, took_s = await call
        assert kind == "protocol_error"
        assert took_s < 5

    try:
        with_pool(to(slow), body)
    finally:
        slow.kill()


def test_a_frozen_server_costs_each_call_its_deadline(bookings: Process) -> None:
    async def body(pool: McpPool) -> None:
        await connected(pool)
        bookings.signal(signal.SIGSTOP)
        for _ in range(2):
            kind, took_s = await failure(pool, "find_tables", EVENING, 300)
            assert kind == "timeout"
            assert took_s < 4
        bookings.signal(signal.SIGCONT)
        assert (await pool.call("http", "find_tables", EVENING, 10_000)).error is None

    with_pool(to(bookings), body)


def test_a_dead_address_fails_quickly() -> None:
    nobody = Process("unused")

    async def body(pool: McpPool) -> None:
        problems = await pool.settled(5000)
        assert problems["http"].startswith("ConnectError")
        await asyncio.sleep(1)  # several attempts
        kind, took_s = await failure(pool, "find_tables", EVENING, 8000)
        assert kind == "http_error"
        assert took_s < 5  # of its 8 s

    with_pool(to(nobody), body)


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: str, body: bytes) -> None:
    head_in = await reader.readuntil(b"\r\n\r\n")
    for line in head_in.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            await reader.readexactly(int(line.split(b":")[1]))
    writer.write(f"HTTP/1.1 {head}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
    await writer.drain()
    writer.close()


@pytest.mark.parametrize(
    ("head", "body", "problem"),
    [
        ("401 Unauthorized", b"", "HTTP 401"),
        ("503 Busy", b"come back", "HTTP 503"),
        ("200 OK\r\nContent-Type: text/html", b"<html>", "cannot be read: it is not JSON"),
        ("200 OK\r\nContent-Type: application/json", b"{{{", "cannot be read: it is not JSON"),
        ("200 OK\r\nContent-Type: application/json", b'{"jsonrpc": "2.0", "id": 999, "result": {}}', "ValidationError"),
    ],
)
def test_an_address_without_mcp_is_named(head: str, body: bytes, problem: str) -> None:
    async def main() -> str:
        server = await asyncio.start_server(lambda r, w: _answer(r, w, head, body), "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp"
        times = LinkTimes(connect_ms=1500, first_retry_ms=60_000)
        pool = McpPool({"odd": HttpServer("odd", url, {"Authorization": "Bearer t"})}, times=times)
        async with asyncio.timeout(20), server, asyncio.TaskGroup() as tasks:
            tasks.create_task(pool.run())
            problems = await pool.settled(10_000)
            pool.close()
        return problems["odd"]

    assert problem in asyncio.run(main())


YES = b'{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"Yes"}]}}'
CODINGS: dict[str, tuple[str, Callable[[bytes], bytes], str]] = {
    "gzip": ("gzip", gzip.compress, "Yes"),
    "deflate": ("deflate", zlib.compress, "Yes"),
    "none": ("gzip", bytes, "it cannot be decompressed"),
    "unknown": ("br", bytes, "it is compressed, although that was not requested"),
    "bomb": ("gzip", lambda answer: gzip.compress(b"data: " + b"x" * (64 << 20)), "has more than 1000000 bytes"),
}


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize(("kind", "event"), [("application/json", YES), ("text/event-stream", b"data: %b\n\n" % YES)])
def test_a_compressed_answer_is_read_within_the_bound(kind: str, event: bytes, coding: str) -> None:
    encoding, compressed, expected = CODINGS[coding]

    async def main() -> str:
        body = compressed(event)
        head = f"200 OK\r\nContent-Type: {kind}\r\nContent-Encoding: {encoding}"
        server = await asyncio.start_server(lambda r, w: _answer(r, w, head, body), "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp"
        call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "book"}}
        client = McpHttp(HttpServer("odd", url, {}), MessageReader("odd", 1000), 1_000_000, await tls_for(url))
        async with asyncio.timeout(20), server, client, client.stream("POST", url, json=call) as response:
            return (await response.aread()).decode()

    assert expected in asyncio.run(main())


def test_servers_share_one_tls_context_and_plain_http_needs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)

    async def main() -> None:
        one, *others = await asyncio.gather(*(tls_for(f"https://{number}.example/mcp") for number in range(20)))
        assert all(other is one for other in others)
        assert one.verify_mode is ssl.CERT_REQUIRED
        assert await tls_for("http://a.example/mcp") is one  # the server may redirect its clients to https
        bare = await tls_for("http://127.0.0.1:8091/mcp")
        assert (bare.get_ca_certs(), bare.verify_mode) == ([], ssl.CERT_REQUIRED)
        assert await tls_for("http://a.example:8091/mcp") is bare
        monkeypatch.setenv("HTTP_PROXY", "https://proxy.example:3128")
        assert await tls_for("http://a.example:8091/mcp") is one

    asyncio.run(main())


def test_a_hundred_clients_are_made_without_an_audible_pause() -> None:
    async def main() -> float:
        await tls_for("https://a.example/mcp")
        begun = time.thread_time()
        for number in range(100):
            server = HttpServer("one", f"https://{number}.example/mcp", {})
            McpHttp(server, MessageReader("one", 1000), 1_000_000, await tls_for(server.url))
        return time.thread_time() - begun

    assert asyncio.run(main()) < 0.5  # a context for each one would take 2 s
