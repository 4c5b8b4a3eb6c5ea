"""MCP servers over HTTP where the environment names a proxy: never used for this machine, and named in errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from peers.test_mcp_odd_answers import YES, odd_server, read_by_model

from gateway.tools.config import HttpServer
from gateway.tools.link import LinkTimes
from gateway.tools.mcp_http import is_loopback, proxy_of
from gateway.tools.pool import McpPool

pytestmark = pytest.mark.sockets
TIMES = LinkTimes(connect_ms=8000, first_retry_ms=60_000)
VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@asynccontextmanager
async def a_proxy(answer: bytes) -> AsyncIterator[tuple[int, list[str]]]:
    """A proxy that answers every request alike. Yields its port and the request lines it received."""
    asked: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0].decode())
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], asked


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_server_on_this_machine_is_never_reached_through_a_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, host: str
) -> None:
    async def main() -> None:
        async with asyncio.timeout(30), a_proxy(b"HTTP/1.1 403 No\r\n\r\n") as (port, asked):
            monkeypatch.setenv(variable, f"http://user:pass@127.0.0.1:{port}")
            async with odd_server(tmp_path, {"book": YES}, "json") as server, asyncio.TaskGroup() as tasks:
                assert isinstance(server, HttpServer)
                at_host = HttpServer("odd", server.url.replace("127.0.0.1", host), server.headers)
                pool = McpPool({"odd": at_host}, times=TIMES)
                tasks.create_task(pool.run())
                assert await pool.settled(10_000) == {}
                assert await read_by_model(pool, "book") == "Yes"
                pool.close()
            assert asked == []

    asyncio.run(main())


@pytest.mark.parametrize(
    ("scheme", "answer", "why"),
    [
        ("http", b"HTTP/1.1 502 No\r\nContent-Length: 0\r\n\r\n", "the server answered HTTP 502"),
        ("https", b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "403 Forbidden"),
        ("https", b"", "RemoteProtocolError"),
    ],
)
def test_an_error_through_a_proxy_names_the_proxy_but_not_its_password(
    monkeypatch: pytest.MonkeyPatch, scheme: str, answer: bytes, why: str
) -> None:
    async def main() -> str:
        async with asyncio.timeout(30), a_proxy(answer) as (port, asked), asyncio.TaskGroup() as tasks:
            monkeypatch.setenv(f"{scheme.upper()}_PROXY", f"http://user:s3cr3t@127.0.0.1:{port}/")
            server = HttpServer("far", f"{scheme}://crm.example.com/mcp", {})
            pool = McpPool({"far": server}, times=TIMES)
            tasks.create_task(pool.run())
            problem = (await pool.settled(10_000))["far"]
            pool.close()
            assert asked
            assert problem.endswith(f", through the proxy of {scheme.upper()}_PROXY (127.0.0.1:{port})")
        return problem

    problem = asyncio.run(main())
    assert why in problem
    assert "s3cr3t" not in problem


def test_a_proxy_that_is_down_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> str:
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
        pool = McpPool({"far": HttpServer("far", "http://crm.example.com/mcp", {})}, times=TIMES)
        async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
            tasks.create_task(pool.run())
            problem = (await pool.settled(10_000))["far"]
            pool.close()
        return problem

    assert asyncio.run(main()).endswith(", through the proxy of HTTP_PROXY (127.0.0.1:1)")


def test_the_proxy_for_an_address_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert proxy_of("https://crm.example.com/mcp") is None
    monkeypatch.setenv("ALL_PROXY", "socks5://proxy.example:1080")
    assert proxy_of("https://crm.example.com/mcp") == "ALL_PROXY (proxy.example:1080)"
    monkeypatch.setenv("HTTPS_PROXY", "http://user:pass@proxy.example:3128/")
    assert proxy_of("https://crm.example.com/mcp") == "HTTPS_PROXY (proxy.example:3128)"
    assert proxy_of("https://localhost/mcp") is None
    monkeypatch.setenv("NO_PROXY", "example.com")
    assert proxy_of("https://crm.example.com/mcp") is None


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("localhost", True),
        ("LOCALHOST.", True),
        ("tools.localhost", True),
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", True),
        ("10.0.0.1", False),
        ("localhost.example.com", False),
        ("127.0.0.1.example.com", False),
    ],
)
def test_every_form_of_a_loopback_address_is_recognised(host: str, own: bool) -> None:
    assert is_loopback(host) is own
