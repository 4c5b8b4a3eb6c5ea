"""Cuts a piece out of a call's recording, as an Ogg file with Vorbis. Holds a second of sound, and the file.

Vorbis and not Opus: libsndfile's takes every rate that a recording can have, and half the processor time (0.4 s a
minute of stereo at 24 kHz).
"""

from __future__ import annotations

import io
from typing import BinaryIO

import soundfile

from gateway.telemetry.langfuse.ogg import with_fixed_serial
from gateway.telemetry.langfuse.sound import Piece, Side

CONTENT_TYPE = "audio/ogg"
MAX_FILE_BYTES = 20 * 1024 * 1024
LAST_BYTES = 256 * 1024  # what an encoder may still hold when its file is closed
LEVEL = 0.8  # of compression: about 40 kbit/s for both sides of a call, so that an hour is one file
_CHANNELS = {Side.CALLER: 0, Side.AGENT: 1}


def cut(recording: BinaryIO, piece: Piece, max_bytes: int = MAX_FILE_BYTES) -> bytes:
    """The file of a piece; only its beginning, if it would have more than `max_bytes`. Empty if no sound is there.

    Raises soundfile's errors if the recording cannot be read.
    """
    recording.seek(0)
    out = io.BytesIO()
    with soundfile.SoundFile(recording) as source:
        rate_hz = source.samplerate
        begin = min(piece.begin_ms * rate_hz // 1000, source.frames)
        end = source.frames if piece.end_ms is None else min(piece.end_ms * rate_hz // 1000, source.frames)
        if begin >= end:
            return b""
        source.seek(begin)
        _encode(source, out, end - begin, _CHANNELS.get(piece.side), max_bytes - LAST_BYTES)
    file = bytearray(out.getbuffer())
    with_fixed_serial(file)
    return bytes(file)


def _encode(source: soundfile.SoundFile, out: io.BytesIO, frames: int, channel: int | None, max_bytes: int) -> None:
    rate_hz, left = source.samplerate, frames
    channels = source.channels if channel is None else 1
    with soundfile.SoundFile(
        out, "w", samplerate=rate_hz, channels=channels, format="OGG", subtype="VORBIS", compression_level=LEVEL
    ) as target:
        while left > 0 and out.tell() < max_bytes:
            block = source.read(min(left, rate_hz), dtype="int16", always_2d=True)
            if not len(block):
                return
            left -= len(block)
            target.write(block if channel is None else block[:, min(channel, source.channels - 1)])
