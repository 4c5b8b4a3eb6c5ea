"""Finds the sound in a WAV file and its format, also where the header is wrong.

A recorder that is killed leaves the lengths it started with, 0 or all ones; a program that writes to a pipe cannot fill
in the lengths; and some programs do not pad odd chunks to an even length. The sound is found in all these cases.
Source: Microsoft's RIFF WAVE (see `wav.py`); EBU Tech 3306 and ITU-R BS.2088 for RF64 and BW64, with 64-bit lengths.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

PCM, FLOAT, PCMA, PCMU = 1, 3, 6, 7
EXTENSIBLE = 0xFFFE
# A program that writes to a pipe does not know the length and writes about 2 GiB (sox) or 4 GiB (ffmpeg).
UNKNOWN_LENGTH = 0x7FFF_F000
# A 64-bit length that was never filled in is above this.
MOST_BYTES = 1 << 62
HIGHEST_RATE_HZ = 384_000
MOST_CHANNELS = 64
# A recording has about ten chunks. All of them are read again for each `data` chunk, so their number is bounded.
MOST_PARTS = 1000

# The end of every sub-format GUID whose first two bytes are a plain format tag.
_MEDIA_GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")
_CHUNK_KINDS = frozenset(
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
_TOO_MANY = f"has more than {MOST_PARTS} chunks; save it again"
_SUPPORTED = "supported are PCM of 8 to 32 bits, floating point, mu-law and A-law; save it as 16-bit PCM"
_OTHER_KINDS = (
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
    (b"RIFX", "a big-endian WAV file (RIFX)"),
)


@dataclass(frozen=True, slots=True)
class WavFormat:
    """How samples are stored. `tag` is PCM, FLOAT, PCMA or PCMU; `sample_bytes` is one sample's size in the file."""

    tag: int
    channels: int
    rate_hz: int
    bits: int
    sample_bytes: int


@dataclass(frozen=True, slots=True)
class WavParts:
    """The interleaved sound and its format. `remark` says what could not be read, or is empty."""

    format: WavFormat
    payload: bytes
    remark: str


def find_parts(content: bytes) -> WavParts:
    """Find the format and the sound in a file's bytes. Raises ValueError that says what is wrong if there are none."""
    if len(content) < 12 or content[:4] not in (b"RIFF", b"RF64", b"BW64") or content[8:12] != b"WAVE":
        raise ValueError(_not_wav(content))
    found: WavFormat | None = None
    long_bytes: int | None = None  # the 64-bit length of the sound, from a ds64 chunk
    at = 12
    for _ in range(MOST_PARTS):
        if at + 8 > len(content):
            break
        kind, size = struct.unpack_from("<4sI", content, at)
        body = at + 8
        if kind == b"data":
            if found is None:
                raise ValueError("has its data before its format; save it again")
            sound = _sound(content, body, size, long_bytes)
            if sound is not None:
                return WavParts(found, *sound)
        elif body + size > len(content):
            at = _skip_broken(content, at, found is None)
            continue
        elif kind == b"fmt ":
            found = read_format(content[body : body + size])
        elif kind == b"ds64" and size >= 16:
            (long_bytes,) = struct.unpack_from("<Q", content, body + 8)
        at = _next_chunk(content, body + size)
    else:
        raise ValueError(_TOO_MANY)
    raise ValueError("holds no sound" if found else "has no format, so it cannot be played")


def _sound(content: bytes, body: int, size: int, long_bytes: int | None) -> tuple[bytes, str] | None:
    """The payload of a `data` chunk and a remark about it; None if it is empty."""
    there = len(content) - body
    announced = long_bytes if size == 0xFFFF_FFFF and long_bytes is not None else size
    if announced == 0 and not _are_chunks(content, body):
        return content[body:], ""  # the file was never closed, so the length is still 0
    if announced == 0:
        return None
    if announced <= there:
        after = _next_chunk(content, body + announced)
        left_bytes = len(content) - after
        strange = left_bytes > 0 and not _are_chunks(content, after) and not _is_blank(content, after)
        return content[body : body + announced], f"{left_bytes} bytes after its sound are not read" if strange else ""
    if there == 0:
        return None
    if announced >= MOST_BYTES or UNKNOWN_LENGTH <= size == announced:
        return content[body:], ""
    return content[body:], f"is cut short: {announced} bytes of sound are announced, but only {there} are there"


