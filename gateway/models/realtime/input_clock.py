"""Translates a model's positions in the caller's sound to the caller's own timeline.

A model counts the milliseconds of sound that it got on this leg. Its count lacks the sound that went to earlier legs or
was dropped because of a slow connection; a client counts all the sound that it sent.
"""

from __future__ import annotations

from bisect import bisect_right

from audio.formats import AudioFormat, AudioFrame
from audio.runs import FrameRun

# How many places where sound is missing are remembered; the oldest are forgotten.
MAX_JUMPS = 256
# How far a change of the sample rate may shift a position.
ROUNDING_MS = 1


class SoundPositions:
    """Counts the frames that go to one model leg, as the model does, to translate the model's positions."""

    __slots__ = (
        "_jumps",
        "_next_sample",
        "_rate_hz",
        "_run_begin_ms",
        "_run_samples",
    )

    def __init__(self) -> None:
        self._next_sample = -1
        self._rate_hz = 1
        # A run is a row of frames without a gap between them. Its beginning is counted as the model counts.
        self._run_begin_ms = 0
        self._run_samples = 0
        # Pairs of a model's position, in ms, and what to add to positions from there on, in ms.
        self._jumps: list[tuple[int, int]] = []

    def sent(self, frame: AudioFrame) -> None:
        """Count a frame that goes to the model."""
        format = frame.format
        self._follow(frame.start_sample, format, len(frame.payload) // format.sample_bytes)

    def note_sent(self, run: FrameRun) -> None:
        """Count a run of frames that went to the model through a fast path."""
        self._follow(run.start_sample, run.format, run.samples)

    def on_call(self, model_ms: int) -> int:
        """The position on the caller's timeline for a model's position, both in ms from the start."""
        at = bisect_right(self._jumps, model_ms, key=lambda jump: jump[0])
        return model_ms + (self._jumps[at - 1][1] if at else 0)

    @property
    def had_ms(self) -> int:
        """How much sound the model has got, in ms as it counts."""
        return self._run_begin_ms + self._run_samples * 1000 // self._rate_hz

    def _follow(self, start_sample: int, format: AudioFormat, samples: int) -> None:
        if start_sample != self._next_sample or format.rate_hz != self._rate_hz:
            self._begin_run(start_sample, format.rate_hz)
        self._next_sample += samples
        self._run_samples += samples

    def _begin_run(self, start_sample: int, rate_hz: int) -> None:
        self._run_begin_ms = self.had_ms
        self._run_samples = 0
        self._rate_hz = rate_hz
        self._next_sample = start_sample
        add_ms = start_sample * 1000 // self._rate_hz - self._run_begin_ms
        known_ms = self._jumps[-1][1] if self._jumps else 0
        if abs(add_ms - known_ms) > ROUNDING_MS:
            self._jumps.append((self._run_begin_ms, add_ms))
            del self._jumps[:-MAX_JUMPS]
