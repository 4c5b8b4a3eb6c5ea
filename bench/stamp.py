"""A stamp inside the sound, by which a frame is recognised when it comes back.

A frame is 20 ms of PCM16 at 24000 Hz: 480 samples, 960 bytes, 1280 characters of base64. Its first three samples (six
bytes, so exactly eight characters) hold the number of the call (16 bits) and of the frame (32 bits), big-endian. A
server that passes sound on unchanged keeps the stamp, and a server that mixes up two calls is detected.
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
    """The stamp as eight characters of base64. `call` < 65536, `frame` < 2**32; raises struct.error for larger ones."""
    return binascii.b2a_base64(_STAMP.pack(call, frame), newline=False)


def decode(text: bytes) -> tuple[int, int]:
    """(call, frame) from eight characters of base64. Raises ValueError if they are not a stamp."""
    packed = binascii.a2b_base64(text, strict_mode=True)
    if len(packed) != _STAMP.size:
        raise ValueError("a stamp is six bytes")
    call, frame = _STAMP.unpack(packed)
    return call, frame


def speech_tails() -> list[bytes]:
    """The sound after the stamp for 50 frames: one second of a tone that swells and fades like syllables."""
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
