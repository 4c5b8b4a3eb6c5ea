"""Sampling-rate and coding conversion for live sound: one frame out for each frame in, with a delay of at most 3 ms.

A streaming polyphase FIR filter (Kaiser window), after Crochiere and Rabiner, "Multirate Digital Signal Processing",
ch. 4. Its coefficients are integer multiples of 2^-24 and its samples are integers, so every sum is exact in float64:
the output is the same on every machine and for every way to cut the stream into frames.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import gcd
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from audio.formats import AudioFormat, AudioFrame, Coding
from audio.g711 import check_whole_samples, decode, encode

Samples: TypeAlias = NDArray[np.float64]

LOWEST_RATE_HZ = 8000
HIGHEST_RATE_HZ = 192_000
# In samples of the lower rate, on each side of the filter's centre: 3 ms at 8 kHz, less at higher rates.
HALF_WIDTH = 24
# As a part of the lower rate's Nyquist frequency: -0.1 dB at 3.4 kHz for 8 kHz; the stop band begins at 1.06.
CUTOFF = 0.94
STOP_BAND_DB = 85.0
# Up to this ratio one matrix product computes several periods, which is cheaper.
SMALL_RATIO = 8
MAX_WEIGHTS = 1 << 20
# Longer input is filtered in pieces: this bounds the memory and keeps BLAS in the calling thread.
SEGMENT_SAMPLES = 1024


@dataclass(frozen=True, slots=True)
class _Filter:
    """The coefficients of one conversion, shared by all calls that use it.

    `period_in` input samples become `period_out` output samples in one matrix product: a window of the input, which
    starts `taps - 1` samples earlier, times `weights`, whose shape is (window samples, `period_out`).
    """

    period_in: int
    period_out: int
    taps: int
    delay_samples: int  # at the output rate
    weights: Samples


@lru_cache(maxsize=32)
def _design(from_hz: int, to_hz: int) -> _Filter:
    """Make the filter for two rates. Raises ValueError for rates outside 8 to 192 kHz or too large a ratio."""
    for rate_hz in (from_hz, to_hz):
        if not LOWEST_RATE_HZ <= rate_hz <= HIGHEST_RATE_HZ:
            raise ValueError(f"cannot resample {rate_hz} Hz; use {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ}")
    up, down = to_hz // gcd(from_hz, to_hz), from_hz // gcd(from_hz, to_hz)
    lower_hz, fine_hz = min(from_hz, to_hz), from_hz * up
    delay_samples = HALF_WIDTH * to_hz // lower_hz
    half = delay_samples * down  # in samples of the fine rate, a common multiple of both rates
    taps = -(-(2 * half + 1) // up)
    periods = 16 if max(up, down) <= SMALL_RATIO else 1
    period_in, period_out = periods * down, periods * up
    if (taps - 1 + period_in) * period_out > MAX_WEIGHTS:
        raise ValueError(f"cannot resample {from_hz} Hz to {to_hz} Hz: the ratio {up}/{down} needs too many weights")

    at = np.arange(-half, half + 1)
    cutoff = CUTOFF * lower_hz / fine_hz
    beta = 0.1102 * (STOP_BAND_DB - 8.7)
    ideal = up * cutoff * np.sinc(cutoff * at) * np.kaiser(2 * half + 1, beta)
    response = np.zeros(taps * up)
    response[: 2 * half + 1] = np.rint(ideal * 2**24) / 2**24

    weights = np.zeros((taps - 1 + period_in, period_out))
    for output in range(period_out):
        newest, phase = divmod(output * down, up)
        # Time runs forward in the window and backward in the response.
        weights[newest : newest + taps, output] = response[phase::up][::-1]
    weights.setflags(write=False)
    return _Filter(period_in, period_out, taps, delay_samples, weights)


class Resampler:
    """Changes the sampling rate of a live stream of PCM16.

    After n input samples there are exactly n * to_hz // from_hz output samples; the sound in them is delayed by
    `delay_samples`. Costs about 10 µs for 20 ms.
    """

    def __init__(self, from_hz: int, to_hz: int) -> None:
        self._filter = _design(from_hz, to_hz)
        self._past = self._filter.taps - 1 + self._filter.period_in - 1  # older samples that a window may need
        self._work = np.zeros(self._past)
        self._phase = 0  # number of input samples so far, modulo the period

    @property
    def delay_samples(self) -> int:
        """The delay of the output in output samples; never above 3 ms."""
        return self._filter.delay_samples

    def feed(self, pcm16: bytes) -> bytes:
        """Take PCM16 of any length and return the output that is ready. Raises ValueError for half a sample."""
        check_whole_samples(pcm16)
        samples = np.frombuffer(pcm16, dtype="<i2")
        if len(samples) <= SEGMENT_SAMPLES:
            return self._run(samples)
        starts = range(0, len(samples), SEGMENT_SAMPLES)
        return b"".join(self._run(samples[start : start + SEGMENT_SAMPLES]) for start in starts)

    def flush(self) -> bytes:
        """Return the remaining sound, `delay_samples` or a few more, and begin a new stream."""
        design = self._filter
        silent_samples = -(-design.delay_samples * design.period_in // design.period_out)
        tail = self.feed(bytes(2 * silent_samples))
        self._work[: self._past] = 0.0
        self._phase = 0
        return tail

    def _run(self, samples: NDArray[np.int16]) -> bytes:
        design, past, work = self._filter, self._past, self._work
        count, end = len(samples), self._phase + len(samples)
        periods = -(-end // design.period_in)
        # The last period may be incomplete: old values after the new samples affect only outputs that are not used.
        needed = past + periods * design.period_in
        if len(work) < needed:
            self._work = np.zeros(needed)
            self._work[:past] = work[:past]
            work = self._work
        work[past : past + count] = samples
        windows: Samples = np.ndarray(
            (periods, design.weights.shape[0]),
            np.float64,
            work,
            (past - self._phase - (design.taps - 1)) * 8,
            (design.period_in * 8, 8),
        )
        filtered = np.dot(windows, design.weights)
        np.rint(filtered, out=filtered)
        np.minimum(filtered, 32767.0, out=filtered)
        np.maximum(filtered, -32768.0, out=filtered)
        first = self._phase * design.period_out // design.period_in
        last = end * design.period_out // design.period_in
        work[:past] = work[count : count + past]
        self._phase = end % design.period_in
        payload: bytes = filtered.ravel()[first:last].astype("<i2").tobytes()
        return payload


class Converter:
    """Converts one stream of frames from one format to another; if the formats are equal, frames pass unchanged."""

    def __init__(self, source: AudioFormat, target: AudioFormat) -> None:
        self.source = source
        self.target = target
        self.is_identity = source == target
        same_rate = source.rate_hz == target.rate_hz
        self._resampler = None if same_rate else Resampler(source.rate_hz, target.rate_hz)
        self._next_in = 0  # start sample of the next input frame if there is no gap
        self._next_out = 0

    @property
    def delay_samples(self) -> int:
        """The delay of the output in samples of the target; 0 if the rate does not change."""
        return 0 if self._resampler is None else self._resampler.delay_samples

    def convert(self, frame: AudioFrame) -> AudioFrame:
        """Return one frame for each frame, on the target's timeline; a gap in the source stays a gap.

        Raises ValueError if the frame's format is not the source's, or for half a sample of PCM.
        """
        if frame.format is not self.source and frame.format != self.source:
            raise ValueError(f"a {frame.format} frame came to a converter from {self.source}")
        if self.is_identity:
            return frame
        payload = frame.payload
        if self.source.coding is not Coding.PCM16:
            payload = decode(payload, self.source.coding)
        else:
            check_whole_samples(payload)
        start_sample = frame.start_sample
        if self._resampler is not None:
            start_sample = self._place(frame)
            payload = self._resampler.feed(payload)
            self._next_out = start_sample + len(payload) // 2
        if self.target.coding is not Coding.PCM16:
            payload = encode(payload, self.target.coding)
        return AudioFrame(payload, self.target, start_sample)

    def flush(self) -> bytes:
        """Return the sound that is still inside, in the target's format, and begin a new stream."""
        self._next_in = self._next_out = 0
        if self._resampler is None:
            return b""
        payload = self._resampler.flush()
        return payload if self.target.coding is Coding.PCM16 else encode(payload, self.target.coding)

    def _place(self, frame: AudioFrame) -> int:
        """Where the frame begins on the target's timeline: after the last one, or later if the source has a gap."""
        jumped = frame.start_sample != self._next_in
        self._next_in = frame.start_sample + frame.samples
        if not jumped:
            return self._next_out
        return max(self._next_out, frame.start_sample * self.target.rate_hz // self.source.rate_hz)


def resample_in_place(runs: Iterable[bytes], from_hz: int, to_hz: int) -> Iterator[bytes]:
    """Resample recorded PCM16 without delay: n input samples become n * to_hz // from_hz output samples.

    For sound whose end is known, such as files. Memory is bounded by the longest element of `runs`. Raises ValueError
    like `Resampler`.
    """
    if from_hz == to_hz:
        yield from runs
        return
    resampler = Resampler(from_hz, to_hz)
    early_bytes = 2 * resampler.delay_samples
    samples_in = bytes_out = 0
    for run in runs:
        samples_in += len(run) // 2
        piece = resampler.feed(run)
        skipped = min(early_bytes, len(piece))
        early_bytes -= skipped
        bytes_out += len(piece) - skipped
        if len(piece) > skipped:
            yield piece[skipped:]
    missing = 2 * (samples_in * to_hz // from_hz) - bytes_out
    if tail := resampler.flush()[early_bytes:][:missing]:
        yield tail
