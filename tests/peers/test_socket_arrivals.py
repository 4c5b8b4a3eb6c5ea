"""Connections without a request are bounded in number and time and block nobody, and nothing waits for Nagle."""

from __future__ import annotations

import asyncio
import resource
import socket
import ssl
import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_network

import pytest
from peers.socket_harness import CapturingReceiver, Raw, Wire, frame, route_to, run, serving
from websockets.asyncio.server import ServerConnection, serve

from gateway.net.dial import dial
from gateway.net.server import PatchbayServer

pytestmark = [pytest.mark.sockets, pytest.mark.timed]

MANY = 600
HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"  # the beginning of a TLS handshake
ASK = b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"
STALL_S = 0.03  # the system delays an acknowledgement by 40 ms


class Idlers:
    """Connections that were opened and then left idle, without an event loop."""

    def __init__(self, port: int, many: int, sent: bytes) -> None:
        self.lines: list[socket.socket] = []
        for _ in range(many):
            line = socket.create_connection(("127.0.0.1", port))
            line.sendall(sent)
            line.setblocking(False)
            self.lines.append(line)

    def alive(self) -> int:
        """The number of connections that are still open."""
        alive = 0
        for line in self.lines:
            try:
                alive += line.recv(4096, socket.MSG_PEEK) != b""
            except BlockingIOError:
                alive += 1
            except OSError:
                pass
        return alive

    def close(self) -> None:
        for line in self.lines:
            line.close()


async def hello(server: PatchbayServer) -> float:
    """The seconds that a new client needs from connecting to its answer."""
    started_s = time.monotonic()
    raw = await Raw.connect(server.bound_port)
    assert (await raw.ask(ASK))[0] == 200
    raw.writer.transport.abort()
    return time.monotonic() - started_s


@pytest.mark.parametrize("begun", [False, True], ids=["silent", "begun"])
def test_idle_connections_are_few_and_short_and_block_nobody(begun: bool, wire: Wire) -> None:
    async def main() -> None:
        sent = (HELLO if wire.tls else b"GET / HTTP/1.1\r\nx: ") if begun else b""
        times = {"handshake_timeout_s": 1.5, "head_timeout_s": 1.5}
        async with serving([route_to(CapturingReceiver())], **times, max_address_half_open=100) as server:
            started_s = time.monotonic()
            idlers = await asyncio.to_thread(Idlers, server.bound_port, MANY, sent)
            assert await hello(server) < 1.0
            assert idlers.alive() <= 100
            if time.monotonic() - started_s < 1.2:
                assert idlers.alive() > 80
            for _ in range(5):
                assert await hello(server) < 1.0
            while idlers.alive():
                await asyncio.sleep(0.05)
            assert time.monotonic() - started_s < 4.0
            idlers.close()

    run(main, wire, within_s=20)


@pytest.mark.parametrize("sent", ["", "GET /hello HTTP/1.1\r\nx: "])
def test_neither_a_missing_head_nor_a_missing_close_frame_is_waited_for(sent: str, wire: Wire) -> None:
    async def main() -> None:
        async with serving([route_to(CapturingReceiver())], head_timeout_s=0.3) as server:
            raw = await Raw.connect(server.bound_port)
            raw.writer.write(sent.encode())
            raw.writer.transport.pause_reading()  # type: ignore[attr-defined]  # and answers no close frame
            await asyncio.sleep(0.1)
            assert len(server.server_state.connections) == 1
            async with asyncio.timeout(1):
                while server.server_state.connections:
                    await asyncio.sleep(0.02)

    run(main, wire)


def test_a_kept_connection_is_idle_only_while_nothing_arrives(wire: Wire) -> None:
    async def main() -> None:
        async with serving([route_to(CapturingReceiver())], head_timeout_s=0.3) as server:
            raw = await Raw.connect(server.bound_port)
            await raw.ask(ASK)
            await raw.reader.readexactly(len(b'{"hello":"there"}'))
            started_s = time.monotonic()
            with suppress(OSError, ssl.SSLError):
                while server.server_state.connections:
                    raw.writer.write(b"\r\n")
                    await asyncio.sleep(0.05)
            assert time.monotonic() - started_s < 1.0

    run(main, wire)


