"""Reads a WAV file that arrives in pieces, and returns its sound at once, mixed to one channel of PCM16.

A speech endpoint may send any of the common encodings, at any rate, with a length of 0 or 4 GiB where it does not know
the length yet, and chunks of other kinds before the sound.
Source: Microsoft's "Multimedia Programming Interface and Data Specifications 1.0" and WAVEFORMATEXTENSIBLE; EBU Tech
3306 (RF64).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audio.formats import Coding
from audio.g711 import decode
from gateway.models.local.answer_fault import AnswerFault

HEAD_BYTES = 12
FORMS = (b"RIFF", b"RF64", b"BW64")
MOST_BEFORE_BYTES = 1024 * 1024  # of chunks before the sound (pictures, cues)
MOST_FORMAT_BYTES = 1024
MOST_CHANNELS = 8
UNKNOWN_LENGTH = 0x7FFF_F000  # programs that write into a pipe claim about 2 or 4 GiB
PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
G711 = {6: Coding.PCMA, 7: Coding.PCMU}
SAMPLE_BYTES = {PCM: (1, 2, 3, 4), FLOAT: (4, 8), 6: (1,), 7: (1,)}


def is_wav(head: bytes) -> bool:
    """Whether a file that begins with these bytes is a WAV file."""
    return len(head) >= HEAD_BYTES and head[:4] in FORMS and head[8:12] == b"WAVE"


@dataclass(frozen=True, slots=True)
class _Layout:
    """The layout of the file's samples."""

    tag: int
    channels: int
    rate_hz: int
    sample_bytes: int


class WavStream:
    """Reads one file from its first byte."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._in_head = True
        self._skip = 0  # bytes of the present chunk that are still to be skipped
        self._padded = False  # whether the chunk before had an odd length
        self._before = 0  # bytes consumed before the sound
        self._layout: _Layout | None = None
        self._in_sound = False
        self._left: int | None = None  # bytes of sound that are still to come; None: until the stream ends

    @property
    def rate_hz(self) -> int | None:
        """The sound's rate; None until the format chunk is read, which is always before the sound."""
        return None if self._layout is None else self._layout.rate_hz

    def feed(self, piece: bytes) -> bytes:
        """Take a piece, and return the complete samples as PCM16. Raises AnswerFault for an unreadable file."""
        self._bytes += piece
        while not self._in_sound:
            if not self._advance():
                return b""
        return self._sound()

    def _advance(self) -> bool:
        """Read one part of the file before the sound; False: more bytes are needed for it."""
        if self._in_head:
            if len(self._bytes) < HEAD_BYTES:
                return False
            self._drop(HEAD_BYTES)
            self._in_head = False
        if self._skip:
            self._skip -= self._drop(min(self._skip, len(self._bytes)))
            if self._skip:
                return False
        if self._padded and self._bytes:
            if not self._bytes[0]:  # some programs omit the padding byte, and no chunk's name begins with a zero
                self._drop(1)
            self._padded = False
        if len(self._bytes) < 8:
            return False
        kind, size = struct.unpack_from("<4sI", self._bytes)
        if kind == b"fmt " and len(self._bytes) < 8 + size <= MOST_FORMAT_BYTES:
            return False
        self._drop(8)
        self._enter(kind, size)
        return True

    def _enter(self, kind: bytes, size: int) -> None:
        if kind == b"data":
            if self._layout is None:
                raise AnswerFault("the endpoint sent a WAV file with its sound before its format")
            self._in_sound = True
            self._left = size if 0 < size < UNKNOWN_LENGTH else None
            return
        if kind == b"fmt ":
            self._layout = _layout_of(bytes(self._bytes[:size]))
        self._skip, self._padded = size, bool(size % 2)
        if self._before + size > MOST_BEFORE_BYTES:
            raise AnswerFault("the endpoint sent a WAV file with too much before its sound")

    def _sound(self) -> bytes:
        layout = self._layout
        assert layout is not None
        frame_bytes = layout.channels * layout.sample_bytes
        here = len(self._bytes) if self._left is None else min(self._left, len(self._bytes))
        whole = here - here % frame_bytes
        payload = bytes(self._bytes[:whole])
        if self._left is not None:
            self._left -= whole
        del self._bytes[:whole]
        if self._left is not None and self._left < frame_bytes:
            self._left = 0
            self._bytes.clear()  # chunks after the sound are ignored
        return _mono(payload, layout)

    def _drop(self, count: int) -> int:
        del self._bytes[:count]
        self._before += count
        return count


def _layout_of(body: bytes) -> _Layout:
    if len(body) < 16:
        raise AnswerFault("the endpoint sent a WAV file whose format is cut short")
    tag, channels, rate_hz, _, frame_bytes, bits = struct.unpack_from("<HHIIHH", body)
    if tag == EXTENSIBLE and len(body) >= 26:
        (tag,) = struct.unpack_from("<H", body, 24)
    if not 1 <= channels <= MOST_CHANNELS:
        raise AnswerFault(f"the endpoint sent a WAV file with {channels} channels")
    sample_bytes = frame_bytes // channels if frame_bytes else -(-bits // 8)
    if tag not in SAMPLE_BYTES or sample_bytes not in SAMPLE_BYTES[tag] or frame_bytes % channels:
        raise AnswerFault(f"the endpoint sent a WAV file in encoding {tag:#06x} with {bits} bits")
    return _Layout(tag, channels, rate_hz, sample_bytes)


def _mono(payload: bytes, layout: _Layout) -> bytes:
    samples = _samples(payload, layout)
    if layout.channels > 1:
        samples = samples.reshape(-1, layout.channels).mean(axis=1)
    return np.rint(samples).astype("<i2").tobytes()


def _samples(payload: bytes, layout: _Layout) -> NDArray[np.float64]:
    """The interleaved samples of all channels, scaled to the range of PCM16."""
    if layout.tag in G711:
        return np.frombuffer(decode(payload, G711[layout.tag]), dtype="<i2").astype(np.float64)
    if layout.tag == FLOAT:
        floats = np.frombuffer(payload, dtype=f"<f{layout.sample_bytes}").astype(np.float64)
        return np.clip(np.nan_to_num(floats, nan=0.0, posinf=1.0, neginf=-1.0), -1.0, 1.0) * 32767.0
    match layout.sample_bytes:
        case 1:
            return (np.frombuffer(payload, dtype=np.uint8).astype(np.float64) - 128.0) * 256.0
        case 2:
            return np.frombuffer(payload, dtype="<i2").astype(np.float64)
        case 3:
            high = np.frombuffer(payload, dtype=np.uint8).reshape(-1, 3)[:, 1:]
            return np.ascontiguousarray(high).reshape(-1).view("<i2").astype(np.float64)
    return (np.frombuffer(payload, dtype="<i4") >> 16).astype(np.float64)
