"""The event log of a call, which can also be replayed: one JSON object per line, in the order of arrival.

The first line is the header `{schema, agent, version, session_id, formats}`. A message is `{at_ms, from, text}`.
Messages that carry sound are replaced by `{at_ms, from, sound: {track, start_sample, samples, until_ms}}`: a contiguous
stretch of the raw track of that name (`caller`, or an item's id), whose last frame arrived at `until_ms`. Times are
milliseconds since the start of the call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import orjson

from audio.formats import AudioFrame
from gateway.recording.phase import BLOCK_MS, next_due_ms
from gateway.recording.sink import DeferredPayload, Sink
from gateway.recording.tracks import BadSpool
from gateway.recording.writer import SpoolWriter
from gateway.runtime.fairness import pause_for_other_threads

EVENTS_FILE = "events.jsonl"
SCHEMA = 1
BLOCK_BYTES = 32 * 1024
STRETCH_MAX_MS = 1000  # longest stretch in one line of sound; a crash loses at most the open line
LOG_MAX_BYTES = 256 * 1024 * 1024
LONG_TEXT_BYTES = 64 * 1024  # a longer message is encoded by the writer: 4 MiB of backslashes take 45 ms
_PIECE_CHARS = 64 * 1024  # of a long message, encoded without a pause


class Source(StrEnum):
    """Who sent a message."""

    CALLER = "caller"
    MODEL = "model"
    GATEWAY = "gateway"


@dataclass(frozen=True, slots=True)
class EventLogHeader:
    """Says which call the log belongs to. `formats` maps the side of a track to the text form of its format."""

    agent: str
    version: str
    session_id: str
    formats: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class LoggedMessage:
    """A message as it was received or sent."""

    at_ms: int
    source: Source
    text: str


@dataclass(frozen=True, slots=True)
class LoggedSound:
    """Sound that arrived, in place of the messages that carried it."""

    at_ms: int
    source: Source
    track: str
    start_sample: int
    samples: int
    until_ms: int


Logged: TypeAlias = LoggedMessage | LoggedSound


class EventLog:
    """Writes the log of one call. If the disk is too slow, the log is incomplete and the call goes on."""

    def __init__(
        self, writer: SpoolWriter, sink: Sink, header: EventLogHeader, *, with_sound: bool, started_ms: int
    ) -> None:
        self._writer = writer
        self._sink = sink
        self._with_sound = with_sound
        self._started_ms = started_ms
        self._due_ms = started_ms + BLOCK_MS
        self._log_bytes = 0
        self._closed = False
        self._open: dict[Source, _OpenStretch] = {}
        self._complete = True
        first = {
            "schema": SCHEMA,
            "agent": header.agent,
            "version": header.version,
            "session_id": header.session_id,
            "formats": dict(header.formats),
        }
        self._head = orjson.dumps(first) + b"\n"
        self._lines: list[_Line] = []
        self._waiting_bytes = 0
        self._begun = False  # whether the writer has accepted a block

    @property
    def complete(self) -> bool:
        """Whether the log holds everything so far, as far as is known."""
        return self._complete and self._sink.failed is None

    def message(self, source: Source, text: str | bytes, at_ms: int) -> None:
        """Add a message without sound; sound is passed to `sound`. `at_ms` is on the monotonic clock."""
        self._close_stretches()
        if len(text) > LONG_TEXT_BYTES and isinstance(text, bytes):
            self._append(_LongLine(at_ms - self._started_ms, source, text))
        else:
            decoded = text if isinstance(text, str) else text.decode("utf-8", "replace")
            self._add({"at_ms": at_ms - self._started_ms, "from": source.value, "text": decoded})
        self.tick(at_ms)

    def sound(self, source: Source, track: str, frame: AudioFrame, at_ms: int) -> None:
        """Add a frame of sound; consecutive frames share a line."""
        if not self._with_sound:
            return
        stretch = self._open.get(source)
        if stretch is not None and stretch.continues_with(track, frame, at_ms):
            stretch.until_ms = at_ms
            stretch.next_sample += frame.samples
        else:
            self._close_stretch(source)
            self._open[source] = _OpenStretch(track, frame, at_ms)
        if at_ms >= self._due_ms:
            self._hand_over(at_ms)

    def tick(self, at_ms: int) -> None:
        """Pass the waiting lines to the writer if they are due, or if they fill a block."""
        if at_ms >= self._due_ms or self._waiting_bytes >= BLOCK_BYTES:
            self._hand_over(at_ms)

    def close(self, at_ms: int) -> None:
        """Pass the rest to the writer; later messages and sound are dropped."""
        self._close_stretches()
        self._hand_over(at_ms)
        self._closed = True

    def _close_stretches(self) -> None:
        for source in list(self._open):
            self._close_stretch(source)

    def _close_stretch(self, source: Source) -> None:
        stretch = self._open.pop(source, None)
        if stretch is None:
            return
        sound = {
            "track": stretch.track,
            "start_sample": stretch.start_sample,
            "samples": stretch.next_sample - stretch.start_sample,
            "until_ms": stretch.until_ms - self._started_ms,
        }
        self._add({"at_ms": stretch.at_ms - self._started_ms, "from": source.value, "sound": sound})

    def _add(self, line: dict[str, Any]) -> None:
        try:
            written = orjson.dumps(line)
        except orjson.JSONEncodeError:  # half a surrogate pair cannot be encoded as UTF-8
            self._complete = False
            return
        self._append(written)

    def _append(self, line: _Line) -> None:
        self._lines.append(line)
        self._waiting_bytes += len(line) + 1

    def _hand_over(self, at_ms: int) -> None:
        self._due_ms = next_due_ms(self._started_ms, BLOCK_MS, at_ms)
        lines, self._lines = self._lines, []
        block_bytes, self._waiting_bytes = self._waiting_bytes, 0
        if self._closed or not (lines or not self._begun):
            return
        if self._log_bytes + block_bytes > LOG_MAX_BYTES:
            self._closed, self._complete = True, False
        elif self._writer.append(
            self._sink, [(EVENTS_FILE, DeferredPayload(partial(_block, self._head, lines), block_bytes))]
        ):
            self._begun = True
            self._log_bytes += block_bytes
        else:
            self._complete = False
            if not self._begun:  # a log without its first messages is of little use
                self._closed = True


class _LongLine:
    """The line of a long message, which the writer's thread encodes in pieces, so that the calls go on meanwhile."""

    def __init__(self, at_ms: int, source: Source, text: bytes) -> None:
        self._head = f'{{"at_ms":{at_ms},"from":"{source.value}","text":"'.encode()
        self._text = text

    def __len__(self) -> int:
        """An estimate: JSON within a JSON string takes at most twice its bytes."""
        return len(self._head) + 2 * len(self._text)

    def written(self) -> bytes:
        """The line, encoded."""
        text = self._text.decode("utf-8", "replace")
        line = bytearray(self._head)
        for begin in range(0, len(text), _PIECE_CHARS):
            line += orjson.dumps(text[begin : begin + _PIECE_CHARS])[1:-1]
            pause_for_other_threads()
        return bytes(line + b'"}')


