"""Unsent data for a peer that does not read is bounded, in bytes and in memory, whoever wrote it and on both legs."""

from __future__ import annotations

import asyncio
import gc
import resource
import socket
import threading
import time
from pathlib import Path

import pytest
from peers.socket_harness import CapturingReceiver, Raw, Wire, frame, route_to, run, serving, upgrade_head
from peers.test_socket_reading import blocking, head_of_101

from gateway.net.dial import dial
from gateway.net.sockets import SocketLimits

pytestmark = [pytest.mark.sockets, pytest.mark.timed]

MIB = 1 << 20
PAYLOADS = pytest.mark.parametrize("payload", [b"", b"x" * 125], ids=["empty", "long"])
LIMITS = SocketLimits(max_unsent_bytes=MIB, goodbye_s=0.2)


def flood(line: socket.socket, pings: bytes, pings_at_a_time: int) -> None:
    """Send endless pings, `pings_at_a_time` in one write, and read nothing."""
    piece = pings * pings_at_a_time
    try:
        while True:
            line.sendall(piece)
    except OSError:
        pass  # the server has closed


def rss_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


@PAYLOADS
@pytest.mark.parametrize("at_a_time", [100, 5_000])
def test_a_caller_who_pings_and_does_not_read_reaches_the_bound(payload: bytes, at_a_time: int, wire: Wire) -> None:
    async def main() -> None:
        receiver = CapturingReceiver()
        async with serving([route_to(receiver, limits=LIMITS)]) as server:

            def call(port: int) -> None:
                with blocking(wire, port) as line:
                    line.sendall(upgrade_head())
                    assert b" 101 " in line.recv(4096)
                    flood(line, frame(9, payload), at_a_time)

            gc.collect()
            before_bytes = rss_bytes()
            caller = threading.Thread(target=call, args=(server.bound_port,))
            caller.start()
            try:
                assert await receiver.end() == (1013, "too much is unsent")
                assert rss_bytes() - before_bytes < 24 * MIB
            finally:
                await asyncio.to_thread(caller.join)
        assert receiver.faults == []

    run(main, wire, within_s=60)


@PAYLOADS
def test_a_model_that_pings_and_does_not_read_reaches_the_bound(payload: bytes, wire: Wire) -> None:
    async def main() -> None:
        receiver = CapturingReceiver()

        def serve(listening: socket.socket) -> None:
            line, _ = listening.accept()
            if wire.server_tls is not None:
                line = wire.server_tls.wrap_socket(line, server_side=True)
            with line:
                line.sendall(head_of_101(line.recv(4096)))
                flood(line, frame(9, payload, masked=False), 1000)

        with socket.create_server(("127.0.0.1", 0)) as listening:
            model = threading.Thread(target=serve, args=(listening,))
            model.start()
            try:
                url = wire.url(listening.getsockname()[1])
                await dial(url, receiver, ssl_context=wire.client_tls, limits=LIMITS)
                assert await receiver.end() == (1013, "too much is unsent")
            finally:
                await asyncio.to_thread(model.join)

    run(main, wire, within_s=60)


def test_pings_and_messages_share_one_bound(wire: Wire) -> None:
    async def main() -> None:
        receiver = CapturingReceiver(echo=True)
        limits = SocketLimits(max_unsent_bytes=2 * MIB, goodbye_s=0.2)
        async with serving([route_to(receiver, limits=limits)]) as server:
            raw = await Raw.upgraded(server.bound_port)
            raw.writer.transport.pause_reading()  # type: ignore[attr-defined]
            both = frame(9, b"p" * 125) * 100 + frame(2, b"m" * 12_500)
            while not receiver.ends:
                raw.send(both)
                await asyncio.sleep(0)
            assert receiver.ends == [(1013, "too much is unsent")]

    run(main, wire, within_s=20)


def test_a_peer_that_reads_its_answers_may_ping_freely_and_delays_nobody(wire: Wire) -> None:
    async def main() -> None:
        pinging, quiet = CapturingReceiver(), CapturingReceiver(echo=True)
        routes = [route_to(pinging, limits=LIMITS), route_to(quiet, path="/quiet")]
        async with serving(routes) as server:
            raw = await Raw.upgraded(server.bound_port)
            other = await Raw.connect(server.bound_port)
            assert (await other.ask(upgrade_head("/quiet")))[0] == 101
            pings = 60_000

            async def ping() -> None:
                for _ in range(pings // 1000):
                    raw.send(frame(9, b"still?") * 1000)
                    await raw.writer.drain()

            async def count() -> None:
                answers = await raw.reader.readexactly(pings * 8)
                assert answers == b"\x8a\x06still?" * pings

            slowest_s = 0.0
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(ping())
                counting = tasks.create_task(count())
                while not counting.done():
                    started_s = time.monotonic()
                    other.send(frame(1, b"hello"))
                    assert await other.next_frame() == (1, b"hello")
                    slowest_s = max(slowest_s, time.monotonic() - started_s)
                    await asyncio.sleep(0.005)
            assert pinging.ends == []
            assert slowest_s < 0.5

    run(main, wire, within_s=20)
