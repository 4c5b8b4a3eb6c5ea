"""Data that arrives during a pause or before an end is read completely, however it arrived and whether more follows."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from base64 import b64encode
from hashlib import sha1

import pytest
from peers.socket_harness import CapturingReceiver, Raw, Wire, frame, route_to, run, serving, upgrade_head

from gateway.auth.requests import Refusal, UpgradeRequest
from gateway.net.dial import dial

pytestmark = [pytest.mark.sockets, pytest.mark.timed]

SIZES = pytest.mark.parametrize("size", [16_384, 25_000, 100_000, 300_000])
LARGE = 300_000
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
GOODBYE = frame(8, b"\x0f\xa0bye")


def head_of_101(request: bytes) -> bytes:
    key = next(line for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:"))
    accept = b64encode(sha1(key.split(b":")[1].strip() + GUID).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )


async def served_by(wire: Wire, *frames: bytes, then_close: bool = False) -> asyncio.Server:
    """A server that sends these frames in one write with its 101."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head_of_101(await reader.readuntil(b"\r\n\r\n")) + b"".join(frames))
        if not then_close:
            await reader.read(1)
        writer.close()

    return await asyncio.start_server(talk, "127.0.0.1", 0, ssl=wire.server_tls)


@SIZES
def test_frames_that_arrive_with_the_handshake_are_read_without_another_byte(size: int, wire: Wire) -> None:
    async def main() -> None:
        receiver = CapturingReceiver()
        async with serving([route_to(receiver)]) as server:
            raw = await Raw.connect(server.bound_port)
            await raw.ask(upgrade_head() + frame(2, b"x" * size))
            await receiver.until(lambda: receiver.received)
            assert receiver.received == [("binary", b"x" * size)]

    run(main, wire, within_s=3)


@SIZES
def test_frames_that_arrive_during_admission_are_read_without_another_byte(size: int, wire: Wire) -> None:
    async def main() -> None:
        receiver = CapturingReceiver()
        asked, go_on = asyncio.Event(), asyncio.Event()

        async def admit(request: UpgradeRequest) -> str | Refusal:
            asked.set()
            await go_on.wait()
            return "admitted"

        async with serving([route_to(receiver, admit=admit)]) as server:
            raw = await Raw.connect(server.bound_port)
            raw.writer.write(upgrade_head())
            await asked.wait()
            raw.send(frame(2, b"x" * size))
            await asyncio.sleep(0.02)
            go_on.set()
            await receiver.until(lambda: receiver.received)
            assert receiver.received == [("binary", b"x" * size)]

    run(main, wire, within_s=3)


@SIZES
def test_frames_that_a_server_sends_with_its_101_are_read_without_another_byte(size: int, wire: Wire) -> None:
    async def main() -> None:
        receiver = CapturingReceiver()
        async with await served_by(wire, frame(2, b"x" * size, masked=False)) as server:
            port = server.sockets[0].getsockname()[1]
            dialled = await dial(wire.url(port), receiver, ssl_context=wire.client_tls)
            await receiver.until(lambda: receiver.received)
            assert receiver.received == [("binary", b"x" * size)]
            dialled.close()
            await asyncio.sleep(0.01)

    run(main, wire, within_s=3)


def blocking(wire: Wire, port: int) -> socket.socket:
    """A client's socket without an event loop. Closing it sends no close frame and no TLS close_notify."""
    line = socket.create_connection(("127.0.0.1", port), timeout=3)
    return line if wire.client_tls is None else wire.client_tls.wrap_socket(line, server_hostname="127.0.0.1")


@SIZES
def test_the_last_frames_of_a_caller_who_leaves_at_once_are_read(size: int, wire: Wire) -> None:
    async def main() -> None:
        receiver = CapturingReceiver()

        def call(port: int) -> None:
            with blocking(wire, port) as line:
                line.sendall(upgrade_head())
                assert b" 101 " in line.recv(4096)
                line.sendall(frame(2, b"x" * size) + GOODBYE)

        async with serving([route_to(receiver)]) as server:
            await asyncio.to_thread(call, server.bound_port)
            assert await receiver.end() == (4000, "bye")
            assert receiver.received == [("binary", b"x" * size)]

    run(main, wire, within_s=3)


@pytest.mark.parametrize("said", [b"", frame(1, b"hi"), frame(2, b"x" * 30_000)], ids=["nothing", "little", "much"])
def test_a_reset_after_a_callers_last_frames_is_noticed_soon(said: bytes, wire: Wire) -> None:
    async def main() -> None:
        receiver = CapturingReceiver()

        def call(port: int) -> None:
            with blocking(wire, port) as line:
                line.sendall(upgrade_head())
                assert b" 101 " in line.recv(4096)
                line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                line.sendall(said)

        async with serving([route_to(receiver)]) as server:
            calling = asyncio.get_running_loop().run_in_executor(None, call, server.bound_port)
            await receiver.until(lambda: receiver.socket)
            time.sleep(0.1)  # so that the last frames and the reset are read together
            await calling
            assert await receiver.end() == (1006, "")

    run(main, wire, within_s=4)


@SIZES
def test_the_last_frames_of_a_server_that_leaves_at_once_are_read(size: int, wire: Wire) -> None:
    async def main() -> None:
        receiver = CapturingReceiver()
        frames = frame(2, b"x" * size, masked=False), frame(8, b"\x0f\xa0bye", masked=False)
        async with await served_by(wire, *frames, then_close=True) as server:
            port = server.sockets[0].getsockname()[1]
            await dial(wire.url(port), receiver, ssl_context=wire.client_tls)
            assert await receiver.end() == (4000, "bye")
            assert receiver.received == [("binary", b"x" * size)]

    run(main, wire, within_s=3)


@pytest.mark.parametrize("size", [25_000, 70_000, LARGE])
def test_the_body_of_a_request_is_read_without_another_byte(size: int, wire: Wire) -> None:
    async def main() -> None:
        async with serving([route_to(CapturingReceiver())]) as server:
            raw = await Raw.connect(server.bound_port)
            for _ in range(2):
                head = f"POST /size HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode()
                status, _ = await raw.ask(head + b"x" * size)
                assert status == 200
                body = b'{"bytes":%d}' % size
                assert await raw.reader.readexactly(len(body)) == body

    run(main, wire, within_s=3)
