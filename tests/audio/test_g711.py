"""Tests for G.711 against the standard's arithmetic, which is written out here."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio.formats import PCM16_8K, PCMA_8K, PCMU_8K, AudioFormat, AudioFrame, Coding
from audio.g711 import decode, encode, silence, to_pcm16

LAWS = [Coding.PCMU, Coding.PCMA]
ALL_CODES = bytes(range(256))


def mu_law_value(code: int) -> int:
    """G.711 table 2a, on the 16-bit scale."""
    code = ~code & 0xFF
    magnitude = (((code & 0x0F) << 3) + 0x84 << (code >> 4 & 7)) - 0x84
    return -magnitude if code & 0x80 else magnitude


def a_law_value(code: int) -> int:
    """G.711 table 1a, on the 16-bit scale."""
    code ^= 0x55
    segment, step = code >> 4 & 7, (code & 0x0F) << 4
    magnitude = step + 8 if segment == 0 else step + 0x108 << segment - 1
    return magnitude if code & 0x80 else -magnitude


def values(pcm16: bytes) -> list[int]:
    return list(struct.unpack(f"<{len(pcm16) // 2}h", pcm16))


def test_every_mu_law_code_decodes_to_the_standards_value() -> None:
    assert values(decode(ALL_CODES, Coding.PCMU)) == [mu_law_value(code) for code in range(256)]


def test_every_a_law_code_decodes_to_the_standards_value() -> None:
    assert values(decode(ALL_CODES, Coding.PCMA)) == [a_law_value(code) for code in range(256)]


@pytest.mark.parametrize("law", LAWS)
def test_every_code_survives_a_round_trip_except_the_second_zero_of_mu_law(law: Coding) -> None:
    back = encode(decode(ALL_CODES, law), law)
    assert [code for code in range(256) if back[code] != code] == ([0x7F] if law is Coding.PCMU else [])


@pytest.mark.parametrize("law", LAWS)
def test_every_sample_is_encoded_within_one_quantization_step(law: Coding) -> None:
    every = struct.pack("<65536h", *range(-32768, 32768))
    decoded = values(decode(encode(every, law), law))
    assert decoded == sorted(decoded)  # louder never becomes quieter
    for sample, heard in zip(range(-32768, 32768), decoded, strict=True):
        assert abs(sample - heard) <= max(16, abs(sample) / 16, abs(sample) - 32124)


def test_a_wire_sample_of_known_speech_levels_is_pinned() -> None:
    pcm16 = struct.pack("<8h", 0, 100, -100, 1000, -1000, 12345, -32768, 32767)
    assert encode(pcm16, Coding.PCMU).hex() == "fff272ce4e970080"
    assert values(decode(encode(pcm16, Coding.PCMA), Coding.PCMA)) == [8, 104, -104, 1008, -1008, 12544, -32256, 32256]


@pytest.mark.parametrize("law", LAWS)
@given(payload=st.binary(max_size=400))
def test_decoding_then_encoding_keeps_the_sound(law: Coding, payload: bytes) -> None:
    pcm16 = decode(payload, law)
    assert len(pcm16) == 2 * len(payload)
    assert decode(encode(pcm16, law), law) == pcm16


def test_half_a_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="3 bytes are not whole samples"):
        encode(b"abc", Coding.PCMU)


def test_pcm_is_refused_as_a_g711_coding() -> None:
    with pytest.raises(ValueError, match=r"not a G\.711 coding"):
        decode(b"ab", Coding.PCM16)
    with pytest.raises(ValueError, match=r"not a G\.711 coding"):
        encode(b"ab", Coding.PCM16)


def test_a_frame_converted_to_pcm_keeps_its_start() -> None:
    frame = to_pcm16(AudioFrame(b"\xff" * 160, PCMU_8K, 320))
    assert frame == AudioFrame(bytes(320), PCM16_8K, 320)
    assert to_pcm16(frame) is frame
    assert to_pcm16(AudioFrame(b"\xd5", PCMA_8K, 0)).samples == 1


@pytest.mark.parametrize("coding", list(Coding))
def test_silence_is_silent_in_every_coding(coding: Coding) -> None:
    frame = to_pcm16(AudioFrame(silence(AudioFormat(coding, 8000), 5), AudioFormat(coding, 8000), 0))
    assert frame.samples == 5
    assert max(abs(value) for value in values(frame.payload)) <= 8  # A-law has no code for 0
