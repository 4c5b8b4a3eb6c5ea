"""AudioSocket calls on real sockets: frames in time, ids that are not expected, ends from both sides, and a stop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from peers.socket_harness import LOOPS, Wire, run
from support.calls.audiosocket_desk import FILES, HEAD_BYTES, Desk, frame
from support.calls.whole_gateway import opened

pytestmark = [pytest.mark.sockets, pytest.mark.timed]

Frame = tuple[int, bytes]


@pytest.fixture(params=list(LOOPS))
def wire(request: pytest.FixtureRequest) -> Wire:
    """Each event loop, without TLS."""
    return Wire(request.param, tls=False)


class Line:
    """One connection of Asterisk's."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    @classmethod
    async def of(cls, desk: Desk) -> Line:
        return cls(*await asyncio.open_connection("127.0.0.1", desk.listener.port))

    async def next(self) -> Frame:
        """The next frame."""
        head = await self._reader.readexactly(HEAD_BYTES)
        return head[0], await self._reader.readexactly(int.from_bytes(head[1:], "big"))

    async def ended(self) -> bool:
        """Wait for the end; whether nothing came before it."""
        return await self._reader.read() == b""


def with_desk(folder: Path, wire: Wire, main: Callable[[Desk], Awaitable[None]], **settings: object) -> None:
    async def whole() -> None:
        async with opened(folder, files=FILES, **settings) as gateway:
            desk = Desk(gateway)
            await desk.listener.start()
            try:
                await main(desk)
            finally:
                await desk.listener.close()

    run(whole, wire, within_s=30)


def test_a_frame_comes_every_20_ms_from_the_first_moment_on(tmp_path: Path, wire: Wire) -> None:
    async def main(desk: Desk) -> None:
        registered, line = await desk.register(), await Line.of(desk)
        begun_s = time.monotonic()
        line.writer.write(frame(0x01, registered.call_id.bytes))
        frames = [await line.next()]
        assert time.monotonic() - begun_s < 0.05
        while time.monotonic() - begun_s < 3:
            frames.append(await line.next())
            line.writer.write(frame(0x10, bytes(320)))
        assert {(kind, len(payload)) for kind, payload in frames} == {(0x10, 320)}
        assert len(frames) == pytest.approx(150, abs=4)
        assert b"".join(payload for _, payload in frames).strip(b"\0")  # the greeting
        line.writer.close()
        record = await desk.record(registered)
        assert (record.protocol, record.summary.end_reason) == ("audiosocket", "caller_hung_up")

    with_desk(tmp_path, wire, main)


def test_an_id_that_is_not_expected_is_closed_within_50_ms_and_silence_within_two_seconds(
    tmp_path: Path, wire: Wire
) -> None:
    async def main(desk: Desk) -> None:
        stranger, silent = await Line.of(desk), await Line.of(desk)
        begun_s = time.monotonic()
        stranger.writer.write(frame(0x01, bytes(16)))
        assert await stranger.ended()
        assert time.monotonic() - begun_s < 0.05
        assert await silent.ended()
        assert time.monotonic() - begun_s < 2.3
        assert dict(desk.listener.counts) == {"unknown_call": 1, "no_first_frame": 1}
        assert desk.gateway.admission.model_legs_opened == 0
        for line in (stranger, silent):
            line.writer.close()

    with_desk(tmp_path, wire, main)


def test_the_agent_ends_a_call_with_a_frame_although_the_caller_still_sends(tmp_path: Path, wire: Wire) -> None:
    async def main(desk: Desk) -> None:
        registered, line = await desk.register(), await Line.of(desk)
        line.writer.write(frame(0x01, registered.call_id.bytes))
        await line.next()
        desk.gateway.live_calls.goodbye()
        kind = 0x10
        while kind:
            line.writer.write(frame(0x10, bytes(320)))
            kind, _ = await line.next()
        for _ in range(5):
            line.writer.write(frame(0x10, bytes(320)))
        assert await line.ended()  # a reset would raise
        line.writer.close()
        assert (await desk.record(registered)).summary.end_reason == "shutting_down"

    with_desk(tmp_path, wire, main)


def test_a_listener_that_drains_keeps_its_calls(tmp_path: Path, wire: Wire) -> None:
    async def main(desk: Desk) -> None:
        registered, line = await desk.register(), await Line.of(desk)
        line.writer.write(frame(0x01, registered.call_id.bytes))
        for _ in range(10):
            await line.next()
        port = desk.listener.port
        desk.listener.drain()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        for _ in range(20):
            assert (await line.next())[0] == 0x10
        line.writer.close()
        await desk.record(registered)

    with_desk(tmp_path, wire, main)
