"""Tests for the energy gate, which finds when one side was audible to within 5 ms."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audio.formats import PCM16_8K, PCM16_16K, PCM16_24K, PCMA_8K, PCMU_8K, AudioFormat, AudioFrame, Coding
from audio.g711 import encode
from audio.level_history import GATE
from audio.levels import KEEP_MS, FrameTime, LevelTrack
from audio.wav import read_wav

RECORDINGS = Path(__file__).parents[3] / "shared" / "recordings"

FORMATS = [PCM16_24K, PCM16_16K, PCMU_8K, PCMA_8K]


def sound(format: AudioFormat, *parts: tuple[float, float]) -> bytes:
    """Parts of (duration in ms, RMS level), as a 400 Hz tone, in the format's coding."""
    values: list[int] = []
    for duration_ms, level in parts:
        samples = range(round(format.rate_hz * duration_ms / 1000))
        values += [round(level * math.sqrt(2) * math.sin(2 * math.pi * 400 * at / format.rate_hz)) for at in samples]
    pcm16 = struct.pack(f"<{len(values)}h", *values)
    return pcm16 if format.coding is Coding.PCM16 else encode(pcm16, format.coding)


def frames(format: AudioFormat, payload: bytes, samples: int) -> list[AudioFrame]:
    size = samples * format.sample_bytes
    return [AudioFrame(payload[at : at + size], format, at // size) for at in range(0, len(payload), size)]


def captured(format: AudioFormat, payload: bytes, frame_ms: float, first_ms: float = 0.0) -> LevelTrack:
    """A live track: the first sample is spoken at `first_ms`; each frame arrives when its last sample is spoken."""
    track = LevelTrack(format, FrameTime.END)
    samples = 0
    for frame in frames(format, payload, round(format.rate_hz * frame_ms / 1000)):
        samples += frame.samples
        track.feed(frame, first_ms + samples * 1000 / format.rate_hz)
    return track


def played(format: AudioFormat, payload: bytes, frame_ms: float, first_ms: float = 0.0) -> LevelTrack:
    track = LevelTrack(format, FrameTime.BEGIN)
    samples = 0
    for frame in frames(format, payload, round(format.rate_hz * frame_ms / 1000)):
        track.feed(frame, first_ms + samples * 1000 / format.rate_hz)
        samples += frame.samples
    return track


@pytest.mark.parametrize("format", FORMATS, ids=str)
@pytest.mark.parametrize("frame_ms", [10, 20, 100, 32, 7.5])
def test_speech_is_found_to_5_ms_with_frames_of_any_length(format: AudioFormat, frame_ms: float) -> None:
    for begin_ms, length_ms in ((300, 400), (303, 411), (298.5, 97.5)):
        payload = sound(format, (begin_ms, 0), (length_ms, 3000), (500, 0))
        for track in (captured(format, payload, frame_ms, 5000), played(format, payload, frame_ms, 5000)):
            assert track.first_audible_ms() == pytest.approx(5000 + begin_ms, abs=5)
            assert track.last_audible_ms() == pytest.approx(5000 + begin_ms + length_ms, abs=5)


def test_a_latency_between_tracks_with_different_frames_is_right_to_5_ms() -> None:
    caller = captured(PCMU_8K, sound(PCMU_8K, (200, 0), (1003, 2500), (600, 2)), 20, 10_000)
    agent = LevelTrack(PCM16_24K, FrameTime.BEGIN)
    for index, frame in enumerate(frames(PCM16_24K, sound(PCM16_24K, (62, 3), (700, 3000)), 2400)):
        agent.feed(frame, 11_900 + index * 100)
    ended_ms, began_ms = caller.last_audible_ms(), agent.first_audible_ms()
    assert ended_ms is not None
    assert began_ms is not None
    assert began_ms - ended_ms == pytest.approx(11_962 - 11_203, abs=5)


@pytest.mark.parametrize("format", FORMATS, ids=str)
def test_a_quiet_line_is_silent_and_quiet_speech_is_not(format: AudioFormat) -> None:
    assert captured(format, sound(format, (500, 33)), 20).first_audible_ms() is None  # -60 dB
    assert captured(format, sound(format, (500, 33)), 20).last_audible_ms() is None
    assert captured(format, sound(format, (500, 260)), 20).first_audible_ms() == 0  # -42 dB


def test_another_gate_can_be_given() -> None:
    track = captured(PCM16_16K, sound(PCM16_16K, (100, 50), (100, GATE * 2)), 20)
    assert track.first_audible_ms(gate=40) == 0
    assert track.first_audible_ms() == 100
    assert track.last_audible_ms(gate=5000) is None


@pytest.mark.parametrize("at_ms", [100, 101, 102.5, 104])
def test_a_click_does_not_count(at_ms: float) -> None:
    payload = sound(PCM16_16K, (at_ms, 0), (5, 12_000), (300 - at_ms, 0), (200, 3000), (100, 0), (4, 9000), (100, 0))
    track = captured(PCM16_16K, payload, 20)
    assert track.first_audible_ms() == pytest.approx(305, abs=5)
    assert track.last_audible_ms() == pytest.approx(505, abs=5)


def test_a_single_window_between_loud_ones_is_bridged() -> None:
    payload = sound(PCM16_16K, (50, 0), (10, 3000), (5, 0), (5, 3000), (50, 0))
    track = captured(PCM16_16K, payload, 10)
    assert (track.first_audible_ms(), track.last_audible_ms()) == (50, 70)


def test_only_sound_after_since_and_before_until_counts() -> None:
    track = played(PCM16_24K, sound(PCM16_24K, (200, 3000), (200, 0), (200, 3000), (200, 0)), 20)
    assert track.first_audible_ms() == 0
    assert track.first_audible_ms(since_ms=92) == 92
    assert track.first_audible_ms(since_ms=201) == 400
    assert track.first_audible_ms(since_ms=601) is None
    assert track.first_audible_ms(since_ms=9000) is None
    assert track.last_audible_ms() == 600
    assert track.last_audible_ms(until_ms=503) == 503
    assert track.last_audible_ms(until_ms=399) == 200
    assert track.last_audible_ms(until_ms=-50) is None


def test_speech_played_after_a_pause_has_the_time_of_its_own_start() -> None:
    track = LevelTrack(PCM16_24K, FrameTime.BEGIN)
    first = sound(PCM16_24K, (102, 3000))  # ends within a window
    track.feed(AudioFrame(first, PCM16_24K, 0), 1000)
    track.feed(AudioFrame(sound(PCM16_24K, (100, 0), (100, 3000)), PCM16_24K, 0), 5000)
    assert track.first_audible_ms(since_ms=2000) == 5100
    assert track.last_audible_ms(until_ms=4000) == pytest.approx(1102, abs=3)
    assert track.last_audible_ms() == 5200


def test_a_frame_without_samples_changes_nothing() -> None:
    track = played(PCM16_8K, sound(PCM16_8K, (40, 3000)), 20)
    track.feed(AudioFrame(b"", PCM16_8K, 0), 40)
    assert (track.first_audible_ms(), track.last_audible_ms()) == (0, 40)


# ---- live sound over a network

JITTERED = sound(PCM16_16K, (200, 3000), (300, 0))


def test_delayed_frames_are_moved_back_to_when_they_were_spoken() -> None:
    track = LevelTrack(PCM16_16K, FrameTime.END)
    arrivals_ms = [20, 40, 60, 140, 140, 140, 140, 160, 180, 200]  # the frame of 80 ms and those after it were delayed
    payload = sound(PCM16_16K, (100, 3000), (100, 0))
    for frame, at_ms in zip(frames(PCM16_16K, payload, 320), arrivals_ms, strict=True):
        track.feed(frame, at_ms)
    assert track.first_audible_ms() == 0
    assert track.last_audible_ms() == 100


def test_a_pause_in_live_sound_is_a_pause() -> None:
    track = LevelTrack(PCM16_16K, FrameTime.END)
    for at_ms in (20, 40, 1020, 1040):
        track.feed(AudioFrame(sound(PCM16_16K, (20, 3000)), PCM16_16K, 0), at_ms)
    assert track.last_audible_ms(until_ms=900) == 40
    assert track.first_audible_ms(since_ms=50) == 1000


@settings(deadline=None)
@given(delays=st.lists(st.integers(0, 60), min_size=40, max_size=40), frame_samples=st.sampled_from([160, 320, 250]))
def test_jitter_does_not_move_speech_once_frames_are_on_time_again(delays: list[int], frame_samples: int) -> None:
    """Frames never arrive before they were spoken, and keep their order, as on a socket."""
    track = LevelTrack(PCM16_16K, FrameTime.END)
    spoken = arrived = 0.0
    pieces = frames(PCM16_16K, JITTERED, frame_samples)
    for index, frame in enumerate(pieces):
        spoken += frame.samples / 16
        late_ms = delays[index % 40] if index < len(pieces) - 8 else 0
        arrived = max(arrived, spoken + late_ms)
        track.feed(frame, arrived)
    assert track.last_audible_ms() == pytest.approx(200, abs=6)
    assert track.first_audible_ms() == pytest.approx(0, abs=6)


TWICE_LOUD = sound(PCM16_16K, (123, 0), (234, 3000), (99, 0), (50, 2000), (150, 0))


@given(cuts=st.lists(st.integers(1, 900), min_size=1, max_size=30))
def test_levels_do_not_depend_on_how_the_stream_was_cut(cuts: list[int]) -> None:
    payload = TWICE_LOUD
    for frame_time in FrameTime:
        track, at = LevelTrack(PCM16_16K, frame_time), 0
        for cut in [*cuts, len(payload) // 2]:
            piece = payload[2 * at : 2 * (at + cut)]
            samples = len(piece) // 2
            track.feed(
                AudioFrame(piece, PCM16_16K, at), (at + (samples if frame_time is FrameTime.END else 0)) * 1000 / 16000
            )
            at += samples
        assert (track.first_audible_ms(), track.last_audible_ms()) == (120, 510)


# ---- which levels are kept


def test_loud_now_follows_the_newest_sound() -> None:
    track = LevelTrack(PCM16_16K, FrameTime.END)
    heard = []
    for index, frame in enumerate(frames(PCM16_16K, sound(PCM16_16K, (40, 0), (40, 3000), (40, 0)), 320)):
        track.feed(frame, index * 20 + 20)
        heard.append(track.loud_now)
    assert heard == [False, False, True, True, False, False]


def test_a_cleared_track_is_like_a_new_one() -> None:
    track = captured(PCM16_16K, sound(PCM16_16K, (102, 3000)), 20)
    track.clear()
    assert track.first_audible_ms() is None
    assert not track.loud_now
    track.feed(AudioFrame(sound(PCM16_16K, (20, 3000)), PCM16_16K, 0), 9020)
    assert track.first_audible_ms() == 9000


@given(before_ms=st.integers(-100, 1200), frame_ms=st.sampled_from([20, 32]))
def test_trimming_drops_only_what_is_past(before_ms: int, frame_ms: int) -> None:
    payload = sound(PCM16_16K, (100, 3000), (400, 0), (100, 3000), (200, 0))
    track = captured(PCM16_16K, payload, frame_ms)
    track.trim(before_ms)
    after_ms = max(before_ms, 100)
    if before_ms <= 500:
        assert track.first_audible_ms(after_ms) == 500
    if before_ms < 580:
        assert track.last_audible_ms() == 600
    if before_ms >= 605:
        assert track.last_audible_ms() is None
    if before_ms >= 105:
        assert track.last_audible_ms(until_ms=400) is None
    track.feed(AudioFrame(sound(PCM16_16K, (100, 3000)), PCM16_16K, 0), 2100)
    assert track.first_audible_ms(since_ms=1000) == 2000


def test_a_trimmed_track_keeps_the_time_of_every_stretch() -> None:
    track = LevelTrack(PCM16_16K, FrameTime.BEGIN)
    for begin_ms in (0, 1000, 2000):
        track.feed(AudioFrame(sound(PCM16_16K, (100, 3000)), PCM16_16K, 0), begin_ms)
    track.trim(1050)
    assert (track.first_audible_ms(), track.last_audible_ms(until_ms=1500)) == (1050, 1100)
    assert track.first_audible_ms(since_ms=1200) == 2000


def test_the_unplayed_part_of_interrupted_speech_is_removed() -> None:
    track = played(PCM16_24K, sound(PCM16_24K, (1000, 3000)), 100, 500)  # fed at once, plays until 1500 ms
    track.cut(803)
    assert track.last_audible_ms() == pytest.approx(803, abs=5)
    track.feed(AudioFrame(sound(PCM16_24K, (40, 0), (60, 3000)), PCM16_24K, 0), 1100)
    assert track.first_audible_ms(since_ms=900) == 1140
    track.cut(0)
    assert track.first_audible_ms() is None
    track.feed(AudioFrame(sound(PCM16_24K, (60, 3000)), PCM16_24K, 0), 2000)
    assert track.first_audible_ms() == 2000


def test_a_cut_after_the_end_of_playback_changes_nothing() -> None:
    track = played(PCM16_24K, sound(PCM16_24K, (100, 3000)), 20)
    track.cut(500)
    assert (track.first_audible_ms(), track.last_audible_ms()) == (0, 100)


def test_a_track_that_is_never_trimmed_keeps_the_newest_levels() -> None:
    track = LevelTrack(PCMU_8K, FrameTime.END)
    loud, quiet = sound(PCMU_8K, (1000, 3000)), sound(PCMU_8K, (1000, 0))
    seconds = KEEP_MS // 1000 * 2
    for second in range(seconds):
        track.feed(AudioFrame(loud if second in (0, seconds - 2) else quiet, PCMU_8K, 0), second * 1000 + 1000)
    assert track.first_audible_ms() == (seconds - 2) * 1000
    assert track.last_audible_ms() == (seconds - 1) * 1000


def test_another_format_than_the_tracks_is_refused() -> None:
    track = LevelTrack(PCM16_16K, FrameTime.END)
    with pytest.raises(ValueError, match="pcm16/24000 frame"):
        track.feed(AudioFrame(b"", PCM16_24K, 0), 0)
    with pytest.raises(ValueError, match="not whole samples"):
        track.feed(AudioFrame(b"abc", PCM16_16K, 0), 0)
    with pytest.raises(ValueError, match="whole number of samples"):
        LevelTrack(AudioFormat(Coding.PCM16, 22050), FrameTime.END)


@pytest.mark.recordings
@pytest.mark.parametrize(
    "name", ["hello_world", "weather_question", "whatstheweatherlike", "whatstheweatherlike-mulaw"]
)
def test_where_human_speech_begins_and_ends_hardly_depends_on_the_gate(name: str) -> None:
    if not RECORDINGS.is_dir():
        pytest.skip(f"needs the shared recordings in {RECORDINGS}")
    format, channels = read_wav(RECORDINGS / f"{name}.wav")
    track = captured(format, channels[0], 20)
    begin_ms, end_ms = track.first_audible_ms(), track.last_audible_ms()
    assert begin_ms is not None
    assert end_ms is not None
    assert end_ms - begin_ms > 500
    for gate in (round(GATE / math.sqrt(2)), round(GATE * math.sqrt(2))):  # 3 dB lower and 3 dB higher
        assert track.first_audible_ms(gate=gate) == pytest.approx(begin_ms, abs=25)
        assert track.last_audible_ms(gate=gate) == pytest.approx(end_ms, abs=25)
