"""The microphone: every frame at its time, silence until something happens, and an end when the call is over."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from virtual import run
from websockets.exceptions import ConnectionClosedOK

from gateway.clock import LoopClock
from gateway.phone.microphone import SILENCE, Microphone

SPOKEN = b"\x01\x00" * 1200  # 50 ms: two frames and a half


class Wire:
    """Takes messages with the time of each, until it is closed."""

    def __init__(self) -> None:
        self.clock = LoopClock(asyncio.get_running_loop(), 1e9)
        self.begun_ms = self.clock.now_ms()
        self.came: list[tuple[int, bytes]] = []
        self.closes_after = 1_000

    async def send(self, text: str) -> None:
        if len(self.came) >= self.closes_after:
            raise ConnectionClosedOK(None, None)
        message = orjson.loads(text)
        assert message["type"] == "input_audio_buffer.append"
        self.came.append((self.clock.now_ms() - self.begun_ms, base64.b64decode(message["audio"])))


def with_microphone(test: Callable[[Microphone, Wire, bytearray], Awaitable[None]]) -> None:
    async def main() -> None:
        wire, sent = Wire(), bytearray()
        socket: Any = wire
        await test(Microphone(socket, wire.clock, sent), wire, sent)

    run(main())


def test_sound_goes_out_in_real_time_and_its_last_frame_is_filled_up() -> None:
    async def test(microphone: Microphone, wire: Wire, sent: bytearray) -> None:
        await microphone.say(SPOKEN)
        await microphone.silence_for(40)
        assert [at_ms for at_ms, _ in wire.came] == [0, 20, 40, 60, 80]
        assert microphone.now_ms() == 100
        assert sent == b"".join(pcm for _, pcm in wire.came) == SPOKEN + bytes(480) + 2 * SILENCE

    with_microphone(test)


def test_silence_is_sent_until_something_happens_or_for_so_long() -> None:
    async def test(microphone: Microphone, wire: Wire, sent: bytearray) -> None:
        assert await microphone.silence_until(lambda now_ms: now_ms >= 60, limit_s=1)
        assert microphone.now_ms() == 60
        assert not await microphone.silence_until(lambda now_ms: False, limit_s=1)
        assert microphone.now_ms() == 1060

    with_microphone(test)


def test_a_call_that_is_over_takes_no_more_sound() -> None:
    async def test(microphone: Microphone, wire: Wire, sent: bytearray) -> None:
        wire.closes_after = 1
        await microphone.say(SPOKEN)
        assert microphone.off
        await microphone.silence_for(100)
        assert not await microphone.silence_until(lambda now_ms: False, limit_s=1)
        assert (len(wire.came), microphone.now_ms()) == (1, 20)

    with_microphone(test)
