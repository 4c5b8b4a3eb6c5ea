"""Tests for streams and runs of frames."""

from __future__ import annotations

from audio.formats import PCM16_24K, PCMU_8K, AudioFrame
from audio.runs import FrameRun, SoundStream


def test_a_stream_counts_the_samples_of_its_frames() -> None:
    stream = SoundStream(PCM16_24K, 100)
    assert stream.frame(bytes(960)) == AudioFrame(bytes(960), PCM16_24K, 100)
    assert stream.frame(bytes(2)).start_sample == 580
    assert stream.samples == 581


def test_a_run_yields_its_frames_in_order() -> None:
    run = FrameRun([b"ab", b"c"], [20, 45], PCMU_8K, 8, 3)
    assert run.samples == 3
    assert list(run.frames()) == [(AudioFrame(b"ab", PCMU_8K, 8), 20), (AudioFrame(b"c", PCMU_8K, 10), 45)]
