"""The port for frames over TCP on real sockets: what arrives, how connections end, and who may connect."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from peers.socket_harness import LOOPS, Wire, run

from gateway.auth.requests import read_proxies
from gateway.net.frame_reader import FrameRules
from gateway.net.framed import FramedLimits, FramedSocket
from gateway.net.sockets import Receiver, Socket
from gateway.net.tcp import FramedListener, ListenAt

pytestmark = [pytest.mark.sockets, pytest.mark.timed]

LOOPBACK = read_proxies(["127.0.0.0/8"])
RULES = FrameRules(3, lambda head: 3 + int.from_bytes(head[1:3], "big"))
LAST = b"\x00\x00\x00"


@pytest.fixture(params=list(LOOPS))
def wire(request: pytest.FixtureRequest) -> Wire:
    """Each event loop, without TLS."""
    return Wire(request.param, tls=False)


def frame(payload: bytes, kind: int = 0x10) -> bytes:
    return bytes([kind]) + len(payload).to_bytes(2, "big") + payload


class Echo:
    """Sends each frame back; one of kind 0xEE gets `LAST` and the end."""

    def __init__(self) -> None:
        self.socket: Socket | None = None
        self.ends: list[int] = []

    def opened(self, socket: Socket) -> None:
        self.socket = socket

    def text(self, message: bytes) -> None:
        raise AssertionError

    def binary(self, message: bytes) -> None:
        assert self.socket is not None
        if message[0] == 0xEE:
            self.socket.send_binary(LAST)
            self.socket.close()
        else:
            self.socket.send_binary(message)

    def lost(self, code: int, reason: str) -> None:
        self.ends.append(code)


class Adopting(Echo):
    """The first receiver of a connection, which hands it on with the first frame."""

    def __init__(self, echo: Echo) -> None:
        super().__init__()
        self._echo = echo

    def binary(self, message: bytes) -> None:
        assert isinstance(self.socket, FramedSocket)
        self.socket.hand_to(self._echo, lambda fault: None)
        self._echo.binary(message)


class Listening:
    """A listener, and the receivers of its calls."""

    def __init__(self, networks: str, max_half_open: int, limits: FramedLimits) -> None:
        self.echoes: list[Echo] = []
        at = ListenAt("127.0.0.1", 0, read_proxies([networks]))
        self.listener = FramedListener(RULES, self._make, at, limits=limits, max_half_open=max_half_open)

    def _make(self) -> Receiver:
        self.echoes.append(Echo())
        return Adopting(self.echoes[-1])

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.listener.port)


@asynccontextmanager
async def listening(
    networks: str = "127.0.0.0/8", max_half_open: int = 100, limits: FramedLimits | None = None
) -> AsyncIterator[Listening]:
    made = Listening(networks, max_half_open, limits or FramedLimits(first_frame_s=0.5, goodbye_s=0.5))
    await made.listener.start()
    try:
        yield made
    finally:
        await made.listener.close()
        assert len(made.listener) == 0


async def until(true: Callable[[], object]) -> None:
    while not true():
        await asyncio.sleep(0.005)


def test_frames_arrive_whole_from_split_headers_and_from_bursts(wire: Wire) -> None:
    async def main() -> None:
        async with listening() as made:
            reader, writer = await made.connect()
            for byte in frame(b"split"):
                writer.write(bytes([byte]))
                await asyncio.sleep(0.002)
            assert await reader.readexactly(8) == frame(b"split")
            burst = b"".join(frame(bytes([number]) * 640) for number in range(200))
            writer.write(burst)
            assert await reader.readexactly(len(burst)) == burst
            writer.close()
            await until(lambda: made.echoes[0].ends)
            assert made.echoes[0].ends == [1000]

    run(main, wire)


def test_the_last_frame_arrives_although_the_peer_still_sends(wire: Wire) -> None:
    async def main() -> None:
        async with listening() as made:
            reader, writer = await made.connect()
            writer.write(frame(b"", kind=0xEE))
            for _ in range(50):
                writer.write(frame(bytes(320)))
            got = await reader.read()  # a reset would raise
            assert got == LAST
            writer.write(frame(bytes(320)))
            writer.close()
            await until(lambda: made.echoes[0].ends)
            assert made.echoes[0].ends == [1000]

    run(main, wire)


def test_a_reset_is_an_end(wire: Wire) -> None:
    async def main() -> None:
        async with listening() as made:
            _, writer = await made.connect()
            writer.write(frame(b"x"))
            await until(lambda: made.echoes and made.echoes[0].socket is not None)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
            await until(lambda: made.echoes[0].ends)

    run(main, wire)


def test_silent_connections_end_after_their_time_and_are_bounded(wire: Wire) -> None:
    async def main() -> None:
        async with listening(max_half_open=10) as made:
            begun_s = time.monotonic()
            lines = [await made.connect() for _ in range(40)]
            await until(lambda: len(made.listener) <= 10)
            assert made.listener.counts["too_many"] == 30
            reader, writer = await made.connect()  # the oldest makes room
            writer.write(frame(b"x"))
            assert await reader.readexactly(4) == frame(b"x")
            for silent, _ in lines:
                with suppress(ConnectionResetError):
                    assert await silent.read() == b""
            assert time.monotonic() - begun_s < 2
            assert made.listener.counts["no_first_frame"] == 9
            writer.write(frame(b"y"))
            assert await reader.readexactly(4) == frame(b"y")
            for _, each in [*lines, (reader, writer)]:
                each.close()

    run(main, wire)


def test_a_stranger_is_cut_off_at_once(wire: Wire) -> None:
    async def main() -> None:
        async with listening(networks="192.0.2.0/24") as made:
            reader, writer = await made.connect()
            begun_s = time.monotonic()
            with suppress(ConnectionResetError):
                assert await reader.read() == b""
            assert time.monotonic() - begun_s < 0.05
            assert made.listener.counts["not_allowed"] == 1
            assert made.echoes == []
            writer.close()

    run(main, wire)


def test_a_draining_listener_refuses_connections_and_keeps_its_calls(wire: Wire) -> None:
    async def main() -> None:
        async with listening() as made:
            reader, writer = await made.connect()
            writer.write(frame(b"x"))
            await reader.readexactly(4)
            idle, idle_writer = await made.connect()
            await until(lambda: len(made.listener) == 2)
            port = made.listener.port
            made.listener.drain()
            assert await idle.read() == b""
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", port)
            writer.write(frame(b"y"))
            assert await reader.readexactly(4) == frame(b"y")
            idle_writer.close()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(made.listener.close())
                assert await reader.read() == b""
                writer.close()
            assert made.echoes[0].ends == [1001]

    run(main, wire)


def test_a_peer_that_does_not_end_delays_a_stop_for_the_goodbye_only(wire: Wire) -> None:
    async def main() -> None:
        async with listening() as made:
            reader, writer = await made.connect()
            writer.write(frame(b"x"))
            await reader.readexactly(4)
            begun_s = time.monotonic()
            await made.listener.close()
            assert 0.4 < time.monotonic() - begun_s < 1.5
            writer.transport.abort()

    run(main, wire)


def test_a_peer_that_does_not_read_is_given_up(wire: Wire) -> None:
    async def main() -> None:
        limits = FramedLimits(goodbye_s=0.2, max_unsent_bytes=64 * 1024)
        async with listening(limits=limits) as made:
            _, writer = await made.connect()
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            writer.write(frame(b"x"))
            await until(lambda: made.echoes and made.echoes[0].socket is not None)
            sound = made.echoes[0].socket
            assert sound is not None
            sent = 0
            while not sound.closed:
                sound.send_binary(frame(bytes(640)))
                sent += 643
                await asyncio.sleep(0)
            assert sent < 16 * 1024 * 1024
            await until(lambda: made.echoes[0].ends)
            assert made.echoes[0].ends == [1013]
            assert made.listener.counts["too_slow"] == 1
            writer.transport.abort()

    run(main, wire)


def test_a_port_in_use_is_reported_with_the_settings_names(wire: Wire) -> None:
    async def main() -> None:
        async with listening() as made:
            at = ListenAt("127.0.0.1", made.listener.port, LOOPBACK, "audiosocket_host, audiosocket_port")
            with pytest.raises(OSError, match="audiosocket_port"):
                await FramedListener(RULES, Echo, at).start()

    run(main, wire)
