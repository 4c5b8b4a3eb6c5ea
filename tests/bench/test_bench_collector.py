"""The collector of telemetry on a real socket of loopback, and a courier measured apart from its server."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import uvloop

from bench.apart import Apart, couriers_of
from bench.collector import ANSWERING, HANGING, SLOW, Received, serve
from bench.processes import Children, clean_environment, own_cpu_s, own_rss_mb
from bench.telemetry import telemetry_settings
from bench.telemetry_report import ALL, ONE

pytestmark = pytest.mark.sockets

ENVELOPES = json.dumps([{"data": {"baseType": "RequestData"}}, {"data": {"baseType": "MessageData"}}]).encode()


async def ask(port: int, *requests: bytes, answers: int) -> list[tuple[str, bytes]]:
    """Send all requests over one connection at once, and read so many answers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    found = []
    writer.write(b"".join(requests))
    for _ in range(answers):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
        found.append((head.partition("\r\n")[0], await reader.readexactly(length)))
    writer.close()
    return found


def post(path: str, body: bytes, more: str = "") -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n{more}\r\n".encode() + body


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


def exchange(mode: str, *requests: bytes, answers: int) -> tuple[list[tuple[str, bytes]], Received]:
    received = Received()

    async def main() -> list[tuple[str, bytes]]:
        async with asyncio.timeout(5), await serve(0, mode, received) as server:
            return await ask(server.sockets[0].getsockname()[1], *requests, answers=answers)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # the collector's own loop
        return runner.run(main()), received


def test_every_request_is_answered_and_counted_by_its_path() -> None:
    requests = (post("/v1/traces", b"abc"), post("/v1/logs", b""), post("/v1/traces", b"de"), get("/counters"))
    answers, received = exchange(ANSWERING, *requests, answers=4)
    assert [status for status, _ in answers] == ["http/1.1 200 ok"] * 4
    shown: dict[str, Any] = json.loads(answers[3][1])
    assert shown == {"requests": {"/v1/traces": 2, "/v1/logs": 1}, "bytes": {"/v1/traces": 5, "/v1/logs": 0}}
    assert [body.content for body in received.bodies] == [b"abc", b"de"]


@pytest.mark.parametrize("zipped", [False, True])
def test_application_insights_says_how_many_items_it_took(zipped: bool) -> None:
    body = gzip.compress(ENVELOPES) if zipped else ENVELOPES
    more = "Content-Encoding: gzip\r\n" if zipped else ""
    # Its exporter writes two strokes where the connection string's address ends with one, as Azure's own do.
    answers, received = exchange(ANSWERING, post("//v2.1/track", body, more), answers=1)
    assert received.requests == {"/v2.1/track": 1}
    assert json.loads(answers[0][1]) == {"itemsReceived": 2, "itemsAccepted": 2, "errors": []}


@pytest.mark.parametrize("mode", [HANGING, SLOW])
def test_a_collector_that_fails_still_shows_what_came(mode: str) -> None:
    answers, received = exchange(mode, post("/v1/traces", b"abc"), get("/counters"), get("/nowhere"), answers=2)
    assert json.loads(answers[0][1])["requests"] == {"/v1/traces": 1}
    assert answers[1][0] == "http/1.1 404 not found"
    assert received.requests["/v1/traces"] == 1


def test_a_courier_is_measured_apart_from_its_server(tmp_path: Path) -> None:
    waits = "import signal; signal.pause()"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {waits!r}, 'gateway.telemetry.courier'])"
    with Children(tmp_path) as children:
        command = [sys.executable, "-c", parent]
        child = children.start("server", command, min(os.sched_getaffinity(0)), clean_environment({}))
        apart = Apart(child.pid)
        apart.begin()
        while not couriers_of(child.pid):
            assert child.process.poll() is None
        use = apart.end()
        assert set(use.cpu_s) == {"serving", "courier"}
        assert use.rss_mb["courier"] > 0
        assert use.cpu_s["serving"] >= 0
    assert own_cpu_s(child.pid) == 0.0
    assert own_rss_mb(child.pid) == 0.0


def test_without_a_courier_the_server_stands_alone_and_without_a_server_there_is_nothing() -> None:
    apart = Apart(os.getpid())
    apart.begin()
    assert set(apart.end().cpu_s) == {"serving"}
    nothing = Apart(None)
    nothing.begin()
    assert nothing.end().cpu_s == {}


def test_one_destination_or_three_are_set() -> None:
    assert set(telemetry_settings(ONE, 1)) < set(telemetry_settings(ALL, 1))
    assert telemetry_settings(ALL, 9)["LANGFUSE_BASE_URL"] == "http://127.0.0.1:9"
    assert telemetry_settings(ALL, 9)["APPLICATIONINSIGHTS_CONNECTION_STRING"].endswith("http://127.0.0.1:9/")
