"""Where a model's count of the caller's sound lies on the caller's own timeline.

A model counts the milliseconds that it was given on this leg. What earlier legs had, and what a slow connection has
cost, is missing in its count; a client counts all that it sent.
"""

from __future__ import annotations

from bisect import bisect_right

from audio.formats import AudioFormat, AudioFrame
from audio.runs import FrameRun

MAX_JUMPS = 256  # places where sound is missing; the oldest are forgotten
ROUNDING_MS = 1  # what a change of rate may shift a position by


class SoundPositions:
    """Follows the frames that go to one model leg."""

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
        self._run_begin_ms = 0  # of the frames without a gap so far, as the model counts
        self._run_samples = 0
        self._jumps: list[tuple[int, int]] = []  # from this ms of the model's on, add so many

    def sent(self, frame: AudioFrame) -> None:
        """A frame goes to the model."""
        self._follow(frame.start_sample, frame.format, len(frame.payload) // frame.format.sample_bytes)

    def went(self, run: FrameRun) -> None:
        """So many frames went to the model."""
        self._follow(run.start_sample, run.format, run.samples)

    def on_call(self, model_ms: int) -> int:
        """The caller's position for one of the model's, both in ms from the start."""
        at = bisect_right(self._jumps, model_ms, key=lambda jump: jump[0])
        return model_ms + (self._jumps[at - 1][1] if at else 0)

    @property
    def had_ms(self) -> int:
        """How much sound the model has had, as it counts."""
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
