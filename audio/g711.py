"""G.711 mu-law and A-law: converts 8-bit telephone samples to and from linear PCM.

Source: ITU-T G.711. The conversion is done by `audioop`, in C (0.1 to 0.5 µs for 20 ms). It is in the standard library
up to Python 3.12 and in `audioop-lts` after that. `audioop` uses the machine's byte order and PCM here is
little-endian, so this package works on little-endian machines only.
"""

from __future__ import annotations

import audioop
import sys

from audio.formats import AudioFormat, AudioFrame, Coding

if sys.byteorder != "little":  # pragma: no cover
    raise ImportError("Patchbay carries little-endian PCM and needs a little-endian machine")

# One sample of digital silence. A G.711 zero byte would be close to full scale.
SILENT_SAMPLE = {Coding.PCMU: b"\xff", Coding.PCMA: b"\xd5", Coding.PCM16: b"\x00\x00"}


def decode(payload: bytes, coding: Coding) -> bytes:
    """Convert G.711 to PCM16, two bytes for each input byte. Raises ValueError if `coding` is not G.711."""
    if coding is Coding.PCMU:
        return audioop.ulaw2lin(payload, 2)
    if coding is Coding.PCMA:
        return audioop.alaw2lin(payload, 2)
    raise ValueError(f"{coding} is not a G.711 coding; use pcmu or pcma")


def encode(pcm16: bytes, coding: Coding) -> bytes:
    """Convert PCM16 to G.711, one byte for each two. Raises ValueError for half a sample or another coding."""
    check_whole_samples(pcm16)
    if coding is Coding.PCMU:
        return audioop.lin2ulaw(pcm16, 2)
    if coding is Coding.PCMA:
        return audioop.lin2alaw(pcm16, 2)
    raise ValueError(f"{coding} is not a G.711 coding; use pcmu or pcma")


def to_pcm16(frame: AudioFrame) -> AudioFrame:
    """Return the frame as PCM16, with the same rate and start; a PCM16 frame is returned unchanged."""
    if frame.format.coding is Coding.PCM16:
        return frame
    pcm16 = decode(frame.payload, frame.format.coding)
    return AudioFrame(pcm16, AudioFormat(Coding.PCM16, frame.format.rate_hz), frame.start_sample)


def silence(format: AudioFormat, samples: int) -> bytes:
    """Return `samples` samples of digital silence in the format's coding."""
    return SILENT_SAMPLE[format.coding] * samples


def check_whole_samples(pcm16: bytes) -> None:
    """Raises ValueError if the last sample is incomplete."""
    if len(pcm16) % 2:
        raise ValueError(f"PCM16 takes 2 bytes a sample, and {len(pcm16)} bytes are not whole samples")
