"""Streams and runs of frames."""

from __future__ import annotations

from audio.formats import PCM16_24K, PCMU_8K, AudioFrame
from audio.runs import FrameRun, SoundStream


def test_a_stream_counts_what_it_has_brought() -> None:
    stream = SoundStream(PCM16_24K, 100)
    assert stream.frame(bytes(960)) == AudioFrame(bytes(960), PCM16_24K, 100)
    assert stream.frame(bytes(2)).start_sample == 580
    assert stream.samples == 581


def test_a_run_is_its_frames_one_after_another() -> None:
    run = FrameRun([b"ab", b"c"], [20, 45], PCMU_8K, 8, 3)
    assert run.samples == 3
    assert list(run.frames()) == [(AudioFrame(b"ab", PCMU_8K, 8), 20), (AudioFrame(b"c", PCMU_8K, 10), 45)]
