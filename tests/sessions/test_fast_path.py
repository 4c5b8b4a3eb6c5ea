from __future__ import annotations

import pytest
from support.calls.call_driver import Driver, begins, caller_audio, hears, hung_up, item, lost, pcm, says, sounds

from audio.formats import PCM16_8K
from audio.runs import FrameRun
from sessions.commands import Relay, SaveTurn
from sessions.events import CallEvent, ModelPassed, ModelReady, Wire
from sessions.fast_path import commands_wait_for_sound, waits_for_sound

FRAME_MS = 20


def run_of(frames: int, from_ms: int) -> FrameRun:
    """Frames that arrived in real time, the first at `from_ms`."""
    payload = pcm(FRAME_MS, True)
    at_ms = [from_ms + n * FRAME_MS for n in range(frames)]
    return FrameRun([payload] * frames, at_ms, PCM16_8K, 0, len(payload) * frames)


def test_caller_sound_may_take_the_fast_path_while_the_models_leg_is_open() -> None:
    call = Driver(ready=False)
    assert not call.call.fast_path.caller_open
    call(ModelReady())
    assert call.call.fast_path.caller_open
    call(lost())
    assert not call.call.fast_path.caller_open
    call(ModelReady())
    call(hung_up())
    assert not call.call.fast_path.caller_open


def test_speech_may_take_the_fast_path_once_its_first_sound_is_audible() -> None:
    call = Driver()
    call(begins(), item())
    assert call.call.fast_path.agent_open is None
    call(sounds(FRAME_MS, loud=False))
    assert call.call.fast_path.agent_open is None  # the answer's first audible sample is still waited for
    call(sounds(FRAME_MS))
    assert call.call.fast_path.agent_open == ("resp_1", "agent_1")
    call(hears())
    assert call.call.fast_path.agent_open is None


def test_sound_noted_in_runs_counts_as_sound_taken_frame_by_frame() -> None:
    fast, usual = Driver(), Driver()
    for call in (fast, usual):
        call(begins(), *says("one two three", FRAME_MS))
    start_ms = usual.now_ms
    for _ in range(5):
        usual(caller_audio(FRAME_MS), sounds(FRAME_MS))
        usual.wait(FRAME_MS)
    fast.wait(5 * FRAME_MS)
    fast.call.fast_path.caller_run(run_of(5, start_ms))
    fast.call.fast_path.agent_run("agent_1", run_of(5, start_ms))
    assert fast.call.summary(fast.now_ms) == usual.call.summary(usual.now_ms)
    assert fast.call.played(fast.now_ms) == usual.call.played(usual.now_ms)


def test_sound_noted_after_the_end_changes_nothing() -> None:
    call = Driver()
    call(begins(), *says("one", FRAME_MS), hung_up())
    summary = call.call.summary(call.now_ms)
    call.call.fast_path.caller_run(run_of(5, call.now_ms))
    call.call.fast_path.agent_run("agent_1", run_of(5, call.now_ms))
    assert call.call.summary(call.now_ms) == summary


PASSED = ModelPassed(Wire("realtime", b"{}", {}))


@pytest.mark.parametrize(
    ("event", "waits"),
    [(PASSED, False), (says("one", FRAME_MS)[1], False), (hears(), True), (sounds(FRAME_MS), True), (hung_up(), True)],
)
def test_what_reads_playback_or_moves_a_deadline_or_a_fast_path_waits_for_sound(event: CallEvent, waits: bool) -> None:
    assert waits_for_sound(event) is waits


def test_a_turn_that_is_saved_again_waits_for_sound_and_a_relayed_message_does_not() -> None:
    assert not commands_wait_for_sound([])
    assert not commands_wait_for_sound([Relay(PASSED)])
    assert commands_wait_for_sound([SaveTurn(0)])
    assert commands_wait_for_sound([Relay(PASSED), SaveTurn(0)])
