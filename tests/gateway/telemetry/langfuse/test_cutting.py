"""Pieces of a recording as Ogg files: the right sound, the right length, bounded, and the same file each time."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import soundfile

from gateway.telemetry.langfuse.cutting import LAST_BYTES, cut
from gateway.telemetry.langfuse.ogg import SERIAL, with_fixed_serial
from gateway.telemetry.langfuse.sound import Piece, Side

SECONDS = 6
CALLER_HZ, AGENT_HZ = 440, 1_000


def recording(rate_hz: int = 24_000, channels: int = 2) -> io.BytesIO:
    """A recording: the caller hums from 1 s to 2 s, the agent from 3 s to 5 s."""
    at_s = np.arange(SECONDS * rate_hz) / rate_hz
    caller = 0.4 * np.sin(2 * np.pi * CALLER_HZ * at_s) * ((at_s >= 1) & (at_s < 2))
    agent = 0.4 * np.sin(2 * np.pi * AGENT_HZ * at_s) * ((at_s >= 3) & (at_s < 5))
    file = io.BytesIO()
    soundfile.write(file, np.stack([caller, agent], 1)[:, :channels], rate_hz, format="FLAC", subtype="PCM_16")
    return file


def piece(side: Side, begin_ms: int = 0, end_ms: int | None = None) -> Piece:
    return Piece("t", "s", "recording.flac", "", "", "output", side, begin_ms, end_ms)


def heard(content: bytes) -> tuple[Any, int]:
    """The samples of a file, which a reader that checks every page's checksum accepts."""
    return soundfile.read(io.BytesIO(content), always_2d=True)


def pitch_hz(samples: Any, rate_hz: int) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(samples))) * rate_hz / len(samples))


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 24_000, 44_100, 48_000])
def test_each_side_is_cut_out_alone(rate_hz: int) -> None:
    file = recording(rate_hz)
    for side, begin_ms, end_ms, wanted_hz in (
        (Side.CALLER, 900, 2_100, CALLER_HZ),
        (Side.AGENT, 2_900, 5_100, AGENT_HZ),
    ):
        samples, found_hz = heard(cut(file, piece(side, begin_ms, end_ms)))
        assert (found_hz, samples.shape) == (rate_hz, ((end_ms - begin_ms) * rate_hz // 1_000, 1))
        assert abs(pitch_hz(samples[:, 0], rate_hz) - wanted_hz) < 2
        edge = rate_hz // 20
        assert np.abs(samples[:edge]).max() < 0.05 < np.abs(samples).max()
    silent, _ = heard(cut(file, piece(Side.AGENT, 1_000, 2_000)))
    assert np.abs(silent).max() < 0.01


def test_the_whole_call_has_both_sides() -> None:
    samples, rate_hz = heard(cut(recording(), piece(Side.BOTH)))
    assert samples.shape == (SECONDS * rate_hz, 2)
    assert [round(pitch_hz(samples[:, side], rate_hz)) for side in (0, 1)] == [CALLER_HZ, AGENT_HZ]


def test_a_piece_ends_with_the_recording_and_one_behind_it_is_empty() -> None:
    samples, rate_hz = heard(cut(recording(), piece(Side.CALLER, 5_500, 99_000)))
    assert len(samples) == rate_hz // 2
    assert cut(recording(), piece(Side.CALLER, 6_000, 9_000)) == b""
    assert cut(recording(), piece(Side.CALLER, 90_000, 91_000)) == b""


def test_a_file_has_no_more_bytes_than_it_may() -> None:
    rate_hz = 48_000
    noise = np.random.default_rng(1).uniform(-0.9, 0.9, (60 * rate_hz, 2))
    file = io.BytesIO()
    soundfile.write(file, noise, rate_hz, format="FLAC", subtype="PCM_16")
    whole, most = cut(file, piece(Side.BOTH)), LAST_BYTES + 100_000
    assert len(whole) > most
    content = cut(file, piece(Side.BOTH), most)
    assert len(content) <= most
    samples, _ = heard(content)
    assert rate_hz < len(samples) < 60 * rate_hz
    assert len(samples) % rate_hz == 0


def test_the_same_sound_is_the_same_file_and_the_next_is_not() -> None:
    first, second = cut(recording(), piece(Side.BOTH)), cut(recording(), piece(Side.BOTH))
    assert first == second != cut(recording(), piece(Side.BOTH, 10))
    assert first[14:18] == SERIAL.to_bytes(4, "little")


def test_a_recording_with_one_channel_gives_it_for_both_sides() -> None:
    samples, rate_hz = heard(cut(recording(channels=1), piece(Side.AGENT, 1_000, 2_000)))
    assert abs(pitch_hz(samples[:, 0], rate_hz) - CALLER_HZ) < 2


def test_what_is_no_recording_is_refused() -> None:
    with pytest.raises(soundfile.SoundFileError):
        cut(io.BytesIO(b"no sound"), piece(Side.BOTH))


def test_what_is_no_ogg_file_is_refused() -> None:
    for content in (b"RIFF" + bytes(40), b"OggS"):
        with pytest.raises(ValueError, match="Ogg"):
            with_fixed_serial(bytearray(content))
