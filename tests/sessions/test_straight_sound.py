from __future__ import annotations

from call_driver import Driver, begins, caller_audio, hears, hung_up, item, lost, pcm, says, sounds

from audio.formats import PCM16_8K
from audio.runs import FrameRun
from sessions.events import ModelReady

FRAME_MS = 20


def run_of(frames: int, from_ms: int) -> FrameRun:
    """Frames that arrived in real time, the first at `from_ms`."""
    payload = pcm(FRAME_MS, True)
    at_ms = [from_ms + n * FRAME_MS for n in range(frames)]
    return FrameRun([payload] * frames, at_ms, PCM16_8K, 0, len(payload) * frames)


def test_caller_sound_goes_straight_while_the_models_leg_is_open() -> None:
    call = Driver(ready=False)
    assert not call.call.straight.hears
    call(ModelReady())
    assert call.call.straight.hears
    call(lost())
    assert not call.call.straight.hears
    call(ModelReady())
    call(hung_up())
    assert not call.call.straight.hears


def test_speech_goes_straight_once_its_first_sound_has_been_heard() -> None:
    call = Driver()
    call(begins(), item())
    assert call.call.straight.speaks is None
    call(sounds(FRAME_MS, loud=False))
    assert call.call.straight.speaks is None  # the answer's first audible sample is still waited for
    call(sounds(FRAME_MS))
    assert call.call.straight.speaks == ("resp_1", "agent_1")
    call(hears())
    assert call.call.straight.speaks is None


def test_sound_told_in_runs_counts_as_sound_told_frame_by_frame() -> None:
    straight, usual = Driver(), Driver()
    for call in (straight, usual):
        call(begins(), *says("one two three", FRAME_MS))
    start_ms = usual.now_ms
    for _ in range(5):
        usual(caller_audio(FRAME_MS), sounds(FRAME_MS))
        usual.wait(FRAME_MS)
    straight.wait(5 * FRAME_MS)
    straight.call.straight.caller_run(run_of(5, start_ms))
    straight.call.straight.agent_run("agent_1", run_of(5, start_ms))
    assert straight.call.summary(straight.now_ms) == usual.call.summary(usual.now_ms)
    assert straight.call.played(straight.now_ms) == usual.call.played(usual.now_ms)


def test_sound_told_after_the_end_changes_nothing() -> None:
    call = Driver()
    call(begins(), *says("one", FRAME_MS), hung_up())
    summary = call.call.summary(call.now_ms)
    call.call.straight.caller_run(run_of(5, call.now_ms))
    call.call.straight.agent_run("agent_1", run_of(5, call.now_ms))
    assert call.call.summary(call.now_ms) == summary
