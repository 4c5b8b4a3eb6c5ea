"""The stamp inside a frame of sound, and the sound after it."""

from __future__ import annotations

import base64
import struct

import pytest

from bench import stamp


@pytest.mark.parametrize(("call", "frame"), [(0, 0), (1, 2), (419, 123_456), (stamp.MAX_CALLS - 1, 2**32 - 1)])
def test_a_decoded_stamp_is_the_encoded_one(call: int, frame: int) -> None:
    text = stamp.encode(call, frame)
    assert len(text) == stamp.STAMP_CHARS
    assert stamp.decode(text) == (call, frame)


@pytest.mark.parametrize(("call", "frame"), [(stamp.MAX_CALLS, 0), (0, 2**32), (-1, 0)])
def test_a_number_that_does_not_fit_is_refused(call: int, frame: int) -> None:
    with pytest.raises(struct.error):
        stamp.encode(call, frame)


@pytest.mark.parametrize("text", [b"", b"AAAA", b"AAAAAAA", b"!!!!!!!!", b"AAAAAA=="])
def test_a_text_that_is_no_stamp_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError):
        stamp.decode(text)


def test_a_stamped_frame_is_twenty_milliseconds_of_sound() -> None:
    tails = stamp.speech_tails()
    assert len(tails) == 50
    for tail in tails:
        frame = stamp.encode(7, 9) + tail
        assert len(frame) == stamp.FRAME_CHARS
        assert len(base64.b64decode(frame, validate=True)) == stamp.FRAME_SAMPLES * 2


def test_the_sound_alternates_between_loud_and_quiet() -> None:
    peaks = []
    for tail in stamp.speech_tails():
        samples = memoryview(base64.b64decode(tail)).cast("h")
        peaks.append(max(abs(sample) for sample in samples))
    assert max(peaks) > 5000
    assert min(peaks) < 500
