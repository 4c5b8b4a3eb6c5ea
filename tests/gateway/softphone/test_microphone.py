"""The microphone: each frame when it has been spoken, silence until something happens, and an end with the call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from support.calls.call_rig import later
from support.virtual import run

from gateway.clock import LoopClock
from gateway.softphone.lines.line import LineLost
from gateway.softphone.microphone import SILENCE, Microphone

SPOKEN = b"\x01\x00" * 1200  # 50 ms: two frames and a half


class Wire:
    """Takes frames with the time of each, until it is closed."""

    def __init__(self) -> None:
        self.clock = LoopClock(asyncio.get_running_loop(), 1e9)
        self.begun_ms = self.clock.now_ms()
        self.came: list[tuple[int, bytes]] = []
        self.closes_after = 1_000
        self.stalls_s = 0.0

    async def speak(self, pcm: bytes) -> None:
        stall_s, self.stalls_s = self.stalls_s, 0.0
        await later(stall_s)
        if len(self.came) >= self.closes_after:
            raise LineLost("the call has ended")
        self.came.append((self.clock.now_ms() - self.begun_ms, pcm))


def with_microphone(test: Callable[[Microphone, Wire, bytearray], Awaitable[None]]) -> None:
    async def main() -> None:
        wire, sent = Wire(), bytearray()
        await test(Microphone(wire, wire.clock, sent), wire, sent)

    run(main())


def test_a_frame_is_sent_when_its_last_sample_is_spoken_and_the_last_one_is_padded() -> None:
    async def test(microphone: Microphone, wire: Wire, sent: bytearray) -> None:
        await microphone.say(SPOKEN)
        await microphone.silence_for(40)
        assert [at_ms for at_ms, _ in wire.came] == [20, 40, 60, 80, 100]
        assert microphone.now_ms() == 100
        assert sent == b"".join(pcm for _, pcm in wire.came) == SPOKEN + bytes(480) + 2 * SILENCE

    with_microphone(test)


def test_silence_is_sent_until_something_happens_or_the_limit() -> None:
    async def test(microphone: Microphone, wire: Wire, sent: bytearray) -> None:
        assert await microphone.silence_until(lambda now_ms: now_ms >= 60, limit_s=1)
        assert microphone.now_ms() == 60
        assert not await microphone.silence_until(lambda now_ms: False, limit_s=1)
        assert microphone.now_ms() == 1060

    with_microphone(test)


def test_the_sound_sent_at_any_moment_is_the_sound_spoken_until_then() -> None:
    async def test(microphone: Microphone, wire: Wire, sent: bytearray) -> None:
        speaking = asyncio.Task(microphone.say(SPOKEN))
        lengths_ms = []
        for at_ms in (1, 19, 21, 39, 41, 59, 61):
            await later((at_ms - microphone.now_ms()) / 1000)
            assert microphone.spoken_ms * 48 == len(sent)
            lengths_ms.append((at_ms, microphone.spoken_ms))
        assert lengths_ms == [(1, 0), (19, 0), (21, 20), (39, 20), (41, 40), (59, 40), (61, 60)]
        await speaking

    with_microphone(test)


def test_a_late_frame_is_caught_up_at_once_and_the_schedule_stays() -> None:
    async def test(microphone: Microphone, wire: Wire, sent: bytearray) -> None:
        wire.stalls_s = 0.050  # the time for which the network delays the first frame
        await microphone.silence_for(120)
        assert [at_ms for at_ms, _ in wire.came] == [70, 70, 70, 80, 100, 120]

    with_microphone(test)


def test_an_ended_call_takes_no_more_sound() -> None:
    async def test(microphone: Microphone, wire: Wire, sent: bytearray) -> None:
        wire.closes_after = 1
        await microphone.say(SPOKEN)
        assert microphone.closed
        await microphone.silence_for(100)
        assert not await microphone.silence_until(lambda now_ms: False, limit_s=1)
        assert (len(wire.came), len(sent), microphone.now_ms()) == (1, 960, 40)

    with_microphone(test)


def test_a_call_that_ends_while_a_frame_is_spoken_does_not_get_that_frame() -> None:
    async def test(microphone: Microphone, wire: Wire, sent: bytearray) -> None:
        speaking = asyncio.Task(microphone.say(SPOKEN))
        await later(0.030)
        microphone.closed = True
        await speaking
        assert (len(wire.came), len(sent)) == (1, 960)

    with_microphone(test)
