"""The fast paths of a telephone call: whatever comes in whatever order, a call with them is the call without them."""

from __future__ import annotations

import asyncio
import base64
import os
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.calls.call_rig import SETUP, later
from support.calls.phone_socket import MemorySocket, PlainCodec
from support.calls.socket_call import PlainCallerLeg, SocketCall
from support.virtual import run

from audio.formats import PCM16_8K, PCM16_24K, PCMA_8K, PCMU_8K, AudioFormat
from audio.playout import FarEndRules, Framing
from gateway.callers.phone.calls import ExpectedCall, PhoneCalls
from gateway.callers.phone.codec import MediaStarted
from gateway.callers.phone.line_feed import LineWatch
from gateway.callers.phone.receiver import PhoneReceiver
from gateway.calls.converted_sound import ConvertingConnector
from gateway.calls.running import RunningCall
from gateway.legs.phone import PhoneLeg
from gateway.legs.ticker import Ticker
from sessions.agent import ReplayPolicy

EXAMPLES = int(os.environ.get("TEST_EXAMPLES", "0"))
FRAME_MS = 20
LOUD = b"\x10\x20\xf0\xdf" * 240

# What far ends take, and what the model's session is in.
LINES: dict[str, tuple[FarEndRules, AudioFormat]] = {
    "marks": (FarEndRules(PCMU_8K, 400, Framing.ANY, mark_every_ms=200), PCMU_8K),
    "whole frames": (FarEndRules(PCMA_8K, 200, Framing.WHOLE, counts_dropped=True), PCMA_8K),
    "one by one": (FarEndRules(PCM16_8K, 0, Framing.ONE), PCMU_8K),
    "one by one, ahead": (FarEndRules(PCM16_8K, 160, Framing.ONE), PCM16_24K),
    "another rate": (FarEndRules(PCMU_8K, 400, Framing.ANY, mark_every_ms=200, counts_dropped=True), PCM16_24K),
}


class PhoneOnSockets(SocketCall):
    """A call of a telephone."""

    def __init__(self, folder: Path, line: str, *, fast_paths: bool, replay: ReplayPolicy) -> None:
        self.rules, self.format = LINES[line]
        setup = replace(SETUP, input_format=self.format, output_format=self.format)
        super().__init__(
            folder, fast_paths=fast_paths, replay=replay, client_plays=False, setup=setup, wrap=ConvertingConnector
        )
        self.clock = self.rig.clock
        self.leg: PhoneLeg | None = None
        expected = ExpectedCall(cast(Any, None), "plain")
        self.receiver = PhoneReceiver(expected, PlainCodec(rules=self.rules), cast(PhoneCalls, OneCall(self)))
        self.phone = MemorySocket(self.receiver, self.clock.now_ms)
        self.phone.says({"start": {"call": "mine"}})

    def do(self, step: tuple[Any, ...], index: int) -> None:
        match step:
            case ("caller", ms):
                size = self.rules.format.bytes_for_ms(ms)
                self.phone.speaks((LOUD if index % 50 < 30 else bytes(1920))[:size])
            case ("agent", ms):
                sound = (LOUD if index % 7 else bytes(1920))[: self.format.bytes_for_ms(ms)]
                delta = base64.b64encode(sound).decode()
                self.tell("response.output_audio.delta", **self.place, delta=delta)
            case ("echo",):
                marks = [told["mark"] for told in self.phone.told if "mark" in told]
                self.phone.says({"echo": marks[index % len(marks)] if marks else "0-0"})
            case ("key",):
                self.phone.says({"key": "7"})
            case ("full", full):
                self.phone.says({"full": full})
            case ("holds", ms):
                self.phone.says({"holds": ms})
            case ("dropped", ms):
                self.phone.says({"dropped": ms})
            case ("nonsense",):
                self.phone.says(b"{")
            case _:
                super().do(step, index)


class OneCall:
    """Stands in for the process's telephone calls: begins the one call that the test made."""

    def __init__(self, call: PhoneOnSockets) -> None:
        self._call = call
        self.clock = call.clock
        self.lines = LineWatch(call.clock)

    def begin(self, expected: ExpectedCall, started: MediaStarted) -> tuple[PhoneLeg, RunningCall]:
        call = self._call
        call.leg = leg = PhoneLeg(started.rules, Ticker(self.clock), self.clock)
        call.running.attach(leg if call.fast_paths else PlainCallerLeg(leg))
        leg.connect(call.running.from_caller, call.running.fault)
        return leg, call.running


