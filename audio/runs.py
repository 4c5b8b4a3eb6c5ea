"""A stream of sound, and a run of its frames without a gap, so that many frames can be reported in one call."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from audio.formats import AudioFormat, AudioFrame


@dataclass(frozen=True, slots=True)
class FrameRun:
    """Consecutive frames of one stream; frame `i` arrived at `at_ms[i]`. Never empty."""

    payloads: list[bytes] = field(repr=False)  # audio must not appear in logs
    at_ms: list[int]
    format: AudioFormat
    start_sample: int
    payload_bytes: int  # of all payloads together

    @property
    def samples(self) -> int:
        """The number of samples in all frames together."""
        return self.payload_bytes // self.format.sample_bytes

    def frames(self) -> Iterator[tuple[AudioFrame, int]]:
        """Yield each frame with its arrival time in ms."""
        start_sample = self.start_sample
        for payload, at_ms in zip(self.payloads, self.at_ms, strict=True):
            yield AudioFrame(payload, self.format, start_sample), at_ms
            start_sample += len(payload) // self.format.sample_bytes


@dataclass(slots=True)
class SoundStream:
    """A stream of sound while it is received: its format, and the number of samples so far."""

    format: AudioFormat
    samples: int = 0

    def frame(self, payload: bytes) -> AudioFrame:
        """Return the next frame; the payload must hold whole samples."""
        frame = AudioFrame(payload, self.format, self.samples)
        self.samples += len(payload) // self.format.sample_bytes
        return frame
