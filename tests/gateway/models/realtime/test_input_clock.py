from __future__ import annotations

from audio.formats import PCM16_24K, PCMU_8K, AudioFormat, AudioFrame
from gateway.models.realtime.input_clock import SoundPositions


def frame(start_ms: int, ms: int = 20, format: AudioFormat = PCM16_24K) -> AudioFrame:
    return AudioFrame(bytes(format.bytes_for_ms(ms)), format, start_ms * format.rate_hz // 1000)


def test_positions_of_a_first_leg_are_the_callers() -> None:
    positions = SoundPositions()
    for at in range(0, 200, 20):
        positions.sent(frame(at))
    assert [positions.on_call(ms) for ms in (0, 60, 500)] == [0, 60, 500]


def test_a_later_leg_counts_from_its_first_sound() -> None:
    positions = SoundPositions()
    positions.sent(frame(5000))
    positions.sent(frame(5020))
    assert positions.on_call(0) == 5000
    assert positions.on_call(30) == 5030


def test_sound_that_was_dropped_shifts_what_comes_after_it() -> None:
    positions = SoundPositions()
    positions.sent(frame(0, 100))
    positions.sent(frame(600, 100))
    assert positions.on_call(99) == 99
    assert positions.on_call(100) == 600
    assert positions.on_call(150) == 650


def test_a_change_of_format_alone_shifts_nothing() -> None:
    positions = SoundPositions()
    positions.sent(frame(0, 100))
    positions.sent(frame(100, 100, PCMU_8K))
    positions.sent(frame(200, 100, PCMU_8K))
    assert positions.on_call(250) == 250


def test_positions_stay_as_they_are_before_any_sound_was_sent() -> None:
    assert SoundPositions().on_call(123) == 123
