"""Streams of sound, and runs of frames: what came of one stream without a hole, told in one go."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from audio.formats import AudioFormat, AudioFrame


@dataclass(frozen=True, slots=True)
class FrameRun:
    """Frames of one stream that followed each other; frame `i` arrived at `at_ms[i]`. Never empty."""

    payloads: list[bytes] = field(repr=False)  # sound has no place in a log
    at_ms: list[int]
    format: AudioFormat
    start_sample: int
    payload_bytes: int  # of all together

    @property
    def samples(self) -> int:
        """How many samples all its frames hold."""
        return self.payload_bytes // self.format.sample_bytes

    def frames(self) -> Iterator[tuple[AudioFrame, int]]:
        """Frame by frame, each with its arrival."""
        start_sample = self.start_sample
        for payload, at_ms in zip(self.payloads, self.at_ms, strict=True):
            yield AudioFrame(payload, self.format, start_sample), at_ms
            start_sample += len(payload) // self.format.sample_bytes


@dataclass(slots=True)
class SoundStream:
    """One stream of sound as it is read: its format, and how far it has come."""

    format: AudioFormat
    samples: int = 0

    def frame(self, payload: bytes) -> AudioFrame:
        """The next frame; the payload must be of whole samples."""
        frame = AudioFrame(payload, self.format, self.samples)
        self.samples += len(payload) // self.format.sample_bytes
        return frame
