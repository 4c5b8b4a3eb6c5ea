"""Decides what a speech endpoint has sent: raw PCM, a WAV file, or something that cannot be played.

The request asks for raw PCM, but services also send WAV files, MP3, JSON with an error in it, or a web page; played as
PCM, all of these would be noise. The first bytes decide where they are unambiguous, then the content type, then how the
bytes would sound.
Source: the formats' own magic numbers; ISO/IEC 11172-3, 2.4.1.3 (MPEG audio's header); RFC 2586 (audio/L16).
"""

from __future__ import annotations

import re
from enum import Enum, auto

import numpy as np

from gateway.models.local.answer_fault import AnswerFault
from gateway.models.local.wav_stream import is_wav

HEAD_BYTES = 4800  # how many bytes are examined: 100 ms at 24 kHz, or three frames of most MP3 files
ASKED_HZ = 24_000
RATES_HZ = range(8_000, 192_001)

RAW_TYPES = frozenset(
    {
        "",
        "application/octet-stream",
        "binary/octet-stream",
        "audio/pcm",
        "audio/x-pcm",
        "audio/raw",
        "audio/x-raw",
        "audio/l16",
    }
)
_MAGIC = (
    (0, b"ID3", "MP3"),
    (0, b"OggS", "Ogg"),
    (0, b"fLaC", "FLAC"),
    (4, b"ftyp", "MP4"),
    (0, b"\x1a\x45\xdf\xa3", "WebM"),
    (0, b"FORM", "AIFF"),
    (0, b".snd", "AU"),
    (0, b"caff", "CAF"),
    (0, b"#!AMR", "AMR"),
    (0, b"RIFX", "big-endian WAV"),
)
_RATE = re.compile(r";\s*(?:sample_?)?rate\s*=\s*\"?(\d{1,6})\b", re.IGNORECASE)
_CONTROL = re.compile(r"[\0-\x08\x0e-\x1f\x7f\x80-\x9f]")

# MPEG-1 layers I to III, then MPEG-2 and 2.5 layer I, and their layers II and III; kbit/s.
_BITRATES = {
    (3, 3): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (3, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (3, 1): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 3): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 1): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_MPEG_HZ = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}

# Levels are RMS, of 32768. Softer sound is never taken for noise. No voice is louder than LOUDEST over 100 ms, but
# silence in unsigned samples is.
LOUD = 6000.0
LOUDEST = 20_000.0
# The RMS of the steps between samples, divided by the level: 1.4 for noise, below 0.5 for voices.
ROUGH = 1.0
# The mean, divided by the level: near 0 for a voice, but not for unsigned or padded samples.
OFF_CENTRE = 0.7


class Kind(Enum):
    """The kinds of sound that can be played."""

    WAV = auto()
    PCM = auto()
    PCM_BIG_ENDIAN = auto()


def kind_of(head: bytes, content_type: str) -> Kind:
    """The kind of a sound that begins with these bytes. Raises AnswerFault, which names the format, for any other."""
    if not head:
        raise AnswerFault("the endpoint sent nothing")
    if is_wav(head):
        return Kind.WAV
    found = _compressed(head)
    if found is not None:
        raise AnswerFault(f"the endpoint sent {found}")
    if _is_text(head):
        raise AnswerFault("the endpoint sent text")
    media = content_type.partition(";")[0].strip().lower()
    if media not in RAW_TYPES:
        raise AnswerFault("the content type names an encoding other than PCM")
    big_endian = media == "audio/l16" and _steps(head, ">i2") < _steps(head, "<i2")
    if _is_noise(head, ">i2" if big_endian else "<i2"):
        raise AnswerFault("the endpoint sent bytes that are not PCM")
    return Kind.PCM_BIG_ENDIAN if big_endian else Kind.PCM


def rate_of(content_type: str) -> int:
    """The rate of raw PCM in Hz: the content type's, or else as requested. Raises AnswerFault for any other."""
    named = _RATE.search(content_type)
    rate_hz = ASKED_HZ if named is None else int(named[1])
    if rate_hz not in RATES_HZ:
        raise AnswerFault(f"the endpoint sent PCM at {rate_hz} Hz")
    return rate_hz


def _compressed(head: bytes) -> str | None:
    for at, magic, name in _MAGIC:
        if head[at : at + len(magic)] == magic:
            return name
    first = _mpeg_frame_bytes(head)
    if first is None:
        return None
    # One MPEG frame header may be a sample of PCM by chance; two at the right distance are not.
    following = head[first:]
    if following[:2] == head[:2] and _mpeg_frame_bytes(following) is not None:
        return "MP3 or AAC"
    return None


def _mpeg_frame_bytes(head: bytes) -> int | None:
    """The length in bytes of the MPEG audio or AAC (ADTS) frame at the beginning; None: there is none."""
    if len(head) < 6 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    if layer == 0:
        aac_bytes = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
        return aac_bytes if head[1] & 0xF0 == 0xF0 and aac_bytes > 6 else None
    index, rate_index = head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or index in (0, 15) or rate_index == 3:
        return None
    table = (3, layer) if version == 3 else (2, 3 if layer == 3 else 1)
    bitrate, rate_hz, padding = _BITRATES[table][index - 1] * 1000, _MPEG_HZ[version][rate_index], head[2] >> 1 & 1
    if layer == 3:
        return (12 * bitrate // rate_hz + padding) * 4
    samples = 576 if layer == 1 and version != 3 else 1152
    return samples // 8 * bitrate // rate_hz + padding


def _is_text(head: bytes) -> bool:
    """Whether this is text (JSON, a web page, a sentence). Sound has control characters in any few bytes."""
    for cut in range(4):  # the last character may be incomplete
        try:
            text = head[: len(head) - cut].decode()
        except UnicodeDecodeError:
            continue
        return bool(text.strip()) and _CONTROL.search(text) is None
    return False


def _is_noise(head: bytes, order: str) -> bool:
    """Whether this, played as PCM16, is louder or rougher than a voice: compressed data, or other sample types."""
    samples = np.frombuffer(head[: len(head) // 2 * 2], dtype=order).astype(np.float64)
    if len(samples) < 2:
        return True
    level = float(np.sqrt(np.mean(samples**2)))
    if level < LOUD:
        return False
    steps = float(np.sqrt(np.mean(np.diff(samples) ** 2)))
    return level > LOUDEST or steps > ROUGH * level or abs(float(np.mean(samples))) > OFF_CENTRE * level


def _steps(head: bytes, order: str) -> float:
    samples = np.frombuffer(head[: len(head) // 2 * 2], dtype=order).astype(np.float64)
    return float(np.abs(np.diff(samples)).sum())
