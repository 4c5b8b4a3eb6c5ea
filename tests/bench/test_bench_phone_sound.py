"""The telephone load's sound: a loud frame is recognised after everything that a gateway may do to it."""

from __future__ import annotations

import pytest

from audio.formats import PCM16_8K, PCM16_24K, PCMA_8K, PCMU_8K, AudioFormat, AudioFrame
from audio.resampling import Converter
from bench.phone_figures import lateness
from bench.phone_sound import FRAME_MS, LoudSound, frames


@pytest.mark.parametrize("format", [PCMU_8K, PCM16_8K])
def test_a_loud_frame_is_told_from_a_quiet_one(format: AudioFormat) -> None:
    quiet, loud = frames(format)
    sound = LoudSound(format)
    assert len(quiet) == len(loud) == format.bytes_for_ms(FRAME_MS)
    assert not sound.within(quiet)
    assert sound.within(loud)
    assert sound.within(quiet + loud)
    assert not sound.within(b"")


def test_a_loud_frame_is_recognised_after_24_khz_and_back_and_the_frames_beside_it_stay_quiet() -> None:
    quiet, loud = frames(PCMU_8K)
    sent = [quiet] * 5 + [loud] + [quiet] * 5
    up, down = Converter(PCMU_8K, PCM16_24K), Converter(PCM16_24K, PCMU_8K)
    back = b""
    for place, payload in enumerate(sent):
        back += down.convert(up.convert(AudioFrame(payload, PCMU_8K, place * 160))).payload
    sound = LoudSound(PCMU_8K)
    found = [at // 160 for at in range(0, len(back) - 160, 80) if sound.within(back[at : at + 80])]
    assert 5 in found
    assert set(found) <= {4, 5, 6}  # a filter smears by less than a frame
    assert not sound.within(back[: 4 * 160])


def test_the_load_speaks_no_other_format() -> None:
    with pytest.raises(ValueError, match="does not speak"):
        frames(PCMA_8K)
    with pytest.raises(ValueError, match="does not speak"):
        LoudSound(PCM16_24K)


def test_frames_on_the_grid_are_not_late() -> None:
    assert lateness([5.0 + 0.02 * place for place in range(4)]) == pytest.approx([0, 0, 0, 0], abs=1e-6)
    assert lateness([]) == []


def test_a_late_frame_is_late_against_the_earliest_one() -> None:
    assert lateness([1.003, 1.020, 1.047, 1.060]) == pytest.approx([3, 0, 7, 0], abs=1e-6)


def test_a_frame_that_never_left_makes_all_after_it_late() -> None:
    assert lateness([1.0, 1.02, 1.06, 1.08]) == pytest.approx([0, 0, 20, 20], abs=1e-6)
