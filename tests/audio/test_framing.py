"""Framing and pacing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio.formats import PCM16_8K, PCM16_24K, PCMU_8K, AudioFormat, AudioFrame, Coding
from audio.framing import Framer, Pacer


def test_a_run_is_cut_into_exact_frames_and_the_rest_carried() -> None:
    framer = Framer(PCMU_8K, 20)
    assert framer.feed(b"a" * 100) == []
    assert framer.feed(b"b" * 250) == [
        AudioFrame(b"a" * 100 + b"b" * 60, PCMU_8K, 0),
        AudioFrame(b"b" * 160, PCMU_8K, 160),
    ]
    assert framer.flush() == AudioFrame(b"b" * 30 + b"\xff" * 130, PCMU_8K, 320)
    assert framer.flush() is None


@given(
    payload=st.binary(max_size=3000),
    cuts=st.lists(st.integers(0, 3000), max_size=12),
    format=st.sampled_from([PCMU_8K, PCM16_8K, PCM16_24K]),
)
def test_frames_do_not_depend_on_how_the_stream_was_cut(payload: bytes, cuts: list[int], format: AudioFormat) -> None:
    whole = Framer(format, 10)
    expected = (whole.feed(payload), whole.flush())
    framer = Framer(format, 10)
    frames, at = [], 0
    for cut in [*sorted(min(cut, len(payload)) for cut in cuts), len(payload)]:
        frames += framer.feed(payload[at:cut])
        at = cut
    assert (frames, framer.flush()) == expected
    assert b"".join(frame.payload for frame in frames) == payload[: len(frames) * format.bytes_for_ms(10)]
    assert [frame.start_sample for frame in frames] == [n * format.rate_hz // 100 for n in range(len(frames))]


def test_half_a_sample_waits_and_is_dropped_at_the_end() -> None:
    framer = Framer(PCM16_8K, 10)
    framer.feed(b"\x01")
    assert framer.flush() is None
    framer.feed(b"\x01\x02\x03")
    assert framer.flush() == AudioFrame(b"\x01\x02" + bytes(158), PCM16_8K, 0)


def test_interrupted_speech_leaves_no_remainder() -> None:
    framer = Framer(PCMU_8K, 20)
    framer.feed(b"a" * 170)
    framer.discard()
    assert framer.feed(b"b" * 160) == [AudioFrame(b"b" * 160, PCMU_8K, 160)]


@pytest.mark.parametrize(("rate_hz", "frame_ms"), [(22050, 5), (8000, 0), (8000, -20)])
def test_a_frame_that_is_no_whole_number_of_samples_is_refused(rate_hz: int, frame_ms: int) -> None:
    with pytest.raises(ValueError, match="whole number of samples"):
        Framer(AudioFormat(Coding.PCM16, rate_hz), frame_ms)


# ---- Pacer


def test_a_buffering_far_end_gets_its_lead_at_once_and_then_real_time() -> None:
    pacer = Pacer(frame_ms=20, ahead_ms=400)
    assert pacer.next_ms() is None
    assert pacer.take(1000, 500) == 20
    assert pacer.ahead_ms(1000) == 400
    assert pacer.take(1000, 480) == 0
    assert pacer.next_ms() == 1020
    assert pacer.take(1019, 480) == 0
    assert pacer.take(1020, 480) == 1
    assert pacer.take(1100, 479) == 4


def test_exact_pacing_sends_one_frame_in_each_frames_time() -> None:
    pacer = Pacer(frame_ms=20, ahead_ms=0)
    assert [pacer.take(now_ms, 50) for now_ms in (0, 1, 19, 20, 39, 40, 60)] == [1, 0, 0, 1, 0, 1, 1]


def test_exact_pacing_catches_up_with_a_late_timer_so_the_rate_holds() -> None:
    pacer = Pacer(frame_ms=20, ahead_ms=0)
    assert [pacer.take(now_ms, 50) for now_ms in (0, 27, 41, 90, 100)] == [1, 1, 1, 2, 1]


def test_exact_pacing_does_not_burst_after_a_stall() -> None:
    pacer = Pacer(frame_ms=20, ahead_ms=0)
    assert [pacer.take(now_ms, 50) for now_ms in (0, 500, 510, 520)] == [1, 1, 0, 1]


def test_speech_after_a_pause_begins_a_new_lead() -> None:
    pacer = Pacer(frame_ms=20, ahead_ms=100)
    assert pacer.take(0, 3) == 3
    assert pacer.take(30, 0) == 0
    assert pacer.ahead_ms(30) == 30
    assert pacer.take(75, 9) == 5
    assert pacer.ahead_ms(75) == 100


def test_a_far_end_that_dropped_its_buffer_has_a_new_lead() -> None:
    pacer = Pacer(frame_ms=20, ahead_ms=100)
    pacer.take(0, 9)
    pacer.clear()
    assert pacer.ahead_ms(1) == 0
    assert pacer.take(1, 9) == 5


def test_asking_without_frames_starts_nothing() -> None:
    pacer = Pacer(frame_ms=20, ahead_ms=0)
    assert pacer.take(-500, 0) == 0
    assert pacer.next_ms() is None
    assert pacer.take(-490, 1) == 1


@given(
    ahead_ms=st.integers(0, 500),
    steps=st.lists(st.tuples(st.integers(0, 120), st.integers(0, 30)), min_size=1, max_size=60),
)
def test_sending_is_never_more_than_the_lead_in_front_of_real_time(ahead_ms: int, steps: list[tuple[int, int]]) -> None:
    pacer = Pacer(20, ahead_ms)
    now_ms, waiting, sent = 0, 0, 0
    first_ms: int | None = None
    for step_ms, arrived in steps:
        now_ms += step_ms
        waiting += arrived
        frames = pacer.take(now_ms, waiting)
        assert 0 <= frames <= waiting
        waiting -= frames
        sent += frames
        if frames and first_ms is None:
            first_ms = now_ms
        if first_ms is not None:
            assert sent * 20 <= now_ms - first_ms + max(ahead_ms, 20)
        assert pacer.ahead_ms(now_ms) <= max(ahead_ms, 20)


@pytest.mark.parametrize(("frame_ms", "ahead_ms"), [(0, 0), (20, -1)])
def test_a_pace_that_makes_no_sense_is_refused(frame_ms: int, ahead_ms: int) -> None:
    with pytest.raises(ValueError, match="cannot pace"):
        Pacer(frame_ms, ahead_ms)
