"""WAV files: PCM16, mu-law and A-law, one or two channels.

Source: Microsoft's "Multimedia Programming Interface and Data Specifications 1.0" (RIFF WAVE), and its later addition
WAVEFORMATEXTENSIBLE. Read and written here, since the standard library's `wave` knows no G.711.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from audio.formats import AudioFormat, Coding
from audio.g711 import check_whole_samples

TAGS = {1: Coding.PCM16, 6: Coding.PCMA, 7: Coding.PCMU}
EXTENSIBLE = 0xFFFE
MEDIA_GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")  # of every sub-format that stands for a plain tag
HIGHEST_RATE_HZ = 384_000
# Programs that write into a pipe cannot know the length and claim about 2 GiB (sox) or 4 (ffmpeg).
UNKNOWN_LENGTH = 0x7FFF_F000
MAX_DATA_BYTES = 0xFFFF_FF00


class WavError(ValueError):
    """A WAV file is malformed, or of a kind not read here; the message names the file and says why."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name
        self.reason = reason


def read_wav(source: str | Path | bytes) -> tuple[AudioFormat, list[bytes]]:
    """Read a file, or a file's bytes: its format, and each channel's payload (equally long).

    Raises WavError for what is not such a file, and OSError where it cannot be opened.
    """
    if isinstance(source, bytes):
        name, content = "WAV bytes", source
    else:
        name, content = str(source), Path(source).read_bytes()
    format, channels, payload = _parse(name, content)
    frame_bytes = format.sample_bytes * channels
    payload = payload[: len(payload) - len(payload) % frame_bytes]
    if channels == 1:
        return format, [payload]
    if format.coding is not Coding.PCM16:
        return format, [payload[0::2], payload[1::2]]
    samples = array("h", payload)
    return format, [samples[0::2].tobytes(), samples[1::2].tobytes()]


def write_wav(path: str | Path, format: AudioFormat, channels: Sequence[bytes]) -> None:
    """Write one or two channels of equal length. Raises ValueError for anything else, OSError where it cannot."""
    if len({len(channel) for channel in channels}) > 1:
        raise ValueError(f"channels differ in length: {[len(channel) for channel in channels]} bytes")
    with WavWriter(path, format, len(channels)) as wav:
        wav.write(channels[0] if len(channels) == 1 else interleave(format, channels[0], channels[1]))


def interleave(format: AudioFormat, left: bytes, right: bytes) -> bytes:
    """Two channels of equal length as one run of pairs. Raises ValueError for half a sample or unequal lengths."""
    if format.coding is not Coding.PCM16:
        both = bytearray(len(left) * 2)
        both[0::2], both[1::2] = left, right
        return bytes(both)
    check_whole_samples(left)
    check_whole_samples(right)
    pairs = array("h", bytes(len(left) * 2))
    pairs[0::2], pairs[1::2] = array("h", left), array("h", right)
    return pairs.tobytes()


class WavWriter:
    """Writes a WAV file piece by piece; its header holds once the writer is closed."""

    def __init__(self, path: str | Path, format: AudioFormat, channels: int) -> None:
        """Raises ValueError for other than one or two channels, OSError where the file cannot be made."""
        if channels not in (1, 2):
            raise ValueError(f"cannot write {channels} channels, only 1 or 2")
        self._format = format
        self._channels = channels
        self._data_bytes = 0
        self._file: BinaryIO = Path(path).open("wb")  # noqa: SIM115 - closed by close()
        self._file.write(self._header())

    def __enter__(self) -> WavWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def write(self, payload: bytes) -> None:
        """Append samples, two channels interleaved. Raises ValueError past 4 GiB, or for half a sample."""
        if len(payload) % (self._format.sample_bytes * self._channels):
            raise ValueError(f"{len(payload)} bytes are not whole samples of {self._channels} x {self._format}")
        if self._data_bytes + len(payload) > MAX_DATA_BYTES:
            raise ValueError("a WAV file holds less than 4 GiB")
        self._file.write(payload)
        self._data_bytes += len(payload)

    def close(self) -> None:
        """Complete the header and close the file; a second time does nothing."""
        if self._file.closed:
            return
        try:
            if self._data_bytes % 2:
                self._file.write(b"\0")
            self._file.seek(0)
            self._file.write(self._header())
        finally:
            self._file.close()

    def _header(self) -> bytes:
        format, channels = self._format, self._channels
        tag = next(tag for tag, coding in TAGS.items() if coding is format.coding)
        frame_bytes = format.sample_bytes * channels
        body = struct.pack(
            "<HHIIHH", tag, channels, format.rate_hz, format.rate_hz * frame_bytes, frame_bytes, format.sample_bytes * 8
        )
        if tag == 1:
            chunks = struct.pack("<4sI", b"fmt ", len(body)) + body
        else:  # what is not plain PCM carries an extension's length and a count of samples
            body += struct.pack("<H", 0)
            chunks = struct.pack("<4sI", b"fmt ", len(body)) + body
            chunks += struct.pack("<4sII", b"fact", 4, self._data_bytes // frame_bytes)
        riff_bytes = 4 + len(chunks) + 8 + self._data_bytes + self._data_bytes % 2
        return (
            struct.pack("<4sI4s", b"RIFF", riff_bytes, b"WAVE")
            + chunks
            + struct.pack("<4sI", b"data", self._data_bytes)
        )


def _parse(name: str, content: bytes) -> tuple[AudioFormat, int, bytes]:
    """Format, channels and the interleaved payload."""
    if len(content) < 12 or content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        raise WavError(name, "is not a RIFF WAVE file")
    found: tuple[AudioFormat, int] | None = None
    at = 12
    while at + 8 <= len(content):
        kind, size = struct.unpack_from("<4sI", content, at)
        at += 8
        if kind == b"data":
            if found is None:
                raise WavError(name, "has its data before its format")
            if size >= UNKNOWN_LENGTH:
                size = len(content) - at
            if at + size > len(content):
                raise WavError(
                    name, f"is cut short: {size} bytes of sound are announced, {len(content) - at} are there"
                )
            return *found, content[at : at + size]
        if at + size > len(content):
            raise WavError(name, f"is cut short in its {kind!r} part")
        if kind == b"fmt ":
            found = _parse_format(name, content[at : at + size])
        at += size + size % 2
    raise WavError(name, "holds no sound" if found else "has no format")


def _parse_format(name: str, body: bytes) -> tuple[AudioFormat, int]:
    if len(body) < 16:
        raise WavError(name, f"has a format of {len(body)} bytes, not 16 or more")
    tag, channels, rate_hz, _, frame_bytes, bits = struct.unpack_from("<HHIIHH", body)
    if tag == EXTENSIBLE and len(body) >= 40 and body[26:40] == MEDIA_GUID_TAIL:
        (tag,) = struct.unpack_from("<H", body, 24)
    if tag not in TAGS:
        raise WavError(name, f"holds encoding {tag:#06x}; only 16-bit PCM, mu-law and A-law are read")
    coding = TAGS[tag]
    if bits != (16 if coding is Coding.PCM16 else 8):
        raise WavError(name, f"holds {bits}-bit {coding}; only 16-bit PCM, mu-law and A-law are read")
    if channels not in (1, 2):
        raise WavError(name, f"has {channels} channels; only 1 or 2 are read")
    if not 0 < rate_hz <= HIGHEST_RATE_HZ:
        raise WavError(name, f"claims {rate_hz} samples a second")
    format = AudioFormat(coding, rate_hz)
    if frame_bytes != format.sample_bytes * channels:
        raise WavError(name, f"claims {frame_bytes} bytes for {channels} samples of {bits} bits")
    return format, channels
