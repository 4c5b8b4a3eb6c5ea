"""The sound of the telephone load: quiet frames, and every 500 ms a loud one, which is recognised when it comes back.

A loud frame survives what a stamp in the samples does not: another rate, another coding and the delay of a filter. It
begins with its loudness, so the first message that holds loud samples shows when the frame is back. Pure.
"""

from __future__ import annotations

import math
from array import array

from audio.formats import PCM16_8K, PCMU_8K, AudioFormat, Coding
from audio.g711 import decode, encode

FRAME_MS = 20
BURST_EVERY = 25  # frames; a round trip is known as long as it is shorter than 500 ms
LOUD = 6000  # between the two peaks, and above what a resampling filter adds to the quiet frames beside a loud one
_LOUD_PEAK, _QUIET_PEAK = 16_000, 800
_TONE_HZ = 1000
_RATE_HZ = 8_000


def frames(format: AudioFormat) -> tuple[bytes, bytes]:
    """(a quiet frame, a loud frame) in mu-law or PCM16 at 8 kHz. Raises ValueError for any other format."""
    _check(format)
    quiet, loud = (_tone(peak) for peak in (_QUIET_PEAK, _LOUD_PEAK))
    if format.coding is Coding.PCM16:
        return quiet, loud
    return encode(quiet, format.coding), encode(loud, format.coding)


class LoudSound:
    """Tells whether a payload holds a loud sample."""

    def __init__(self, format: AudioFormat) -> None:
        """Raises ValueError for a format other than mu-law or PCM16 at 8 kHz."""
        _check(format)
        self._step = format.sample_bytes
        if format.coding is Coding.PCM16:
            # The upper byte of a sample alone says it, to 256.
            quiet = [high for high in range(256) if abs((high ^ 0x80) - 0x80) * 256 < LOUD]
        else:
            samples = array("h", decode(bytes(range(256)), format.coding))
            quiet = [byte for byte, sample in enumerate(samples) if abs(sample) < LOUD]
        self._quiet = bytes(quiet)

    def within(self, payload: bytes) -> bool:
        """Whether one of the samples is loud. `payload` is whole samples."""
        return bool(payload[self._step - 1 :: self._step].translate(None, self._quiet))


def _tone(peak: int) -> bytes:
    count = _RATE_HZ * FRAME_MS // 1000
    # Shifted by half a sample, so that no sample of the tone is zero.
    shape = [math.sin(2 * math.pi * _TONE_HZ * (position + 0.5) / _RATE_HZ) for position in range(count)]
    return array("h", [int(peak * value) for value in shape]).tobytes()


def _check(format: AudioFormat) -> None:
    if format not in (PCMU_8K, PCM16_8K):
        raise ValueError(f"the load does not speak {format}")
