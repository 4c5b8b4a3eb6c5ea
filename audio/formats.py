"""The audio formats that Patchbay carries, and the frame type that holds audio.

G.711 is ITU-T G.711 (8 bits a sample); PCM is signed 16-bit little-endian. Sound is always mono.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from audio.values import hot_value

MAX_RATE_HZ = 384_000


class Coding(StrEnum):
    """How one sample is encoded."""

    PCMU = "pcmu"
    PCMA = "pcma"
    PCM16 = "pcm16"


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """A coding at a sampling rate; its text form is `coding/rate_hz`."""

    coding: Coding
    rate_hz: int
    # Stored because it is read for every frame.
    sample_bytes: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sample_bytes", 2 if self.coding is Coding.PCM16 else 1)

    def samples_in(self, payload_bytes: int) -> int:
        """The number of whole samples in `payload_bytes` bytes."""
        return payload_bytes // self.sample_bytes

    def bytes_for_ms(self, ms: int) -> int:
        """The number of bytes that `ms` milliseconds take."""
        return self.rate_hz * ms // 1000 * self.sample_bytes

    def ms_of(self, samples: int) -> int:
        """The duration of `samples` samples in whole milliseconds."""
        return samples * 1000 // self.rate_hz

    def __str__(self) -> str:
        return f"{self.coding}/{self.rate_hz}"


PCMU_8K = AudioFormat(Coding.PCMU, 8000)
PCMA_8K = AudioFormat(Coding.PCMA, 8000)
PCM16_8K = AudioFormat(Coding.PCM16, 8000)
PCM16_16K = AudioFormat(Coding.PCM16, 16000)
PCM16_24K = AudioFormat(Coding.PCM16, 24000)


def parse_format(text: str) -> AudioFormat:
    """Parse a format written as `coding/rate_hz`, such as `pcm16/24000`. Raises ValueError for anything else."""
    coding, slash, rate = text.partition("/")
    known = slash and coding in set(Coding) and rate.isascii() and rate.isdecimal() and len(rate) <= 6
    if not known or not 4000 <= int(rate) <= MAX_RATE_HZ:
        raise ValueError(f"{text!r} is not an audio format; write one like pcmu/8000 or pcm16/24000")
    return AudioFormat(Coding(coding), int(rate))


@hot_value
class AudioFrame:
    """A run of mono samples, encoded as `format` says: G.711 is 1 byte a sample, PCM is 2, little-endian."""

    payload: bytes = field(repr=False)  # audio must not appear in logs
    format: AudioFormat
    start_sample: int  # on this stream's own timeline, from 0

    @property
    def samples(self) -> int:
        """The number of samples in the payload."""
        return len(self.payload) // self.format.sample_bytes

    @property
    def duration_ms(self) -> int:
        """The duration in whole milliseconds."""
        return self.format.ms_of(self.samples)
