"""Tests for formats: sizes, times and text forms."""

from __future__ import annotations

import pytest

from audio.formats import PCM16_24K, PCMU_8K, AudioFormat, AudioFrame, Coding, parse_format


def test_sizes_and_times_follow_from_the_format() -> None:
    assert (PCMU_8K.sample_bytes, PCM16_24K.sample_bytes) == (1, 2)
    assert (PCMU_8K.bytes_for_ms(20), PCM16_24K.bytes_for_ms(20)) == (160, 960)
    assert (PCMU_8K.samples_in(161), PCM16_24K.samples_in(961)) == (161, 480)
    assert (PCMU_8K.ms_of(167), PCM16_24K.ms_of(480)) == (20, 20)


def test_a_frame_knows_its_length() -> None:
    frame = AudioFrame(bytes(960), PCM16_24K, 0)
    assert (frame.samples, frame.duration_ms) == (480, 20)


@pytest.mark.parametrize("coding", list(Coding))
def test_the_text_form_is_read_back(coding: Coding) -> None:
    assert parse_format(str(AudioFormat(coding, 16000))) == AudioFormat(coding, 16000)


@pytest.mark.parametrize("text", ["", "pcmu", "pcmu/", "opus/48000", "pcm16/24k", "pcm16/-1", "/8000"])
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not an audio format"):
        parse_format(text)
