"""The figures over real sockets: promtool's opinion, the port of their own, and clients that hang."""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from peers.server_files import write_server_files
from peers.server_process import Server, environment, serving

from gateway.telemetry.figures import Figures
from gateway.telemetry.listener import MAX_CONNECTIONS, MAX_HEAD_BYTES, MetricsAddress, MetricsListener
from gateway.telemetry.names import CALLS_STARTED, FAMILIES, Kind
from gateway.telemetry.writing import FiguresText

pytestmark = pytest.mark.sockets
KEY = "test-key-of-thirty-two-characters"
GET = b"GET /metrics HTTP/1.1\r\nHost: 10.1.2.3:9464\r\n\r\n"
needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="install Debian's prometheus for promtool")


def listening(
    main: Callable[[MetricsListener], Coroutine[Any, Any, None]], figures: Figures | None = None, **given: Any
) -> None:
    """Run `main` with a listener on loopback."""

    async def whole() -> None:
        listener = MetricsListener(FiguresText(figures or Figures()), MetricsAddress("127.0.0.1", 0), **given)
        await listener.start()
        try:
            async with asyncio.timeout(20):
                await main(listener)
        finally:
            await listener.close()

    asyncio.run(whole())


async def asked(port: int, request: bytes = GET) -> tuple[bytes, bytes]:
    """The head and the body of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return head, body


def everything() -> Figures:
    """Figures with at least one series of every family, and names that nobody should have."""
    figures = Figures()
    names = ("desk", 'a"b\\c\nd', "\ud800", "名" * 100)
    for family in FAMILIES:
        for name in names if family.labels else ("",):
            labels = [name] * len(family.labels)
            if family.kind is Kind.HISTOGRAM:
                figures.observe(family, 0.3, *labels)
            else:
                figures.add(family, *labels)
    return figures


@needs_promtool
def test_promtool_finds_no_fault() -> None:
    text = asyncio.run(FiguresText(everything()).whole())
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, timeout=20, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_only_the_figures_are_answered() -> None:
    async def main(listener: MetricsListener) -> None:
        head, body = await asked(listener.port)
        assert head.startswith(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4; charset=utf-8\r\n")
        assert b"# TYPE patchbay_build_info gauge\n" in body
        assert (await asked(listener.port, GET.replace(b"GET", b"HEAD")))[1] == b""
        assert (await asked(listener.port, GET.replace(b"/metrics", b"/metrics?x=1")))[0].startswith(b"HTTP/1.1 200")
        for request, status in (
            (GET.replace(b"/metrics", b"/"), b"404"),
            (GET.replace(b"/metrics", b"/api/v1/agents"), b"404"),
            (GET.replace(b"GET", b"POST"), b"405"),
            (b"\r\n\r\n", b"404"),
            (b"\xff\xfe\r\n\r\n", b"404"),
        ):
            assert (await asked(listener.port, request))[0].startswith(b"HTTP/1.1 " + status), request
        assert await asked(listener.port, b"x" * (4 * MAX_HEAD_BYTES)) == (b"", b"")

    listening(main)


def test_a_client_that_sends_or_reads_nothing_is_cut_off_and_costs_the_others_nothing() -> None:
    figures = Figures()
    for number in range(100):  # more than the sockets' buffers hold
        for protocol in range(200):
            figures.add(CALLS_STARTED, f"agent_{number}_{'x' * 40}", f"protocol_{protocol}_{'x' * 40}")

    async def main(listener: MetricsListener) -> None:
        silent, (_, deaf) = await asyncio.open_connection("127.0.0.1", listener.port), await _deaf(listener.port)
        began = time.monotonic()
        assert len((await asked(listener.port))[1]) > 2_000_000
        assert await silent[0].read() == b""
        assert 0.5 < time.monotonic() - began < 6
        for writer in (silent[1], deaf):
            writer.close()

    listening(main, figures, answer_s=3.0)


async def _deaf(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    plain.connect(("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=plain, limit=1)
    writer.write(GET)
    return reader, writer


def test_few_are_served_at_once_and_all_again_afterwards() -> None:
    async def main(listener: MetricsListener) -> None:
        held = [await asyncio.open_connection("127.0.0.1", listener.port) for _ in range(MAX_CONNECTIONS)]
        await asyncio.sleep(0.1)
        with suppress(ConnectionError):
            assert await asked(listener.port) == (b"", b"")
        for _, one in held:
            one.close()
        await asyncio.sleep(0.1)
        assert (await asked(listener.port))[0].startswith(b"HTTP/1.1 200")

    listening(main)


def test_it_goes_down_at_once_whoever_is_connected() -> None:
    async def main(listener: MetricsListener) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        began = time.monotonic()
        await listener.close()
        assert await reader.read() == b""
        assert time.monotonic() - began < 1
        with pytest.raises(ConnectionError):
            await asyncio.open_connection("127.0.0.1", listener.port)
        writer.close()

    listening(main)


# ---- a whole server


@pytest.fixture
def keyed(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path, PATCHBAY_API_KEYS=KEY, PATCHBAY_METRICS_LISTEN="127.0.0.1:0") as server:
        yield server


def _printed_port(server: Server) -> int:
    """The port of the figures, as the start prints it."""
    assert server.process.stdout is not None
    for _ in range(4):
        found = re.search(r"metrics, without key: http://127\.0\.0\.1:(\d+)/metrics", server.process.stdout.readline())
        if found is not None:
            return int(found[1])
    raise AssertionError("the start prints no port for the figures")


def test_the_main_port_asks_for_a_key_and_the_figures_own_port_does_not(keyed: Server) -> None:
    port = _printed_port(keyed)
    assert keyed.ask("/metrics")[0] == 200
    status, refused = keyed.ask("/metrics", headers={"Authorization": ""})
    assert (status, refused["error"]["code"]) == (401, "missing_api_key")
    head, body = asyncio.run(asked(port))
    assert head.startswith(b"HTTP/1.1 200")
    for name in (b"patchbay_ready 1.0", b"process_open_fds ", b"patchbay_loop_lag_seconds_count "):
        assert name in body
    keyed.signal(15)
    assert keyed.wait() == 0
    with pytest.raises(ConnectionError):
        asyncio.run(asked(port))


@pytest.mark.parametrize(
    "value", ["9464", ":9464", "localhost", "127.0.0.1:70000", "127.0.0.1:-1", "http://127.0.0.1:9464", "a b:1"]
)
def test_a_bad_address_stops_the_start_and_says_what_to_write(tmp_path: Path, value: str) -> None:
    done = started(tmp_path, PATCHBAY_METRICS_LISTEN=value)
    assert done.returncode == 1
    assert done.stderr.startswith("patchbay: PATCHBAY_METRICS_LISTEN: must be HOST:PORT")
    assert "127.0.0.1:9464" in done.stderr


def test_a_port_in_use_stops_the_start_and_names_the_setting(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = started(tmp_path, PATCHBAY_METRICS_LISTEN=f"127.0.0.1:{port}")
    assert done.returncode == 1
    assert done.stderr.startswith(f"patchbay: PATCHBAY_METRICS_LISTEN: cannot listen on 127.0.0.1:{port}")


def started(folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    write_server_files(folder)
    return subprocess.run(
        [sys.executable, "-m", "gateway.cli", "serve"],
        cwd=folder,
        env=environment(folder, settings),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
