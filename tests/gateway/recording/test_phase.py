"""Each call writes its blocks at times counted from its own start, also after a stall that delayed all calls."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from support.calls.call_rig import later
from support.virtual import run

from audio.formats import PCMU_8K, AudioFrame
from gateway.blobs.folder import FolderBlobs
from gateway.clock import LoopClock
from gateway.recording.eventlog import Source
from gateway.recording.finisher import Finisher
from gateway.recording.phase import BLOCK_MS, next_due_ms
from gateway.recording.recorder import CallRecording, Recorder
from gateway.recording.sink import Part, Sink
from gateway.recording.writer import BATCH_MAX_BLOCKS, SpoolWriter
from sessions.agent import ReplayPolicy
from sessions.ports import Clock
from sessions.stores.contract import SessionKey

CALLS = 150
MOST_IN_20_MS = 2  # 150 calls with a block every 2 s write 1.5 blocks in 20 ms on average
STALL_AT_S, STALL_S = 7.0, 0.5  # when the sound of all calls is delayed, and for how long


class Counting(SpoolWriter):
    """Notes the time of each block, and does not write it."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(inline=True)
        self._clock = clock
        self.at_ms: list[int] = []
        self.of: dict[Sink, list[int]] = {}

    def append(self, sink: Sink, parts: Sequence[Part]) -> bool:
        now_ms = self._clock.now_ms()
        self.at_ms.append(now_ms)
        self.of.setdefault(sink, []).append(now_ms)
        return True


def most_within(times_ms: list[int], window_ms: int) -> int:
    """The largest number of these times in any window of this length."""
    return max(bisect_right(times_ms, at_ms + window_ms - 1) - index for index, at_ms in enumerate(times_ms))


def test_the_next_time_is_a_multiple_of_the_interval_after_the_start_however_late_the_last_was() -> None:
    assert next_due_ms(300, 2000, 300) == 2300
    assert next_due_ms(300, 2000, 2299) == 2300
    assert next_due_ms(300, 2000, 2300) == 4300
    assert next_due_ms(300, 2000, 7123) == 8300
    assert next_due_ms(300, 2000, 100) == 300  # a clock that is slightly behind the start


def test_a_stall_of_all_calls_does_not_bring_their_blocks_together(tmp_path: Path) -> None:
    """In calls with sound, the frames themselves trigger the blocks, before the stall and long after it."""

    async def talk(recorder: Recorder, clock: Clock, number: int) -> None:
        running = begin(recorder, clock, number, ReplayPolicy.OFF)
        begun_ms = clock.now_ms()
        assert running.spool is not None
        for frame in range(60 * 10):
            await later((begun_ms + frame * 100 - clock.now_ms()) / 1000)
            if STALL_AT_S <= frame * 0.1 + number / CALLS * 2 < STALL_AT_S + STALL_S:
                await later(1000 + STALL_AT_S + STALL_S - asyncio.get_running_loop().time())
            running.spool.caller(AudioFrame(b"\x10" * 800, PCMU_8K, frame * 800), clock.now_ms())

    writer = run(many(tmp_path, talk))
    stalled_ms = int((1000 + STALL_AT_S + STALL_S) * 1000)
    steady = [at_ms for at_ms in writer.at_ms if not stalled_ms <= at_ms < stalled_ms + 100]
    assert len(steady) > CALLS * 28
    assert most_within(steady, 20) <= MOST_IN_20_MS
    for times_ms in writer.of.values():
        gaps_ms = [after - before for before, after in pairwise(times_ms)]
        assert all(abs(gap - BLOCK_MS) <= 100 for gap in gaps_ms[8:-1])


@pytest.mark.parametrize("replay", [ReplayPolicy.OFF, ReplayPolicy.FULL])
def test_the_blocks_of_silent_calls_are_written_each_at_its_own_time(tmp_path: Path, replay: ReplayPolicy) -> None:
    """In calls with one frame now and then, at the same moment in all calls, the timer triggers the blocks."""

    async def hum(recorder: Recorder, clock: Clock, number: int) -> None:
        running = begin(recorder, clock, number, replay)
        assert running.spool is not None
        for turn in range(12):
            until_s = 1003 + turn * 5
            await later(until_s - asyncio.get_running_loop().time())  # the same moment in all calls
            running.spool.caller(AudioFrame(b"\x10" * 160, PCMU_8K, turn * 160), clock.now_ms())
            if running.events is not None:
                running.events.sound(Source.CALLER, "caller", AudioFrame(b"\x10" * 160, PCMU_8K, 0), clock.now_ms())
        await later(5)

    writer = run(many(tmp_path, hum))
    parts = 1 if replay is ReplayPolicy.OFF else 2  # the event log is a block of its own
    timed = [at_ms for at_ms in writer.at_ms if (at_ms - 1_003_000) % 5000]  # without the blocks that a frame triggered
    assert len(timed) >= CALLS * 8
    assert most_within(timed, 20) <= MOST_IN_20_MS * parts


def begin(recorder: Recorder, clock: Clock, number: int, replay: ReplayPolicy) -> CallRecording:
    running = recorder.begin(
        SessionKey("default", f"s{number}"),
        recording=True,
        replay=replay,
        agent="harbour",
        version="1",
        formats={},
        started_ms=clock.now_ms(),
    )
    assert running is not None
    return running


async def many(folder: Path, call) -> Counting:  # type: ignore[no-untyped-def]
    """150 calls that begin one after another, within one block."""
    clock = LoopClock(asyncio.get_running_loop(), 1e9)
    writer = Counting(clock)
    finisher = Finisher(FolderBlobs(folder, inline=True), inline=True)
    recorder = Recorder(folder, writer, finisher, lambda document: None, clock)
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(recorder.run())
        async with asyncio.TaskGroup() as calls:
            for number in range(CALLS):
                await later(BLOCK_MS / CALLS / 1000)
                calls.create_task(call(recorder, clock, number))
        serving.cancel()
    return writer


def test_a_backlog_behind_a_slow_disk_is_written_with_pauses(tmp_path: Path) -> None:
    async def main() -> None:
        written: list[int] = []
        pauses: list[int] = []

        class Noting(Sink):
            def write(self, parts, files=None):  # type: ignore[no-untyped-def]
                written.append(1)

        writer = SpoolWriter(pause=lambda seconds: pauses.append(len(written)))
        for _ in range(50):
            writer.append(Noting(tmp_path), [("a", b"x")])
        writer.start()
        async with asyncio.timeout(5):
            await writer.settled()
        await writer.close()
        assert len(written) == 50
        assert pauses == list(range(BATCH_MAX_BLOCKS, 50, BATCH_MAX_BLOCKS))

    asyncio.run(main())
