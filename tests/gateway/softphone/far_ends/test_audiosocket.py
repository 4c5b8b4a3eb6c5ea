"""AudioSocket's far end: what Asterisk sends, what it checks, and what its telephone makes of the frames."""

from __future__ import annotations

from uuid import UUID

import pytest

from gateway.softphone.far_ends.audiosocket import (
    IDLE_MS,
    JITTER_MS,
    MAX_HELD_MS,
    AudioSocketFarEnd,
)

CALL = UUID("01234567-89ab-cdef-0123-456789abcdef")
LOUD = b"\x00\x10" * 160
SOUND = b"\x10\x01\x40" + LOUD


def far_end() -> AudioSocketFarEnd:
    made = AudioSocketFarEnd(CALL)
    made.begin(0)
    return made


def test_the_first_frame_names_the_call_and_sound_comes_in_whole_frames() -> None:
    made = AudioSocketFarEnd(CALL)
    assert made.begin(0) == b"\x01\x00\x10" + CALL.bytes
    assert made.speak(LOUD) == SOUND
    assert made.press("5") == b"\x03\x00\x015"
    with pytest.raises(ValueError, match="no key"):
        made.press("x")


def test_a_telephone_plays_even_frames_without_a_gap_however_late_each_is_within_its_buffer() -> None:
    made = far_end()
    for number in range(50):
        made.take(SOUND, number * 20 + (number % 3) * 15)
    assert len(made.ear.runs) == 1
    assert made.ear.heard(2000)[JITTER_MS * 16 :] == LOUD * 50
    assert made.faults == []


def test_split_frames_are_put_together() -> None:
    made = far_end()
    for at in range(0, 2 * len(SOUND), 7):
        made.take((SOUND * 2)[at : at + 7], 0)
    assert made.ear.heard(1000)[JITTER_MS * 16 :] == LOUD * 2


def test_sound_that_comes_faster_than_it_is_spoken_is_lost() -> None:
    made = far_end()
    made.take(SOUND * 50, 0)
    assert made.faults == ["sound faster than it is spoken, which is lost"]
    assert made.ear.heard_bytes(5000) <= (MAX_HELD_MS + 20) * 16
    assert not made.ended


def test_a_frame_that_is_not_20_ms_is_a_fault_but_is_heard() -> None:
    made = far_end()
    made.take(b"\x10\x02\x80" + LOUD * 2, 0)
    assert made.faults == ["a sound frame that is not 20 ms at 8 kHz"]
    assert LOUD * 2 in made.ear.heard(1000)


@pytest.mark.parametrize("frame", [b"\x05\x00\x00", b"\x00\x00\x01x", b"\x12\x00\x02ab", b"\x01\x00\x10" + bytes(16)])
def test_a_frame_that_asterisk_does_not_know_ends_the_call(frame: bytes) -> None:
    made = far_end()
    made.take(frame + SOUND, 0)
    assert made.ended
    assert made.faults == [f"a frame of the kind {frame[0]:#04x} with {len(frame) - 3} bytes"]
    assert not made.ear.runs


@pytest.mark.parametrize("frame", [b"\x10\x00\x00", b"\x10\x00\x03abc"])
def test_sound_without_whole_samples_ends_the_call(frame: bytes) -> None:
    made = far_end()
    made.take(frame, 0)
    assert made.ended
    assert made.faults


def test_a_hang_up_ends_the_call_and_nothing_after_it_is_heard() -> None:
    made = far_end()
    made.take(b"\x00\x00\x00" + SOUND, 0)
    assert made.ended
    assert made.faults == []
    assert not made.ear.runs


def test_two_seconds_of_nothing_are_a_fault() -> None:
    made = far_end()
    made.take(SOUND, IDLE_MS)
    assert made.faults == []
    made.take(SOUND, 2 * IDLE_MS + 1)
    assert made.faults == ["nothing was sent for 2000 ms"]