_Line: TypeAlias = bytes | _LongLine


def _block(head: bytes, lines: list[_Line], before: Mapping[str, int], whole: bool) -> bytes:
    """The lines, preceded by the header if the file is new."""
    written = [line.written() if isinstance(line, _LongLine) else line for line in lines]
    return b"".join([b"" if before[EVENTS_FILE] else head, *(line + b"\n" for line in written)])


class _OpenStretch:
    """A stretch of sound whose line is not written yet."""

    __slots__ = ("at_ms", "next_sample", "start_sample", "track", "until_ms")

    def __init__(self, track: str, frame: AudioFrame, at_ms: int) -> None:
        self.track = track
        self.start_sample = frame.start_sample
        self.next_sample = frame.start_sample + frame.samples
        self.at_ms = at_ms
        self.until_ms = at_ms

    def continues_with(self, track: str, frame: AudioFrame, at_ms: int) -> bool:
        """Whether this frame directly follows the stretch and belongs to the same line."""
        return frame.start_sample == self.next_sample and track == self.track and at_ms - self.at_ms < STRETCH_MAX_MS


def read_event_log(path: Path) -> tuple[EventLogHeader, list[Logged]]:
    """Read a log in order of arrival; skips an incomplete last line, as after a crash. Raises BadSpool, OSError."""
    lines = path.read_bytes().split(b"\n")
    events: list[Logged] = []
    try:
        first = orjson.loads(lines[0])
        if first["schema"] != SCHEMA:
            raise ValueError(f"schema {first['schema']} is not known")
        header = EventLogHeader(first["agent"], first["version"], first["session_id"], first["formats"])
        for number, line in enumerate(lines[1:], start=2):
            if line:
                try:
                    events.append(_event(orjson.loads(line)))
                except orjson.JSONDecodeError:
                    if number != len(lines):
                        raise
    except (KeyError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise BadSpool(f"{path} is not an event log: {error}") from error
    # A line of sound is written when its stretch ends, but its time is when the stretch began.
    return header, sorted(events, key=lambda event: event.at_ms)


def _event(parsed: dict[str, Any]) -> Logged:
    at_ms, source = int(parsed["at_ms"]), Source(parsed["from"])
    if "text" in parsed:
        return LoggedMessage(at_ms, source, parsed["text"])
    sound = parsed["sound"]
    return LoggedSound(
        at_ms, source, sound["track"], int(sound["start_sample"]), int(sound["samples"]), int(sound["until_ms"])
    )
