"""WAV files: writes PCM16, mu-law or A-law with one or two channels; reads every usual form.

Source: Microsoft's "Multimedia Programming Interface and Data Specifications 1.0" (RIFF WAVE), and its later addition
WAVEFORMATEXTENSIBLE. The standard library's `wave` is not used because it does not support G.711.
"""

from __future__ import annotations

import audioop
import struct
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from audio.formats import AudioFormat, Coding
from audio.g711 import check_whole_samples
from audio.wav_parts import FLOAT, PCM, PCMA, PCMU, WavFormat, find_parts
from audio.whole_file import MAX_SOUND_BYTES, read_whole

TAGS = {PCM: Coding.PCM16, PCMA: Coding.PCMA, PCMU: Coding.PCMU}
MAX_DATA_BYTES = 0xFFFF_FF00


class WavError(ValueError):
    """A WAV file is malformed or of an unsupported kind; the message names the file and the reason."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name
        self.reason = reason


@dataclass(frozen=True, slots=True)
class WavSound:
    """A file's sound: one payload of equal length a channel. `remark` names what could not be read, or is empty."""

    format: AudioFormat
    channels: list[bytes]
    remark: str


def read_wav(source: str | Path | bytes) -> tuple[AudioFormat, list[bytes]]:
    """Read a file or its bytes: the format, and one payload of equal length a channel. Raises like `read_sound`."""
    sound = read_sound(source)
    return sound.format, sound.channels


def read_sound(source: str | Path | bytes, most_bytes: int = MAX_SOUND_BYTES) -> WavSound:
    """Read a file or its bytes. G.711 stays G.711; everything else becomes PCM16. The file may hold no samples.

    Raises WavError if it is not a readable WAV file, and OSError if it cannot be opened, is not a regular file, or has
    more than `most_bytes`.
    """
    if isinstance(source, bytes):
        name, content = "WAV bytes", source
    else:
        name, content = str(source), read_whole(Path(source), most_bytes)
    try:
        parts = find_parts(content)
    except ValueError as error:
        raise WavError(name, str(error)) from error
    written = parts.format
    frame_bytes = written.sample_bytes * written.channels
    payload = parts.payload[: len(parts.payload) - len(parts.payload) % frame_bytes]
    format = AudioFormat(TAGS.get(written.tag, Coding.PCM16), written.rate_hz)
    return WavSound(format, _split(_as_16_bit(payload, written), format, written.channels), parts.remark)


def _as_16_bit(payload: bytes, written: WavFormat) -> bytes:
    if written.tag == FLOAT:
        converted: bytes = import_module("audio.float_samples").floats_to_pcm16(payload, written.bits)
        return converted
    if written.tag != PCM or written.sample_bytes == 2:
        return payload
    if written.sample_bytes == 1:  # 8-bit samples are unsigned, all others are signed
        payload = audioop.bias(payload, 1, 128)
    return audioop.lin2lin(payload, written.sample_bytes, 2)


def _split(payload: bytes, format: AudioFormat, channels: int) -> list[bytes]:
    if channels == 1:
        return [payload]
    if format.coding is not Coding.PCM16:
        return [payload[channel::channels] for channel in range(channels)]
    samples = array("h", payload)
    return [samples[channel::channels].tobytes() for channel in range(channels)]


def write_wav(path: str | Path, format: AudioFormat, channels: Sequence[bytes]) -> None:
    """Write one or two channels of equal length. Raises ValueError for other channels, OSError if writing fails."""
    if len({len(channel) for channel in channels}) > 1:
        raise ValueError(f"channels differ in length: {[len(channel) for channel in channels]} bytes")
    with WavWriter(path, format, len(channels)) as wav:
        wav.write(channels[0] if len(channels) == 1 else interleave(format, channels[0], channels[1]))


def interleave(format: AudioFormat, left: bytes, right: bytes) -> bytes:
    """Interleave two channels sample by sample. Raises ValueError for half a sample or unequal lengths."""
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
    """Writes a WAV file piece by piece; the header is correct only after `close`."""

    def __init__(self, path: str | Path, format: AudioFormat, channels: int) -> None:
        """Raises ValueError unless there are one or two channels, OSError if the file cannot be created."""
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
        """Append samples; two channels are interleaved. Raises ValueError past 4 GiB or for half a sample."""
        if len(payload) % (self._format.sample_bytes * self._channels):
            raise ValueError(f"{len(payload)} bytes are not whole samples of {self._channels} x {self._format}")
        if self._data_bytes + len(payload) > MAX_DATA_BYTES:
            raise ValueError("a WAV file holds less than 4 GiB")
        self._file.write(payload)
        self._data_bytes += len(payload)

    def close(self) -> None:
        """Complete the header and close the file; a second call does nothing."""
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
        else:  # formats other than PCM need the length of an extension, and a `fact` chunk with the sample count
            body += struct.pack("<H", 0)
            chunks = struct.pack("<4sI", b"fmt ", len(body)) + body
            chunks += struct.pack("<4sII", b"fact", 4, self._data_bytes // frame_bytes)
        riff_bytes = 4 + len(chunks) + 8 + self._data_bytes + self._data_bytes % 2
        return (
            struct.pack("<4sI4s", b"RIFF", riff_bytes, b"WAVE")
            + chunks
            + struct.pack("<4sI", b"data", self._data_bytes)
        )
