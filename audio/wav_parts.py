"""What a WAV file is made of: where its sound lies and how that is written, also where its maker left the header wrong.

A recorder that is killed leaves the lengths that it began with, 0 or all ones; one that writes into a pipe never learns
them; and some do not fill odd parts up to an even length. The sound is found all the same, as long as it is there.
Source: Microsoft's RIFF WAVE (see `wav.py`); EBU Tech 3306 and ITU-R BS.2088 for RF64 and BW64, with 64-bit lengths.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

PCM, FLOAT, PCMA, PCMU = 1, 3, 6, 7
EXTENSIBLE = 0xFFFE
# Programs that write into a pipe cannot know the length and claim about 2 GiB (sox) or 4 (ffmpeg).
UNKNOWN_LENGTH = 0x7FFF_F000
MOST_BYTES = 1 << 62  # a length of 64 bits that nobody has filled in is above
HIGHEST_RATE_HZ = 384_000
MOST_CHANNELS = 64
MOST_PARTS = 1000  # a recording has some ten; each is looked at again for each part without a length

_MEDIA_GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")  # of every sub-format that stands for a plain tag
_KINDS = frozenset(
    {
        b"fmt ",
        b"data",
        b"fact",
        b"LIST",
        b"ds64",
        b"bext",
        b"cue ",
        b"smpl",
        b"inst",
        b"id3 ",
        b"JUNK",
        b"junk",
        b"PEAK",
    }
)
_ENCODINGS = {2: "Microsoft ADPCM", 0x11: "IMA ADPCM", 0x31: "GSM 6.10", 0x50: "MPEG", 0x55: "MP3", 0xFF: "AAC"}
_TOO_MANY = f"has more than {MOST_PARTS} parts; save it anew"
_READ = "read are PCM of 8 to 32 bits, floating point, mu-law and A-law, so save it as 16-bit PCM"
_OTHERS = (
    (b"OggS", "an Ogg file"),
    (b"fLaC", "a FLAC file"),
    (b"ID3", "an MP3 file"),
    (b"\xff\xfb", "an MP3 file"),
    (b"\xff\xf3", "an MP3 file"),
    (b"FORM", "an AIFF file"),
    (b"caff", "a Core Audio file"),
    (b"riff", "a Wave64 file"),
    (b".snd", "an AU file"),
    (b"\x1aE\xdf\xa3", "a WebM or Matroska file"),
    (b"RIFX", "a WAV file in the byte order of other machines (RIFX)"),
)


@dataclass(frozen=True, slots=True)
class WavFormat:
    """How samples are written. `tag` is PCM, FLOAT, PCMA or PCMU; `sample_bytes` is what one takes in the file."""

    tag: int
    channels: int
    rate_hz: int
    bits: int
    sample_bytes: int


@dataclass(frozen=True, slots=True)
class WavParts:
    """The sound, interleaved, and how it is written. `remark`: what is amiss, where not all could be read; or empty."""

    format: WavFormat
    payload: bytes
    remark: str


def find_parts(content: bytes) -> WavParts:
    """Find them in a file's bytes. Raises ValueError, which says what is wrong, for what holds none."""
    if len(content) < 12 or content[:4] not in (b"RIFF", b"RF64", b"BW64") or content[8:12] != b"WAVE":
        raise ValueError(_not_wav(content))
    found: WavFormat | None = None
    long_bytes: int | None = None  # the sound's length in 64 bits
    at = 12
    for _ in range(MOST_PARTS):
        if at + 8 > len(content):
            break
        kind, size = struct.unpack_from("<4sI", content, at)
        body = at + 8
        if kind == b"data":
            if found is None:
                raise ValueError("has its data before its format; save it anew")
            sound = _sound(content, body, size, long_bytes)
            if sound is not None:
                return WavParts(found, *sound)
        elif body + size > len(content):
            at = _resumed(content, at, found is None)
            continue
        elif kind == b"fmt ":
            found = read_format(content[body : body + size])
        elif kind == b"ds64" and size >= 16:
            (long_bytes,) = struct.unpack_from("<Q", content, body + 8)
        at = _behind(content, body + size)
    else:
        raise ValueError(_TOO_MANY)
    raise ValueError("holds no sound" if found else "has no format, so it cannot be played")


