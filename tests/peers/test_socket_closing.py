"""How a WebSocket ends: frames after a close frame are ignored, and every end is as quick as possible."""

from __future__ import annotations

import asyncio
import ssl
import time
from contextlib import suppress

import pytest
from peers.socket_harness import CapturingReceiver, Raw, Wire, frame, route_to, run, serving, upgrade_head
from peers.test_socket_reading import served_by

from gateway.auth.requests import Refusal, UpgradeRequest
from gateway.net.dial import dial

pytestmark = [pytest.mark.sockets, pytest.mark.timed]

CLOSE = b"\x03\xe8first"
AFTER = {
    "a second close": (8, b"\x0f\xa0second"),
    "a third kind of close": (8, b""),
    "a close that is none": (8, b"\x03"),
    "a reserved opcode": (3, b"x"),
    "a long ping": (9, b"x" * 126),
    "a text": (1, b"too late"),
    "a ping": (9, b"too late"),
    "text that is no UTF-8": (1, b"\xff"),
    "a large message": (2, b"x" * 70_000),
}
BUFFER = 16 * 1024  # the size of one read


@pytest.mark.parametrize("apart", [False, True], ids=["in one write", "apart"])
@pytest.mark.parametrize("after", AFTER)
def test_frames_after_a_clients_close_are_ignored(after: str, apart: bool, wire: Wire) -> None:
    async def main() -> None:
        receiver = CapturingReceiver()
        async with serving([route_to(receiver)]) as server:
            raw = await Raw.upgraded(server.bound_port)
            raw.send(frame(1, b"before"), frame(8, CLOSE), *(() if apart else (frame(*AFTER[after]),)))
            assert await raw.next_frame() == (8, CLOSE[:2])
            if apart:
                raw.send(frame(*AFTER[after]))
            assert await receiver.end() == (1000, "first")
            assert receiver.received == [("text", b"before")]
            assert receiver.socket is not None
            assert not receiver.socket.ended_here
        assert receiver.faults == []

    run(main, wire, within_s=4)


@pytest.mark.parametrize("after", AFTER)
def test_frames_after_a_servers_close_are_ignored(after: str, wire: Wire) -> None:
    async def main() -> None:
        receiver = CapturingReceiver()
        frames = frame(8, CLOSE, masked=False), frame(*AFTER[after], masked=False)
        async with await served_by(wire, *frames) as server:
            socket = await dial(wire.url(server.sockets[0].getsockname()[1]), receiver, ssl_context=wire.client_tls)
            assert await receiver.end() == (1000, "first")
            assert (receiver.received, socket.ended_here) == ([], False)

    run(main, wire, within_s=4)


@pytest.mark.parametrize(
    ("first", "answer", "end"),
    [
        (b"", b"\x03\xe8", (1005, "")),
        (b"\x0f\xa0bye", b"\x0f\xa0", (4000, "bye")),
        (b"\x03\xf5", b"\x03\xf5", (1013, "")),
        (b"\x13\x88no", b"\x03\xea", (1002, None)),
        (b"\x00\x00no", b"\x03\xea", (1002, None)),
    ],
)
def test_the_first_of_two_closes_counts(first: bytes, answer: bytes, end: tuple[int, str | None], wire: Wire) -> None:
    async def main() -> None:
        receiver = CapturingReceiver()
        async with serving([route_to(receiver)]) as server:
            raw = await Raw.upgraded(server.bound_port)
            raw.send(frame(8, first), frame(8, CLOSE))
            opcode, payload = await raw.next_frame()
            assert (opcode, payload[:2]) == (8, answer)
            code, reason = await receiver.end()
            assert (code, end[1] if end[1] is None else reason) == end

    run(main, wire, within_s=4)


def test_repeated_closes_are_answered_once(wire: Wire) -> None:
    async def main() -> None:
        receiver = CapturingReceiver()
        async with serving([route_to(receiver)]) as server:
            raw = await Raw.upgraded(server.bound_port)
            raw.send(frame(8, CLOSE) * 20_000)
            assert await raw.next_frame() == (8, CLOSE[:2])
            assert await receiver.end() == (1000, "first")
            with suppress(ConnectionResetError, ssl.SSLError, TimeoutError):
                async with asyncio.timeout(0.2):
                    assert await raw.reader.read() == b""

    run(main, wire, within_s=4)


@pytest.mark.parametrize("size", [BUFFER, 2 * BUFFER, 5 * BUFFER])
def test_a_close_at_the_end_of_a_full_read_ends_at_once(size: int, wire: Wire) -> None:
    async def main() -> None:
        for short in range(0, 300, 50):  # wherever the reads end
            receiver = CapturingReceiver()
            async with serving([route_to(receiver)]) as server:
                raw = await Raw.upgraded(server.bound_port)
                started_s = time.monotonic()
                raw.send(frame(2, b"x" * (size - short)), frame(1, b"y" * 20), frame(8, CLOSE))
                assert await raw.next_frame() == (8, CLOSE[:2])
                assert await raw.eof()
                raw.writer.close()
                assert await receiver.end() == (1000, "first")
                assert time.monotonic() - started_s < 1.0

    run(main, wire, within_s=15)


def test_a_refused_client_is_disconnected_at_once(wire: Wire) -> None:
    async def main() -> None:
        async def admit(request: UpgradeRequest) -> str | Refusal:
            await asyncio.sleep(0.01)
            return Refusal(403, "no", "No.")

        async with serving([route_to(CapturingReceiver(), admit=admit)]) as server:
            raw = await Raw.connect(server.bound_port)
            assert (await raw.ask(upgrade_head()))[0] == 403
            assert await raw.eof()
            raw.writer.close()
            await raw.writer.wait_closed()
            async with asyncio.timeout(1):
                while server.server_state.connections:
                    await asyncio.sleep(0.01)

    run(main, wire, within_s=4)
