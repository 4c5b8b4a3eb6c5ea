"""Tests for making one channel of several."""

from __future__ import annotations

import random
import struct
from math import pi, sin

import pytest

from audio.formats import PCM16_8K, PCM16_24K, PCMA_8K, PCMU_8K, AudioFormat, Coding
from audio.g711 import encode, silence
from audio.mono import to_mono


def tone(hz: float, samples: int = 8000, peak: float = 8000.0, offset: int = 0) -> bytes:
    values = (round(offset + peak * sin(2 * pi * hz * at / 8000)) for at in range(samples))
    return struct.pack(f"<{samples}h", *values)


def inverted(pcm: bytes) -> bytes:
    return struct.pack(f"<{len(pcm) // 2}h", *(-value for value in struct.unpack(f"<{len(pcm) // 2}h", pcm)))


def hiss(peak: int, samples: int = 8000) -> bytes:
    source = random.Random(peak)
    return struct.pack(f"<{samples}h", *(source.randint(-peak, peak) for _ in range(samples)))


def level(pcm: bytes) -> float:
    values = struct.unpack(f"<{len(pcm) // 2}h", pcm)
    return float((sum(value * value for value in values) / len(values)) ** 0.5)


SPEECH, OTHER, NOTHING = tone(300), tone(440), bytes(16000)


@pytest.mark.parametrize("quiet", [NOTHING, hiss(3), hiss(100), struct.pack("<8000h", *[500] * 8000)])
@pytest.mark.parametrize(("at", "side"), [(0, "1 of 2 (left)"), (1, "2 of 2 (right)")])
def test_the_only_channel_with_sound_is_used_unchanged(at: int, side: str, quiet: bytes) -> None:
    channels = [SPEECH if number == at else quiet for number in (0, 1)]
    mono = to_mono(PCM16_8K, channels)
    assert (mono.format, mono.payload == SPEECH) == (PCM16_8K, True)
    assert mono.remark == f"has sound only on channel {side}; that channel is used"


@pytest.mark.parametrize("format", [PCMU_8K, PCMA_8K], ids=str)
def test_a_single_g711_channel_is_unchanged(format: AudioFormat) -> None:
    speech = encode(SPEECH, format.coding)
    mono = to_mono(format, [silence(format, 8000), speech])
    assert (mono.format, mono.payload == speech) == (format, True)
    both = to_mono(format, [speech, encode(OTHER, format.coding)])
    assert (both.format, len(both.payload)) == (AudioFormat(Coding.PCM16, 8000), 16000)


def test_a_single_word_in_a_long_silence_counts_as_sound() -> None:
    word = bytes(800_000) + tone(300, 2000) + bytes(800_000)
    mono = to_mono(PCM16_8K, [tone(440, len(word) // 2), word])
    assert mono.remark == "has sound on 2 of 2 channels; they are mixed"


def test_channels_that_both_have_sound_are_mixed() -> None:
    for channels in ([SPEECH, SPEECH], [SPEECH, OTHER], [SPEECH, tone(300, peak=800)]):
        mono = to_mono(PCM16_8K, channels)
        assert mono.remark == "has sound on 2 of 2 channels; they are mixed"
        assert level(mono.payload) > 0.5 * level(SPEECH)


def test_two_speakers_who_take_turns_are_both_in_the_mix() -> None:
    mono = to_mono(PCM16_8K, [SPEECH + NOTHING, NOTHING + OTHER])
    assert mono.remark == "has sound on 2 of 2 channels; they are mixed"
    for half in (mono.payload[:16000], mono.payload[16000:]):
        assert level(half) > 0.45 * level(SPEECH)


def test_an_inverted_channel_does_not_cancel_the_other() -> None:
    mono = to_mono(PCM16_8K, [SPEECH, inverted(SPEECH)])
    assert level(mono.payload) > 0.9 * level(SPEECH)
    assert mono.remark.endswith("they are mixed, and 1 of them is inverted first, to match the loudest")
    loudest = b"\0\x80" * 100 + SPEECH  # -32768 inverted would be 32768, which PCM16 cannot hold
    assert level(to_mono(PCM16_8K, [loudest, loudest[:200] + inverted(SPEECH)]).payload) > 0.9 * level(SPEECH)


def test_channels_that_cancel_for_a_while_are_not_mixed() -> None:
    mono = to_mono(PCM16_8K, [SPEECH + SPEECH, SPEECH + inverted(SPEECH)])
    assert level(mono.payload[16000:]) > 0.9 * level(SPEECH)
    assert mono.remark == "has channels that cancel each other; only the loudest is used, channel 1 of 2 (left)"


def test_more_than_two_channels_follow_the_same_rules() -> None:
    channels = [NOTHING, hiss(5), NOTHING, SPEECH, NOTHING]
    assert to_mono(PCM16_8K, channels).remark == "has sound only on channel 4 of 5; that channel is used"
    mono = to_mono(PCM16_8K, [OTHER, NOTHING, SPEECH, inverted(SPEECH), inverted(OTHER), NOTHING])
    assert level(mono.payload) > 0.3 * level(SPEECH)
    eight = to_mono(PCM16_8K, [SPEECH] * 8)
    assert (eight.remark, level(eight.payload) > 0.9 * level(SPEECH)) == (
        "has sound on 8 of 8 channels; they are mixed",
        True,
    )


def test_one_channel_passes_unchanged_and_silence_is_reported() -> None:
    assert to_mono(PCM16_24K, [SPEECH]).remark == ""
    assert to_mono(PCM16_24K, [b""]).remark == ""
    assert to_mono(PCM16_24K, [b"", b""]).payload == b""
    for channels in ([NOTHING], [NOTHING, hiss(3)], [struct.pack("<8000h", *[500] * 8000)]):
        assert to_mono(PCM16_8K, channels).remark == "is silent"
    assert to_mono(PCMU_8K, [silence(PCMU_8K, 80), silence(PCMU_8K, 80)]).remark == "is silent"
