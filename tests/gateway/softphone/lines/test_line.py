"""The caller's sound on a line: exact frames of the line's format."""

from __future__ import annotations

import math
import struct

import pytest

from audio.formats import PCM16_8K, PCM16_24K, PCMU_8K, AudioFormat
from gateway.softphone.lines.line import Voice
from gateway.softphone.plan import to_24k

TONE = b"".join(struct.pack("<h", round(8000 * math.sin(n * 0.1))) for n in range(4800))  # 200 ms
FRAME_BYTES = PCM16_24K.bytes_for_ms(20)


@pytest.mark.parametrize("format", [PCMU_8K, PCM16_8K, PCM16_24K])
def test_each_frame_is_exactly_20_ms_of_the_line(format: AudioFormat) -> None:
    voice = Voice(format)
    frames = [voice.frame(TONE[at : at + FRAME_BYTES]) for at in range(0, len(TONE), FRAME_BYTES)]
    assert {len(frame) for frame in frames} == {format.bytes_for_ms(20)}
    heard = to_24k(b"".join(frames), format)
    loudest = [max(struct.unpack(f"<{len(part) // 2}h", part)) for part in (TONE[-4800:], heard[-4800:])]
    assert loudest[1] == pytest.approx(loudest[0], rel=0.05)
