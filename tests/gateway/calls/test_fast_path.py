"""The fast paths of a call: whatever comes in whatever order, a call with them is the call without them."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.calls.call_rig import later
from support.calls.socket_call import KeptSocket, PlainCallerLeg, SocketCall
from support.virtual import run

from audio.formats import PCM16_24K
from audio.runs import SoundStream
from gateway.callers.realtime.codec import RealtimeCallerCodec
from gateway.callers.realtime.leg import MAX_UNSENT_MS, RealtimeCallerLeg
from gateway.callers.realtime.view import ClientView
from gateway.clock import NS_A_MS
from gateway.ids import CountingIds
from gateway.legs.fast_path_end import MAX_FRAMES, MAX_WAIT_MS, FastPathEnd, SoundSource
from gateway.models.realtime.codec import RealtimeModelCodec
from gateway.models.realtime.leg import RealtimeModelLeg
from gateway.realtime.scan import PLAIN, PLAIN_APPEND
from gateway.realtime.session import AgentSide, EffectiveSession
from gateway.recording.tracks import CALLER_FILE, INDEX_FILE, read_index, stretches
from sessions.agent import ReplayPolicy, TurnDetection
from sessions.events import ModelEvent, SpeechStarted

EXAMPLES = int(os.environ.get("TEST_EXAMPLES", "0"))
FRAME_MS = 20
LOUD = b"\x10\x20\xf0\xdf" * 240


class CallOnSockets(SocketCall):
    """A call of a Realtime client."""

    def __init__(self, folder: Path, *, fast_paths: bool, replay: ReplayPolicy) -> None:
        super().__init__(folder, fast_paths=fast_paths, replay=replay)
        self.client = KeptSocket()
        side = AgentSide("Be brief.", (), None, None, TurnDetection(), None, None)
        view = ClientView(CountingIds(), frozenset(), show_tools=False)
        session = EffectiveSession.for_agent(side, "sess_2", 2_000_000_000, "desk")
        codec = RealtimeCallerCodec(session, view, CountingIds(), frozenset())
        self.leg = RealtimeCallerLeg(codec, view, self.running.from_caller, self.running.log)
        self.leg.opened(self.client)
        self.running.attach(self.leg if fast_paths else PlainCallerLeg(self.leg))

    def caller_frame(self, index: int, shape: str) -> None:
        sound = base64.b64encode(LOUD if index % 50 < 30 else bytes(960)).decode()
        message: dict[str, Any] = {"type": "input_audio_buffer.append", "audio": sound}
        if shape == "id behind":
            message["event_id"] = f"mine_{index}"
        elif shape == "id first":
            message = {"event_id": f"mine_{index}", **message}
        elif shape == "half":
            message["audio"] = base64.b64encode(b"odd").decode()
        elif shape == "no base64":
            message["audio"] = "####"
        self.leg.text(orjson.dumps(message))

    def agent_frame(self, index: int, payload_bytes: int) -> None:
        sound = (LOUD if index % 7 else bytes(960))[:payload_bytes]
        self.tell("response.output_audio.delta", **self.place, delta=base64.b64encode(sound).decode())

    def do(self, step: tuple[Any, ...], index: int) -> None:
        """One thing that happens."""
        match step:
            case ("caller", shape):
                self.caller_frame(index, shape)
            case ("agent", payload_bytes):
                self.agent_frame(index, payload_bytes)
            case ("truncate", heard_ms):
                cut = {"item_id": f"item_a{self.answers}", "content_index": 0, "audio_end_ms": heard_ms}
                self.leg.text(orjson.dumps({"type": "conversation.item.truncate", **cut}))
            case ("cancel",):
                self.leg.text(b'{"type":"response.cancel"}')
            case ("format", kind):
                sound = {"audio": {"input": {"format": {"type": kind}}}}
                self.leg.text(orjson.dumps({"type": "session.update", "session": {"type": "realtime", **sound}}))
            case _:
                super().do(step, index)


STEPS = st.one_of(
    st.tuples(st.just("caller"), st.sampled_from(["plain"] * 6 + ["id behind", "id first", "half", "no base64"])),
    st.tuples(st.just("agent"), st.sampled_from([960] * 6 + [480, 959, 0])),
    st.tuples(st.just("talk"), st.integers(1, 60)),
    st.tuples(st.just("pass"), st.sampled_from([1, 19, 20, 70, 300, 1500, 9000])),
    st.sampled_from([("answer",), ("words",), ("speech", "began"), ("speech", "ended"), ("cancel",)]),
    st.tuples(st.just("truncate"), st.sampled_from([0, 40, 5000])),
    st.tuples(st.just("format"), st.sampled_from(["audio/pcmu", "audio/pcm"])),
)


# Deadlines fall on whole milliseconds, and steps never do: what comes first of two at the same time is left open.
OFF_BEAT_S = 0.0003


def told(folder: Path, steps: list[tuple[Any, ...]], *, fast_paths: bool, replay: ReplayPolicy) -> dict[str, Any]:
    """Everything that a call with these steps saves and sends."""

    async def whole() -> dict[str, Any]:
        line = CallOnSockets(folder, fast_paths=fast_paths, replay=replay)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(line.running.run())
            await line.connect()
            await later(OFF_BEAT_S)
            for index, step in enumerate(steps):
                if step[0] == "pass":
                    await later(step[1] / 1000)
                elif step[0] == "talk":  # both sides, in real time
                    for frame in range(step[1]):
                        line.caller_frame(frame, "plain")
                        line.agent_frame(frame, 960)
                        await later(FRAME_MS / 1000)
                else:
                    line.do(step, index)
            line.running.hang_up("test_over")
        return {**line.told(), "client": line.client.sent}

    return run(whole())


def in_a_folder(
    steps: list[tuple[Any, ...]], *, fast_paths: bool, replay: ReplayPolicy = ReplayPolicy.OFF
) -> dict[str, Any]:
    with TemporaryDirectory() as folder:
        return told(Path(folder), steps, fast_paths=fast_paths, replay=replay)


@asynccontextmanager
async def calling(folder: Path) -> AsyncIterator[CallOnSockets]:
    """A running call with fast paths, connected at both ends; it ends after the block."""
    line = CallOnSockets(folder, fast_paths=True, replay=ReplayPolicy.OFF)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(line.running.run())
        await line.connect()
        yield line
        line.running.hang_up("test_over")


@settings(max_examples=EXAMPLES or 60, deadline=None)
@given(steps=st.lists(STEPS, max_size=25), replay=st.sampled_from(ReplayPolicy))
@example([("answer",), ("caller", "plain"), ("words",)], ReplayPolicy.OFF)  # a word behind its answer's end
@example([("pass", 1500), *[("pass", 9000)] * 3, ("pass", 1500)], ReplayPolicy.OFF)  # the end as the answer stalls
def test_a_call_with_fast_paths_is_the_call_without(steps: list[tuple[Any, ...]], replay: ReplayPolicy) -> None:
    steps = [("answer",), ("talk", 3), *steps]
    fast, usual = (in_a_folder(steps, fast_paths=fast_paths, replay=replay) for fast_paths in (True, False))
    for name, expected in usual.items():
        assert fast[name] == expected, name


def test_the_fast_paths_are_used() -> None:
    """If they were not, the test above would compare a thing with itself."""

    async def whole(folder: Path) -> None:
        async with calling(folder) as line:
            line.begin()
            for frame in range(8):  # the first is read the usual way, and so is the answer until it is audible
                line.caller_frame(frame, "plain")
                line.agent_frame(frame, 960)
                await later(FRAME_MS / 1000)
            assert line.model is not None
            assert not line.leg.fast_path.closed
            assert not line.model.fast_path.closed
            line.end()
            assert (line.leg.fast_path.closed, line.model.fast_path.closed) == (False, True)
            line.running.hang_up("test_over")
            assert line.leg.fast_path.closed

    with TemporaryDirectory() as folder:
        run(whole(Path(folder)))


@pytest.mark.parametrize("how", ["the client cancels", "the caller speaks", "the answer ends", "nobody takes it"])
def test_no_speech_takes_the_fast_path_once_its_answer_was_cut_short_or_is_over(how: str) -> None:
    async def whole(folder: Path) -> None:
        async with calling(folder) as line:
            line.begin()
            for frame in range(6):
                line.agent_frame(frame, 960)
                await later(FRAME_MS / 1000)
            assert line.model is not None
            assert not line.model.fast_path.closed
            if how == "the client cancels":
                line.do(("cancel",), 0)
            elif how == "the caller speaks":
                line.do(("speech", "began"), 0)
            elif how == "the answer ends":
                line.end()
            else:
                line.client.unsent_bytes = PCM16_24K.bytes_for_ms(MAX_UNSENT_MS + 1) * 4 // 3
                line.model.fast_path.flush()
            sent = len(line.client.sent)
            assert line.model.fast_path.closed
            for frame in range(MAX_FRAMES):
                line.agent_frame(frame, 960)
                line.do(("words",), 0)
            assert line.client.sent[sent:] == []
            assert line.call.summary(0).agent_audio_ms == 6 * FRAME_MS

    with TemporaryDirectory() as folder:
        run(whole(Path(folder)))


def test_sound_is_noted_soon_though_nothing_else_happens() -> None:
    async def whole(folder: Path) -> None:
        async with calling(folder) as line:
            heard_ms = []
            for frame in range(1 + 2 * MAX_FRAMES):
                line.caller_frame(frame, "plain")
                await later(FRAME_MS / 1000)
                heard_ms.append(line.call.summary(0).caller_audio_ms)
            lags_ms = [(1 + frame) * FRAME_MS - known_ms for frame, known_ms in enumerate(heard_ms)]
            assert 0 < max(lags_ms) <= MAX_WAIT_MS
        assert line.call.summary(0).caller_audio_ms == (1 + 2 * MAX_FRAMES) * FRAME_MS

    with TemporaryDirectory() as folder:
        run(whole(Path(folder)))


def test_a_pause_between_two_frames_of_a_fast_path_is_kept_in_the_recording() -> None:
    async def whole(folder: Path) -> list[tuple[int, int]]:
        async with calling(folder) as line:
            for frame in range(12):
                line.caller_frame(frame, "plain")
                await later(0.3 if frame == 5 else FRAME_MS / 1000)
        _, runs = read_index(line.folder / INDEX_FILE)
        found = stretches(runs, "caller", (line.folder / CALLER_FILE).stat().st_size)
        return [(one.run.at_ms, one.samples) for one in found]

    with TemporaryDirectory() as folder:
        (first_ms, before), (second_ms, after) = run(whole(Path(folder)))
    assert (before, after, second_ms - first_ms) == (6 * 480, 6 * 480, 5 * FRAME_MS + 300)


def test_a_position_of_a_fresh_leg_counts_the_sound_that_a_fast_path_has_carried_to_it() -> None:
    settled: list[bool] = []
    codec = RealtimeModelCodec(CountingIds(), speaks_given_text=False)
    told: list[ModelEvent] = []
    leg = RealtimeModelLeg(codec, told.append)
    socket = KeptSocket()
    leg.opened(socket)

    def flush() -> None:
        run = fast_path.take()
        if run is not None:
            settled.append(True)
            leg.fast_path.note_sent(run)

    fast_path = FastPathEnd()
    for end in (fast_path, leg.fast_path):  # the model's own stays closed
        end.attach(lambda: 10_000 * NS_A_MS, flush, flush)
    ten_seconds_in = SoundStream(PCM16_24K, 240_000)
    send = leg.fast_path.sender(None)
    assert send is not None
    fast_path.open(SoundSource(PLAIN, ten_seconds_in), send)
    for _ in range(MAX_FRAMES - 1):
        assert fast_path.carry(PLAIN_APPEND + base64.b64encode(bytes(960)) + b'"}')
    leg.text(orjson.dumps({"type": "input_audio_buffer.speech_started", "item_id": "i", "audio_start_ms": 100}))
    (started,) = told
    assert isinstance(started, SpeechStarted)
    assert (started.at_ms, settled) == (10_100, [True])