def _are_chunks(content: bytes, at: int) -> bool:
    """Whether the rest of the file, which may be empty, is a sequence of chunks; sound samples are not.

    Raises ValueError for too many chunks.
    """
    for _ in range(MOST_PARTS):
        if at + 8 > len(content):
            return at >= len(content) or _is_blank(content, at)
        kind, size = struct.unpack_from("<4sI", content, at)
        if not _is_name(kind) or (at + 8 + size > len(content) and kind not in _CHUNK_KINDS):
            return False
        at = _next_chunk(content, at + 8 + size)
    raise ValueError(_TOO_MANY)


def _is_blank(content: bytes, at: int) -> bool:
    """Whether all bytes from here on are 0. A comparison is used because a loop would block other threads for long."""
    return content[at:] == bytes(max(len(content) - at, 0))


def _next_chunk(content: bytes, end: int) -> int:
    """Where the chunk after one that ends at `end` begins: at an even offset, unless the file lacks the padding."""
    if end % 2 == 0 or (content[end : end + 4] in _CHUNK_KINDS and content[end + 1 : end + 5] not in _CHUNK_KINDS):
        return end
    return end + 1


def _skip_broken(content: bytes, at: int, formless: bool) -> int:
    """Where to continue after a chunk whose length is wrong: at the next chunk that is needed."""
    needed = b"fmt " if formless else b"data"
    found = content.find(needed, at + 4)
    if found < 0:
        raise ValueError(f"is cut short in its {content[at : at + 4].decode('latin-1')!a} chunk; save it again")
    return found


def _is_name(kind: bytes) -> bool:
    return all(0x20 <= character < 0x7F for character in kind)


def read_format(body: bytes) -> WavFormat:
    """Read a `fmt ` chunk. Raises ValueError for a malformed or unsupported format."""
    if len(body) < 16:
        raise ValueError(f"has a format chunk of {len(body)} bytes, not 16 or more; save it again")
    tag, channels, rate_hz, _, frame_bytes, bits = struct.unpack_from("<HHIIHH", body)
    if tag == EXTENSIBLE and len(body) >= 40 and body[26:40] == _MEDIA_GUID_TAIL:
        (tag,) = struct.unpack_from("<H", body, 24)
    if tag not in (PCM, FLOAT, PCMA, PCMU):
        name = f" ({_ENCODINGS[tag]})" if tag in _ENCODINGS else ""
        raise ValueError(f"has the encoding {tag:#06x}{name}; {_SUPPORTED}")
    fits = {PCM: 1 <= bits <= 32, FLOAT: bits in (32, 64)}.get(tag, bits == 8)
    if not fits:
        raise ValueError(f"has {bits}-bit {('', 'PCM', '', 'floats', '', '', 'A-law', 'mu-law')[tag]}; {_SUPPORTED}")
    if not 1 <= channels <= MOST_CHANNELS:
        raise ValueError(f"has {channels} channels; 1 to {MOST_CHANNELS} are supported")
    if not 0 < rate_hz <= HIGHEST_RATE_HZ:
        raise ValueError(f"has {rate_hz} samples a second; up to {HIGHEST_RATE_HZ} are supported")
    sample_bytes = -(-bits // 8)
    if tag == PCM and bits > 16 and frame_bytes == 4 * channels:
        sample_bytes = 4  # the sample is in the highest bits of four bytes
    if frame_bytes not in (0, sample_bytes * channels):
        raise ValueError(f"has {frame_bytes} bytes for {channels} samples of {bits} bits; save it again")
    return WavFormat(tag, channels, rate_hz, bits, sample_bytes)


def _not_wav(content: bytes) -> str:
    if not content:
        return "is empty; record it again"
    kind = next((name for magic, name in _OTHER_KINDS if content.startswith(magic)), "")
    if content[4:8] == b"ftyp":
        kind = "an MP4 or M4A file"
    if kind:
        return f"is {kind}, which is not supported; convert it to a usual WAV file, for example with ffmpeg"
    return "is not a RIFF WAVE file; save it as one"
