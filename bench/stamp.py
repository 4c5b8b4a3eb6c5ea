"""A stamp inside the sound, so that a frame can be recognised when it comes back.

A frame is 20 ms of PCM16 at 24000 Hz: 480 samples, 960 bytes, 1280 characters of base64. Its first three samples (six
bytes, so exactly eight characters) hold the call's number (16 bits) and the frame's (32 bits), big-endian. Whoever
carries sound as it came, carries the stamp; whoever mixes up two calls, shows it.
"""

from __future__ import annotations

import binascii
import math
import struct
from array import array

FRAME_SAMPLES = 480
FRAME_MS = 20
STAMP_CHARS = 8
FRAME_CHARS = 1280
MAX_CALLS = 1 << 16
_STAMP = struct.Struct(">HI")
_STAMP_SAMPLES = 3
_SYLLABLES_HZ = 4
_TONE_HZ = 220
_PEAK = 6000
_RATE_HZ = 24_000


def encode(call: int, frame: int) -> bytes:
    """Eight characters of base64. `call` below 65536, `frame` below 2**32; struct.error beyond."""
    return binascii.b2a_base64(_STAMP.pack(call, frame), newline=False)


def decode(text: bytes) -> tuple[int, int]:
    """(call, frame) from eight characters of base64. Raises ValueError when that is not what they are."""
    packed = binascii.a2b_base64(text, strict_mode=True)
    if len(packed) != _STAMP.size:
        raise ValueError("a stamp is six bytes")
    call, frame = _STAMP.unpack(packed)
    return call, frame


def speech_tails() -> list[bytes]:
    """One second of a tone that swells and fades like syllables: what follows the stamp in each of 50 frames."""
    tails = []
    for index in range(1000 // FRAME_MS):
        first = index * FRAME_SAMPLES + _STAMP_SAMPLES
        samples = array("h")
        for position in range(first, (index + 1) * FRAME_SAMPLES):
            seconds = position / _RATE_HZ
            swell = 0.5 - 0.5 * math.cos(2 * math.pi * _SYLLABLES_HZ * seconds)
            samples.append(int(_PEAK * swell * math.sin(2 * math.pi * _TONE_HZ * seconds)))
        tails.append(binascii.b2a_base64(samples.tobytes(), newline=False))
    return tails
