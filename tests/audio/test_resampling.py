"""Tests for rate conversion: sample counts, pass band, stop band, and independence of how the stream is cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from audio.formats import PCM16_8K, PCM16_16K, PCM16_24K, PCMA_8K, PCMU_8K, AudioFormat, AudioFrame, Coding
from audio.g711 import decode
from audio.resampling import Converter, Resampler, resample_in_place

LIVE_RATES = [8000, 16000, 24000, 48000]
PAIRS = [(a, b) for a in LIVE_RATES for b in LIVE_RATES if a != b]
FILE_PAIRS = [(22050, 8000), (22050, 24000), (44100, 24000), (44100, 16000), (11025, 8000), (24000, 44100)]


def tone(rate_hz: int, hz: float, seconds: float, peak: float = 20_000.0) -> bytes:
    at = np.arange(int(rate_hz * seconds)) / rate_hz
    return (peak * np.sin(2 * np.pi * hz * at)).round().astype("<i2").tobytes()


def noise(samples: int) -> bytes:
    return np.random.default_rng(7).integers(-12_000, 12_000, samples).astype("<i2").tobytes()


def samples_of(pcm16: bytes) -> NDArray[np.float64]:
    return np.frombuffer(pcm16, "<i2").astype(np.float64)


def db(output: NDArray[np.float64], peak: float = 20_000.0) -> float:
    """The RMS of the settled part in dB, relative to a sine of `peak`."""
    settled = output[len(output) // 4 : -len(output) // 4]
    return float(20 * np.log10(np.sqrt(np.mean(settled**2)) / (peak / np.sqrt(2)) + 1e-9))


def amplitude_db(output: NDArray[np.float64], rate_hz: int, hz: float, peak: float = 20_000.0) -> float:
    """The strength of one frequency in the settled part in dB, from a windowed projection."""
    settled = output[len(output) // 4 : -len(output) // 4]
    window = np.blackman(len(settled))
    turn = np.exp(-2j * np.pi * hz * np.arange(len(settled)) / rate_hz)
    return float(20 * np.log10(2 * abs(np.sum(settled * window * turn)) / np.sum(window) / peak + 1e-9))


@pytest.mark.parametrize(("from_hz", "to_hz"), PAIRS + FILE_PAIRS)
def test_each_frame_gives_one_frame_of_exact_length(from_hz: int, to_hz: int) -> None:
    resampler = Resampler(from_hz, to_hz)
    given_samples = made_samples = 0
    for _ in range(12):
        run = noise(from_hz // 50)
        given_samples += len(run) // 2
        made_samples += len(resampler.feed(run)) // 2
        assert made_samples == given_samples * to_hz // from_hz
    if (from_hz // 50, to_hz // 50) == (from_hz / 50, to_hz / 50):
        assert len(resampler.feed(noise(from_hz // 50))) == to_hz // 50 * 2


@pytest.mark.parametrize(("from_hz", "to_hz"), PAIRS + FILE_PAIRS)
def test_the_delay_is_the_stated_one_and_at_most_3_ms(from_hz: int, to_hz: int) -> None:
    resampler = Resampler(from_hz, to_hz)
    assert resampler.delay_samples * 1000 <= 3 * to_hz
    click = np.zeros(from_hz // 10)
    middle = from_hz // 20
    click[middle : middle + 40] = 15_000 * np.hanning(40)
    out = samples_of(resampler.feed(click.astype("<i2").tobytes()) + resampler.flush())
    centre = float(np.sum(out * np.arange(len(out))) / np.sum(out))
    assert centre - resampler.delay_samples == pytest.approx((middle + 19.5) * to_hz / from_hz, abs=0.1)


@pytest.mark.parametrize(("from_hz", "to_hz"), PAIRS + FILE_PAIRS)
def test_telephone_speech_passes_unchanged(from_hz: int, to_hz: int) -> None:
    for hz in (50, 300, 1000, 2500, 3400):
        out = samples_of(Resampler(from_hz, to_hz).feed(tone(from_hz, hz, 0.5)))
        assert amplitude_db(out, to_hz, hz) == pytest.approx(0.0, abs=0.06), hz


@pytest.mark.parametrize(("from_hz", "to_hz"), [pair for pair in PAIRS + FILE_PAIRS if pair[0] > pair[1]])
def test_frequencies_above_the_lower_rates_limit_are_attenuated_by_80_db(from_hz: int, to_hz: int) -> None:
    for above in (1.06, 1.1, 1.25, 1.31, 1.5):
        hz = above * to_hz / 2
        if hz < from_hz / 2:
            assert db(samples_of(Resampler(from_hz, to_hz).feed(tone(from_hz, hz, 0.5, 30_000.0))), 30_000.0) < -80, hz


@pytest.mark.parametrize(("from_hz", "to_hz"), [pair for pair in PAIRS + FILE_PAIRS if pair[0] < pair[1]])
def test_images_of_the_lower_rate_are_attenuated_by_80_db(from_hz: int, to_hz: int) -> None:
    for below in (0.1, 0.25, 0.5, 0.8, 0.94):
        hz = below * from_hz / 2
        out = samples_of(Resampler(from_hz, to_hz).feed(tone(from_hz, hz, 0.5, 30_000.0)))
        for image in (from_hz - hz, from_hz + hz, 2 * from_hz - hz):
            if image < to_hz / 2:
                assert amplitude_db(out, to_hz, image, 30_000.0) < -80, (hz, image)


@settings(max_examples=60, deadline=None)
@given(
    pair=st.sampled_from([(8000, 24000), (24000, 8000), (16000, 24000), (24000, 16000), (48000, 24000), (22050, 8000)]),
    cuts=st.lists(st.integers(0, 700), max_size=30),
)
def test_the_output_does_not_depend_on_how_the_stream_is_cut(pair: tuple[int, int], cuts: list[int]) -> None:
    stream = noise(3000)
    whole = Resampler(*pair)
    expected = whole.feed(stream) + whole.flush()
    pieces, at = Resampler(*pair), 0
    out = []
    for cut in cuts:
        out.append(pieces.feed(stream[2 * at : 2 * (at + cut)]))
        at += cut
    out.append(pieces.feed(stream[2 * at :]))
    assert b"".join(out) + pieces.flush() == expected


def test_a_flush_returns_the_rest_and_starts_a_new_stream() -> None:
    resampler = Resampler(8000, 24000)
    first = resampler.feed(noise(800)) + resampler.flush()
    assert len(first) == 2 * (2400 + resampler.delay_samples)
    assert resampler.feed(noise(800)) + resampler.flush() == first


def test_full_scale_sound_is_clipped_and_never_wraps_around() -> None:
    square = np.where(np.arange(1600) % 40 < 20, 32767, -32768).astype("<i2").tobytes()
    out = samples_of(Resampler(8000, 24000).feed(square))[600:]
    assert out.max() == 32767
    assert out.min() == -32768
    assert np.sum(np.abs(np.diff(out)) > 40_000) == 0


def test_steady_sound_keeps_its_level() -> None:
    level = np.full(8000, 10_000, "<i2").tobytes()
    assert set(samples_of(Resampler(8000, 24000).feed(level))[600:]) <= {9999.0, 10_000.0, 10_001.0}


def test_half_a_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="not whole samples"):
        Resampler(8000, 24000).feed(b"abc")


@pytest.mark.parametrize(("from_hz", "to_hz"), [(0, 8000), (8000, -1), (4000, 8000), (8000, 400_000), (8000, 8009)])
def test_unsupported_rates_are_refused(from_hz: int, to_hz: int) -> None:
    with pytest.raises(ValueError, match="cannot resample"):
        Resampler(from_hz, to_hz)


# ---- Converter


def test_a_frame_already_in_the_target_format_passes_unchanged() -> None:
    frame = AudioFrame(b"\x01" * 160, PCMU_8K, 0)
    converter = Converter(PCMU_8K, PCMU_8K)
    assert converter.is_identity
    assert converter.convert(frame) is frame


def test_g711_becomes_pcm_at_the_models_rate_frame_by_frame() -> None:
    converter = Converter(PCMU_8K, PCM16_24K)
    for index in range(5):
        frame = converter.convert(AudioFrame(noise(80), PCMU_8K, index * 160))
        assert (frame.format, frame.samples, frame.start_sample) == (PCM16_24K, 480, index * 480)
    assert converter.delay_samples == 72


def test_pcm_at_the_models_rate_becomes_g711() -> None:
    converter = Converter(PCM16_24K, PCMA_8K)
    frame = converter.convert(AudioFrame(noise(480), PCM16_24K, 4800))
    assert (frame.format, frame.samples, frame.start_sample) == (PCMA_8K, 160, 1600)


@pytest.mark.parametrize("target", [PCM16_8K, PCMA_8K])
def test_a_flush_brings_what_is_inside_and_begins_a_new_stream(target: AudioFormat) -> None:
    converter = Converter(PCM16_24K, target)
    frame = AudioFrame(tone(24_000, 500, 0.1), PCM16_24K, 0)
    first = (converter.convert(frame), converter.flush())
    assert first[1]
    assert (converter.convert(frame), converter.flush()) == first


def test_without_a_change_of_rate_nothing_is_inside() -> None:
    assert Converter(PCM16_8K, PCMU_8K).flush() == b""


def test_one_law_becomes_the_other_without_filtering() -> None:
    out = Converter(PCMU_8K, PCMA_8K).convert(AudioFrame(b"\x80\xff", PCMU_8K, 9))
    assert out == AudioFrame(b"\xaa\xd5", PCMA_8K, 9)
    assert Converter(PCMU_8K, PCM16_8K).convert(AudioFrame(b"\x80", PCMU_8K, 0)).payload == decode(b"\x80", Coding.PCMU)


def test_a_gap_in_the_source_stays_a_gap() -> None:
    converter = Converter(PCM16_8K, PCM16_16K)
    starts = [converter.convert(AudioFrame(noise(160), PCM16_8K, start)).start_sample for start in (0, 160, 800, 960)]
    assert starts == [0, 320, 1600, 1920]


@settings(max_examples=60, deadline=None)
@given(runs=st.lists(st.integers(0, 400), min_size=1, max_size=20), jump=st.integers(0, 500))
def test_the_new_timeline_never_overlaps_itself(runs: list[int], jump: int) -> None:
    converter = Converter(PCM16_24K, PCM16_16K)
    at = end = 0
    for index, samples in enumerate(runs):
        at += jump if index % 3 == 2 else 0
        frame = converter.convert(AudioFrame(noise(samples), PCM16_24K, at))
        at += samples
        assert frame.start_sample >= end
        end = frame.start_sample + frame.samples
        assert abs(end - at * 2 / 3) <= 2 + len(runs)


def test_frames_of_another_format_and_half_samples_are_refused() -> None:
    converter = Converter(PCM16_8K, PCMU_8K)
    with pytest.raises(ValueError, match="pcmu/8000 frame"):
        converter.convert(AudioFrame(b"", PCMU_8K, 0))
    with pytest.raises(ValueError, match="not whole samples"):
        converter.convert(AudioFrame(b"abc", PCM16_8K, 0))
    with pytest.raises(ValueError, match="not whole samples"):
        Converter(PCM16_8K, PCM16_24K).convert(AudioFrame(b"abc", PCM16_8K, 0))
    with pytest.raises(ValueError, match="cannot resample"):
        Converter(PCMU_8K, AudioFormat(Coding.PCM16, 5))


# ---- resample_in_place


@settings(max_examples=40, deadline=None)
@given(
    pair=st.sampled_from([(8000, 24000), (24000, 8000), (22050, 16000), (16000, 16000)]),
    runs=st.lists(st.integers(0, 900), max_size=8),
)
def test_recorded_sound_keeps_its_length(pair: tuple[int, int], runs: list[int]) -> None:
    out = b"".join(resample_in_place([noise(samples) for samples in runs], *pair))
    assert len(out) == sum(runs) * pair[1] // pair[0] * 2


@pytest.mark.parametrize(("from_hz", "to_hz"), PAIRS + FILE_PAIRS)
def test_recorded_sound_keeps_its_position(from_hz: int, to_hz: int) -> None:
    runs = [tone(from_hz, 700, 0.2)[at : at + 960] for at in range(0, from_hz // 5 * 2, 960)]
    out = samples_of(b"".join(resample_in_place(runs, from_hz, to_hz)))
    exact = samples_of(tone(to_hz, 700, 0.2))
    inner = slice(to_hz // 50, -to_hz // 50)
    assert np.max(np.abs(out[: len(exact)][inner] - exact[: len(out)][inner])) < 20
