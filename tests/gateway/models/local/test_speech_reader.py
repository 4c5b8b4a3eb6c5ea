"""gateway/models/local/speech_reader.py, speech_kind.py and wav_stream.py: only sound is played"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from audio.formats import Coding
from audio.g711 import encode
from gateway.models.local.answer_fault import AnswerFault
from gateway.models.local.speech_reader import LEAD_MS, MOST_SENTENCE_S, SpeechReader

Samples = NDArray[np.float64]
NOISE = np.random.default_rng(7).bytes(20_000)


def tone(rate_hz: int, seconds: float = 0.5) -> Samples:
    """A tone of 400 Hz at half of the full scale, as floats from -1 to 1."""
    tone: Samples = 0.5 * np.sin(np.arange(int(rate_hz * seconds)) * 2 * np.pi * 400 / rate_hz)
    return tone


def pcm16(samples: Samples) -> bytes:
    return np.rint(samples * 32767).astype("<i2").tobytes()


def chunk(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def wav(
    tag: int, channels: int, rate_hz: int, bits: int, sound: bytes, *, before: bytes = b"", size: int = -1
) -> bytes:
    frame_bytes = channels * bits // 8
    body = struct.pack("<HHIIHH", tag, channels, rate_hz, rate_hz * frame_bytes % 2**32, frame_bytes, bits)
    data = b"data" + struct.pack("<I", len(sound) if size < 0 else size) + sound
    return b"RIFF" + struct.pack("<I", 36 + len(sound)) + b"WAVE" + before + chunk(b"fmt ", body) + data


def play(body: bytes, content_type: str, piece_bytes: int, played: list[bytes], rate_hz: int = 24_000) -> None:
    """Read a body in pieces, and append the sound to be played to the list."""
    reader = SpeechReader(content_type, rate_hz)
    played.extend(reader.feed(body[at : at + piece_bytes]) for at in range(0, len(body), piece_bytes))
    played.append(reader.end())


def heard(body: bytes, content_type: str = "audio/pcm", rate_hz: int = 24_000, piece_bytes: int = 4800) -> bytes:
    """The sound that is played of a body in pieces."""
    played: list[bytes] = []
    play(body, content_type, piece_bytes, played, rate_hz)
    return b"".join(played)


def is_tone(sound: bytes, rate_hz: int = 24_000, seconds: float = 0.5) -> bool:
    """Whether the sound is the tone and nothing else."""
    samples = np.frombuffer(sound, dtype="<i2").astype(np.float64)
    if abs(len(samples) / rate_hz - seconds) > 0.02:
        return False
    middle = samples[len(samples) // 4 : -len(samples) // 4]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle)))) ** 2
    peak = int(spectrum.argmax())
    near = spectrum[max(0, peak - 8) : peak + 9].sum()
    level = float(np.abs(middle).max())
    return abs(peak * rate_hz / len(middle) - 400) < 10 and near > 0.99 * spectrum.sum() and 15_000 < level < 17_500


def both(samples: Samples) -> Samples:
    """Two channels with the same sound."""
    return np.repeat(samples, 2)


def highest_three(samples: Samples) -> bytes:
    """As 24-bit samples."""
    return (samples * 2**31).astype("<i4").view("u1").reshape(-1, 4)[:, 1:].tobytes()


WAVS: dict[str, Callable[[int], bytes]] = {
    "16 bits": lambda hz: wav(1, 1, hz, 16, pcm16(tone(hz))),
    "8 bits": lambda hz: wav(1, 1, hz, 8, (tone(hz) * 127 + 128).astype("u1").tobytes()),
    "24 bits": lambda hz: wav(
        1, 1, hz, 24, (tone(hz) * 2**31).astype("<i4").view("u1").reshape(-1, 4)[:, 1:].tobytes()
    ),
    "32 bits": lambda hz: wav(1, 1, hz, 32, (tone(hz) * 2**31).astype("<i4").tobytes()),
    "float": lambda hz: wav(3, 1, hz, 32, tone(hz).astype("<f4").tobytes()),
    "double": lambda hz: wav(3, 1, hz, 64, tone(hz).astype("<f8").tobytes()),
    "stereo": lambda hz: wav(1, 2, hz, 16, pcm16(both(tone(hz)))),
    "stereo float": lambda hz: wav(3, 2, hz, 32, both(tone(hz)).astype("<f4").tobytes()),
    "mu-law": lambda hz: wav(7, 1, hz, 8, encode(pcm16(tone(hz)), Coding.PCMU)),
    "A-law": lambda hz: wav(6, 1, hz, 8, encode(pcm16(tone(hz)), Coding.PCMA)),
    "no length": lambda hz: wav(1, 1, hz, 16, pcm16(tone(hz)), size=0),
    "ffmpeg's length": lambda hz: wav(1, 1, hz, 16, pcm16(tone(hz)), size=0xFFFF_FFFF),
    "a longer length": lambda hz: wav(1, 1, hz, 16, pcm16(tone(hz)), size=10**8),
    "chunks around": lambda hz: (
        wav(1, 1, hz, 16, pcm16(tone(hz)), before=chunk(b"LIST", b"odd"))
        + chunk(b"LIST", NOISE)
        + chunk(b"data", NOISE)
    ),
    "no padding": lambda hz: wav(1, 1, hz, 16, pcm16(tone(hz)), before=b"LIST\3\0\0\0odd"),
    "RF64": lambda hz: (
        b"RF64\xff\xff\xff\xffWAVE" + wav(1, 1, hz, 16, pcm16(tone(hz)), before=chunk(b"ds64", bytes(28)))[12:]
    ),
    "extensible": lambda hz: (
        b"RIFF\0\0\0\0WAVE"
        + chunk(
            b"fmt ",
            struct.pack("<HHIIHHHHIH", 0xFFFE, 1, hz, 2 * hz, 2, 16, 22, 16, 4, 1)
            + bytes.fromhex("000000001000800000aa00389b71"),
        )
        + chunk(b"data", pcm16(tone(hz)))
    ),
}


@pytest.mark.parametrize("name", WAVS)
@pytest.mark.parametrize("from_hz", [8000, 16_000, 22_050, 24_000, 44_100, 48_000])
def test_a_wav_file_is_decoded_as_its_header_says(name: str, from_hz: int) -> None:
    for content_type in ("audio/wav", "audio/pcm", "", "audio/mpeg", "application/json"):
        assert is_tone(heard(WAVS[name](from_hz), content_type))


@pytest.mark.parametrize("name", WAVS)
def test_a_wav_file_gives_the_same_sound_in_pieces_of_any_length(name: str) -> None:
    body = WAVS[name](44_100)
    for piece_bytes in (1, 7, 100_000):
        assert is_tone(heard(body, piece_bytes=piece_bytes, rate_hz=8000), rate_hz=8000)


def test_a_wav_file_is_played_before_it_is_complete() -> None:
    body = wav(1, 2, 44_100, 16, pcm16(both(tone(44_100, 2.0))))
    reader = SpeechReader("audio/wav", 24_000)
    assert len(reader.feed(body[: len(body) // 4])) > 2 * 24_000 * 0.45


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "audio/pcm",
        "audio/PCM; rate=24000",
        "application/octet-stream",
        "audio/L16;codec=pcm;rate=24000",
        "audio/raw",
    ],
)
def test_raw_pcm_is_played(content_type: str) -> None:
    assert heard(pcm16(tone(24_000)), content_type) == pcm16(tone(24_000))


def test_raw_pcm_follows_the_content_type_s_rate_and_byte_order() -> None:
    assert is_tone(heard(pcm16(tone(16_000)), "audio/pcm;rate=16000"))
    swapped = np.frombuffer(pcm16(tone(24_000)), dtype="<i2").astype(">i2").tobytes()
    assert is_tone(heard(swapped, "audio/L16; rate=24000; channels=1"))
    with pytest.raises(AnswerFault):
        heard(pcm16(tone(24_000)), "audio/pcm;rate=1")


def test_an_odd_last_byte_is_dropped() -> None:
    sound = pcm16(tone(24_000))
    for piece_bytes in (1, 4799, 4800):
        assert heard(sound + b"\x7f", piece_bytes=piece_bytes) == sound
    assert is_tone(heard(WAVS["16 bits"](44_100) + b"\x7f"))
    assert is_tone(heard(wav(1, 2, 24_000, 16, pcm16(both(tone(24_000))) + b"\x7f\x7f\x7f")))


MP3 = b"".join(b"\xff\xfb\x90\x64" + NOISE[at : at + 413] for at in range(0, 8000, 413))
NO_SOUND: list[tuple[bytes, str]] = [
    (b"", "audio/pcm"),
    (b"", "audio/wav"),
    (b"\x01", "audio/pcm"),
    (bytes(48_000), "audio/pcm"),
    (b"ID3\x04" + NOISE, "audio/mpeg"),
    (b"ID3\x04" + NOISE, "audio/pcm"),
    (MP3, "audio/mpeg"),
    (MP3, "audio/pcm"),
    (MP3, ""),
    (MP3[:300], "audio/mpeg"),
    (b"\xff\xfb\x90\x64" + bytes(9000), "audio/mpeg"),
    (b"OggS" + NOISE, "audio/pcm"),
    (b"fLaC" + NOISE, "audio/pcm"),
    (b"\0\0\0\x1cftypM4A " + NOISE, "audio/pcm"),
    (b"\x1a\x45\xdf\xa3" + NOISE, "application/octet-stream"),
    (NOISE, "audio/pcm"),
    (NOISE[:100], "audio/pcm"),
    ((np.sin(np.arange(9000) / 9) * 30 + 128).astype("u1").tobytes(), "audio/pcm"),
    (tone(24_000).astype("<f4").tobytes(), "audio/pcm"),
    (pcm16(tone(24_000)), "audio/ogg"),
    (pcm16(tone(24_000)), "text/html"),
    (json.dumps({"error": {"message": "Der Schlüssel fehlt."}}).encode(), "application/json"),
    (json.dumps({"error": "é" * 9000}, ensure_ascii=False).encode(), "audio/pcm"),
    (b'{"error":"no"}', "audio/pcm"),
    (b"<!DOCTYPE html><html>" + b"<p>busy</p>" * 1000, "text/html; charset=utf-8"),
    (b"<html></html>", "audio/pcm"),
    (b"no", ""),
    (b"RIFF\0\0\0\0WAVE", "audio/wav"),
    (b"RIFF\0\0", "audio/wav"),
    (wav(1, 1, 24_000, 16, b""), "audio/wav"),
    (wav(1, 1, 24_000, 16, bytes(9000)), "audio/wav"),
    (wav(1, 0, 24_000, 16, pcm16(tone(24_000))), "audio/wav"),
    (wav(1, 9, 24_000, 16, pcm16(tone(24_000))), "audio/wav"),
    (wav(2, 1, 24_000, 4, NOISE), "audio/wav"),
    (wav(0x55, 1, 24_000, 16, MP3), "audio/wav"),
    (wav(1, 1, 0, 16, pcm16(tone(24_000))), "audio/wav"),
    (wav(1, 1, 1, 16, pcm16(tone(24_000))), "audio/wav"),
    (wav(1, 1, 24_001, 16, pcm16(tone(24_000))), "audio/wav"),
    (wav(1, 1, 0xFFFF_FFFF, 16, b""), "audio/wav"),
    (b"RIFF\0\0\0\0WAVE" + chunk(b"data", pcm16(tone(24_000))), "audio/wav"),
    (b"RIFF\0\0\0\0WAVEfmt \4\0\0\0\1\0\1\0" + chunk(b"data", pcm16(tone(24_000))), "audio/wav"),
    (b"RIFF\0\0\0\0WAVE" + b"LIST\xff\xff\xff\xff" + NOISE, "audio/wav"),
]


@pytest.mark.parametrize(("body", "content_type"), NO_SOUND)
def test_other_bodies_are_a_fault_before_anything_is_played(body: bytes, content_type: str) -> None:
    for piece_bytes in (1, 4800, 100_000):
        played: list[bytes] = []
        with pytest.raises(AnswerFault):
            play(body, content_type, piece_bytes, played)
        assert not any(played)


@given(st.binary(max_size=300), st.sampled_from(["audio/wav", "audio/pcm", "", "\0", "audio/l16;rate=x"]))
def test_any_bytes_are_played_or_raise_one_fault(noise: bytes, content_type: str) -> None:
    for body in (noise, b"RIFF\0\0\0\0WAVE" + noise, wav(1, 1, 44_100, 16, noise)[:-3]):
        try:
            assert len(heard(body, content_type)) % 2 == 0
        except AnswerFault:
            continue


@given(st.integers(0, 0xFFFF), st.integers(0, 12), st.integers(0, 400_000), st.integers(0, 80))
def test_any_header_is_read_or_raises_one_fault(tag: int, channels: int, rate_hz: int, bits: int) -> None:
    try:
        heard(wav(tag, channels, rate_hz, bits, NOISE[:500]))
    except AnswerFault:
        return


def test_nan_samples_are_silent() -> None:
    samples = tone(24_000)
    samples[100:110] = [np.nan, np.inf, -np.inf, 9.0, -9.0, 1e300, np.nan, 0, 0, 0]
    sound = np.frombuffer(heard(wav(3, 1, 24_000, 64, samples.astype("<f8").tobytes())), dtype="<i2")
    assert sound.max() == 32767
    assert sound.min() == -32767


def test_silence_before_the_first_sound_is_shortened() -> None:
    lead = bytes(2 * 24_000)
    for piece_bytes in (1000, 4800, 200_000):
        sound = heard(lead + pcm16(tone(24_000)), piece_bytes=piece_bytes)
        silent = len(sound) - len(sound.lstrip(b"\0"))
        assert abs(silent - 2 * 24 * LEAD_MS) <= 2


def test_a_sentence_that_is_too_long_is_a_fault() -> None:
    with pytest.raises(AnswerFault):
        heard(pcm16(tone(24_000, MOST_SENTENCE_S + 1)), piece_bytes=100_000)