def _sound(content: bytes, body: int, size: int, long_bytes: int | None) -> tuple[bytes, str] | None:
    """A data part's payload and what is amiss with it; None where it is empty."""
    there = len(content) - body
    announced = long_bytes if size == 0xFFFF_FFFF and long_bytes is not None else size
    if announced == 0 and not _are_parts(content, body):
        return content[body:], ""  # never closed: the length that it began with
    if announced == 0:
        return None
    if announced <= there:
        behind = _behind(content, body + announced)
        left_bytes = len(content) - behind
        strange = left_bytes > 0 and not _are_parts(content, behind) and not _is_blank(content, behind)
        return content[body : body + announced], f"{left_bytes} bytes behind its sound are not read" if strange else ""
    if there == 0:
        return None
    if announced >= MOST_BYTES or UNKNOWN_LENGTH <= size == announced:
        return content[body:], ""
    return content[body:], f"is cut short: {announced} bytes of sound are announced, {there} are there and are used"


def _are_parts(content: bytes, at: int) -> bool:
    """Whether from here to its end, which may be here, a file is a row of parts; sound is none.

    Raises ValueError for a row without end.
    """
    for _ in range(MOST_PARTS):
        if at + 8 > len(content):
            return at >= len(content) or _is_blank(content, at)
        kind, size = struct.unpack_from("<4sI", content, at)
        if not _is_name(kind) or (at + 8 + size > len(content) and kind not in _KINDS):
            return False
        at = _behind(content, at + 8 + size)
    raise ValueError(_TOO_MANY)


def _is_blank(content: bytes, at: int) -> bool:
    """Whether all bytes from here on are 0: by comparing, since to look at each of many would hold up other threads."""
    return content[at:] == bytes(max(len(content) - at, 0))


def _behind(content: bytes, end: int) -> int:
    """Where the part behind one that ends here begins: at an even place, unless the file's maker did not care."""
    if end % 2 == 0 or (content[end : end + 4] in _KINDS and content[end + 1 : end + 5] not in _KINDS):
        return end
    return end + 1


def _resumed(content: bytes, at: int, formless: bool) -> int:
    """Where to go on behind a part whose length is wrong: at the next one that is needed."""
    needed = b"fmt " if formless else b"data"
    found = content.find(needed, at + 4)
    if found < 0:
        raise ValueError(f"is cut short in its {content[at : at + 4].decode('latin-1')!a} part; save it anew")
    return found


def _is_name(kind: bytes) -> bool:
    return all(0x20 <= sign < 0x7F for sign in kind)


def read_format(body: bytes) -> WavFormat:
    """Read a `fmt ` part. Raises ValueError for a format that is malformed or not read here."""
    if len(body) < 16:
        raise ValueError(f"has a format of {len(body)} bytes, not 16 or more; save it anew")
    tag, channels, rate_hz, _, frame_bytes, bits = struct.unpack_from("<HHIIHH", body)
    if tag == EXTENSIBLE and len(body) >= 40 and body[26:40] == _MEDIA_GUID_TAIL:
        (tag,) = struct.unpack_from("<H", body, 24)
    if tag not in (PCM, FLOAT, PCMA, PCMU):
        name = f" ({_ENCODINGS[tag]})" if tag in _ENCODINGS else ""
        raise ValueError(f"holds encoding {tag:#06x}{name}; {_READ}")
    fits = {PCM: 1 <= bits <= 32, FLOAT: bits in (32, 64)}.get(tag, bits == 8)
    if not fits:
        raise ValueError(f"holds {bits}-bit {('', 'PCM', '', 'floats', '', '', 'A-law', 'mu-law')[tag]}; {_READ}")
    if not 1 <= channels <= MOST_CHANNELS:
        raise ValueError(f"has {channels} channels; 1 to {MOST_CHANNELS} are read")
    if not 0 < rate_hz <= HIGHEST_RATE_HZ:
        raise ValueError(f"claims {rate_hz} samples a second; up to {HIGHEST_RATE_HZ} are read")
    sample_bytes = -(-bits // 8)
    if tag == PCM and bits > 16 and frame_bytes == 4 * channels:
        sample_bytes = 4  # the highest bits of four bytes
    if frame_bytes not in (0, sample_bytes * channels):
        raise ValueError(f"claims {frame_bytes} bytes for {channels} samples of {bits} bits; save it anew")
    return WavFormat(tag, channels, rate_hz, bits, sample_bytes)


def _not_wav(content: bytes) -> str:
    if not content:
        return "is empty; record it again"
    kind = next((name for magic, name in _OTHERS if content.startswith(magic)), "")
    if content[4:8] == b"ftyp":
        kind = "an MP4 or M4A file"
    if kind:
        return f"is {kind}, and not a usual WAV file; convert it, for example with ffmpeg"
    return "is not a RIFF WAVE file; save it as one"