STEPS = st.one_of(
    st.tuples(st.just("caller"), st.sampled_from([20] * 6 + [10, 30])),
    st.tuples(st.just("agent"), st.sampled_from([20] * 6 + [10, 30, 0])),
    st.tuples(st.just("talk"), st.integers(1, 60)),
    st.tuples(st.just("speaks ahead"), st.integers(1, 60)),
    st.tuples(st.just("pass"), st.sampled_from([1, 19, 20, 70, 300, 1500, 9000])),
    st.sampled_from([("answer",), ("words",), ("speech", "began"), ("speech", "ended"), ("echo",), ("key",)]),
    st.sampled_from([("full", True), ("full", False), ("holds", 100), ("holds", 900), ("nonsense",)]),
    st.tuples(st.just("dropped"), st.sampled_from([0, 60, 140, 9000])),
)


def told(folder: Path, line: str, steps: list[tuple[Any, ...]], *, fast: bool, replay: ReplayPolicy) -> dict[str, Any]:
    """Everything that a call with these steps saves and sends."""

    async def whole() -> dict[str, Any]:
        call = PhoneOnSockets(folder, line, fast_paths=fast, replay=replay)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(call.running.run())
            await call.connect()
            for index, step in enumerate(steps):
                if step[0] == "pass":
                    await later(step[1] / 1000)
                elif step[0] == "talk":  # both sides, in real time
                    for frame in range(step[1]):
                        call.do(("caller", FRAME_MS), frame)
                        call.do(("agent", FRAME_MS), frame)
                        await later(FRAME_MS / 1000)
                elif step[0] == "speaks ahead":
                    for frame in range(step[1]):
                        call.do(("agent", FRAME_MS), frame)
                else:
                    call.do(step, index)
            call.running.hang_up("test_over")
        return {**call.told(), "phone": list(zip(call.phone.at_ms, call.phone.sent, strict=True))}

    return run(whole())


@settings(max_examples=EXAMPLES or 60, deadline=None)
@given(line=st.sampled_from(list(LINES)), steps=st.lists(STEPS, max_size=25), replay=st.sampled_from(ReplayPolicy))
@example("marks", [("answer",), ("talk", 60), ("echo",), ("speech", "began")], ReplayPolicy.FULL)
@example("whole frames", [("answer",), ("talk", 60), ("speech", "began"), ("dropped", 60)], ReplayPolicy.FULL)
@example("one by one", [("answer",), ("speaks ahead", 60), ("pass", 300), ("speech", "began")], ReplayPolicy.OFF)
def test_a_telephone_call_with_fast_paths_is_the_call_without(
    line: str, steps: list[tuple[Any, ...]], replay: ReplayPolicy
) -> None:
    steps = [("answer",), ("talk", 3), *steps]
    found = []
    for fast in (True, False):
        with TemporaryDirectory() as folder:
            found.append(told(Path(folder), line, steps, fast=fast, replay=replay))
    with_fast_paths, without = found
    for name, expected in without.items():
        assert with_fast_paths[name] == expected, name


@pytest.mark.parametrize("line", LINES)
def test_the_fast_paths_are_used(line: str) -> None:
    """If they were not, the test above would compare a thing with itself."""

    async def whole(folder: Path) -> None:
        call = PhoneOnSockets(folder, line, fast_paths=True, replay=ReplayPolicy.OFF)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(call.running.run())
            await call.connect()
            call.begin()
            for frame in range(8):
                call.do(("caller", FRAME_MS), frame)
                call.do(("agent", FRAME_MS), frame)
                await later(FRAME_MS / 1000)
            assert call.leg is not None
            assert call.model is not None
            assert not call.leg.fast_path.closed
            assert not call.model.fast_path.closed
            call.end()
            assert (call.leg.fast_path.closed, call.model.fast_path.closed) == (False, True)
            call.running.hang_up("test_over")
        assert call.leg.fast_path.closed

    with TemporaryDirectory() as folder:
        run(whole(Path(folder)))


def test_a_frame_behind_a_hole_begins_a_run_of_its_own() -> None:
    async def whole(folder: Path) -> dict[str, Any]:
        call = PhoneOnSockets(folder, "marks", fast_paths=True, replay=ReplayPolicy.OFF)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(call.running.run())
            await call.connect()
            for frame in range(10):
                call.do(("caller", FRAME_MS), frame)
                await later(0.15 if frame == 5 else FRAME_MS / 1000)
            call.phone.says({"stop": 1})
        return call.told()

    with TemporaryDirectory() as folder:
        summary = run(whole(Path(folder)))["summary"]
    assert summary.caller_audio_ms == 10 * FRAME_MS
    assert summary.line.filled_ms > 0
