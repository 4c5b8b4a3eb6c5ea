"""G.711, both laws: 8-bit telephone samples to and from linear PCM.

Source: ITU-T G.711. The arithmetic is `audioop`'s, in C (0.1 to 0.5 µs for 20 ms), from the standard library up to
Python 3.12 and from `audioop-lts` after. `audioop` works in the machine's own byte order, and PCM here is
little-endian, so this room runs on little-endian machines only.
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
    """Turn G.711 bytes into PCM16, two bytes for each one. Raises ValueError where `coding` is not G.711."""
    if coding is Coding.PCMU:
        return audioop.ulaw2lin(payload, 2)
    if coding is Coding.PCMA:
        return audioop.alaw2lin(payload, 2)
    raise ValueError(f"{coding} is not a G.711 coding; use pcmu or pcma")


def encode(pcm16: bytes, coding: Coding) -> bytes:
    """Turn PCM16 into G.711, one byte for each two. Raises ValueError for half a sample, or another coding."""
    check_whole_samples(pcm16)
    if coding is Coding.PCMU:
        return audioop.lin2ulaw(pcm16, 2)
    if coding is Coding.PCMA:
        return audioop.lin2alaw(pcm16, 2)
    raise ValueError(f"{coding} is not a G.711 coding; use pcmu or pcma")


def to_pcm16(frame: AudioFrame) -> AudioFrame:
    """The same sound at the same rate and place as PCM16; a PCM16 frame comes back itself."""
    if frame.format.coding is Coding.PCM16:
        return frame
    pcm16 = decode(frame.payload, frame.format.coding)
    return AudioFrame(pcm16, AudioFormat(Coding.PCM16, frame.format.rate_hz), frame.start_sample)


def silence(format: AudioFormat, samples: int) -> bytes:
    """So many samples of digital silence, in the format's coding."""
    return SILENT_SAMPLE[format.coding] * samples


def check_whole_samples(pcm16: bytes) -> None:
    """Raise ValueError where the last sample is cut in half."""
    if len(pcm16) % 2:
        raise ValueError(f"PCM16 takes 2 bytes a sample, and {len(pcm16)} bytes are not whole samples")