def test_a_connection_with_a_request_is_not_counted(wire: Wire) -> None:
    async def main() -> None:
        receiver = CapturingReceiver(echo=True)
        async with serving([route_to(receiver)], max_address_half_open=3) as server:
            kept = [await Raw.connect(server.bound_port) for _ in range(3)]
            for raw in kept:
                await raw.ask(ASK)
                await raw.reader.readexactly(len(b'{"hello":"there"}'))
            calls = [await Raw.upgraded(server.bound_port) for _ in range(10)]
            idle = [await Raw.connect(server.bound_port) for _ in range(4)]
            await asyncio.sleep(0.05)
            for raw in kept:
                assert (await raw.ask(ASK))[0] == 200
            for call in calls:
                call.send(frame(1, b"still here"))
            # The echo goes to the call that was opened last: one answer for each of them.
            for _ in calls:
                assert await calls[-1].next_frame() == (1, b"still here")
            assert receiver.ends == []
            for raw in idle:
                raw.writer.transport.abort()

    run(main, wire)


def test_a_proxy_may_open_as_many_as_it_needs(wire: Wire) -> None:
    async def main() -> None:
        proxies = (ip_network("127.0.0.0/8"),)
        async with serving([route_to(CapturingReceiver())], max_address_half_open=3, proxies=proxies) as server:
            idle = [await Raw.connect(server.bound_port) for _ in range(20)]
            await asyncio.sleep(0.05)
            for raw in idle:
                assert (await raw.ask(ASK))[0] == 200

    run(main, wire)


@pytest.mark.parametrize("path", ["/media", "/hello", "/nowhere"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_body_that_no_route_reads_is_not_waited_for(method: str, path: str, wire: Wire) -> None:
    async def main() -> None:
        async with serving([route_to(CapturingReceiver())]) as server:
            raw = await Raw.connect(server.bound_port)
            head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
            status, _ = await raw.ask(head.encode() + b"x" * 100)
            assert status in (200, 404, 405, 426)
            async with asyncio.timeout(2):
                assert await raw.eof()
                raw.writer.close()
                while server.server_state.connections:
                    await asyncio.sleep(0.02)

    run(main, wire)


def test_requests_on_one_connection_do_not_wait_for_acknowledgements(wire: Wire) -> None:
    async def main() -> None:
        async with serving([route_to(CapturingReceiver())]) as server:
            raw = await Raw.connect(server.bound_port)
            took_s = []
            for _ in range(60):
                started_s = time.monotonic()
                assert (await raw.ask(ASK))[0] == 200
                assert await raw.reader.readexactly(17) == b'{"hello":"there"}'
                took_s.append(time.monotonic() - started_s)
            print(f"{wire}: {statistics.median(took_s) * 1000:.2f} ms a request")
            assert statistics.median(took_s[1:]) < STALL_S
            assert sum(one > STALL_S for one in took_s) < 5

    run(main, wire)


def test_messages_in_either_direction_do_not_wait_for_acknowledgements(wire: Wire) -> None:
    async def main() -> None:
        there: asyncio.Queue[float] = asyncio.Queue()

        async def note(connection: ServerConnection) -> None:
            async for _ in connection:
                there.put_nowait(time.monotonic())

        async def longest(send: Callable[[bytes], None]) -> list[float]:
            found = []
            for _ in range(20):
                send(b"one")
                send(b"two")
                found.append(-(await there.get()) + await there.get())
            return found

        async with serve(note, "127.0.0.1", 0, ssl=wire.server_tls, compression=None) as far:
            receiver = CapturingReceiver()
            url = wire.url(next(iter(far.sockets)).getsockname()[1])
            dialled = await dial(url, receiver, ssl_context=wire.client_tls)
            assert sum(gap > STALL_S for gap in await longest(dialled.send_text)) < 4
            dialled.close()
            await receiver.end()

        class Notes(CapturingReceiver):
            def text(self, message: bytes) -> None:
                there.put_nowait(time.monotonic())

        ours = CapturingReceiver()
        async with serving([route_to(ours)]) as server:
            await dial(wire.url(server.bound_port), Notes(), ssl_context=wire.client_tls)
            await ours.until(lambda: ours.socket)
            assert ours.socket is not None
            assert sum(gap > STALL_S for gap in await longest(ours.socket.send_text)) < 4

    run(main, wire)


def test_a_lack_of_file_descriptors_closes_idle_connections_and_not_the_server(wire: Wire) -> None:
    async def main() -> None:
        async with serving([route_to(CapturingReceiver())], handshake_timeout_s=30, head_timeout_s=30) as server:
            limits = resource.getrlimit(resource.RLIMIT_NOFILE)
            lines = [socket.create_connection(("127.0.0.1", server.bound_port)) for _ in range(90)]
            await asyncio.sleep(0.3)
            with socket.socket() as last:
                free = last.fileno()
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (free + 1, limits[1]))  # room for the client's end only
                assert await hello(server) < 3.0
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, limits)
                for line in lines:
                    line.close()

    run(main, wire, within_s=15)
