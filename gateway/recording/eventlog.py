"""The event log of a call, which is also its replay: one JSON object a line, in the order of arrival.

The first line is the header `{schema, agent, version, session_id, formats}`. A message is `{at_ms, from, text}`. Sound
stands in its place as `{at_ms, from, sound: {track, start_sample, samples, until_ms}}`: a contiguous stretch of the raw
track of that name (`caller`, or an item's id), whose last frame arrived at `until_ms`. Times are ms since the start.
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
from gateway.recording.sink import Late, Sink
from gateway.recording.tracks import BadSpool
from gateway.recording.writer import SpoolWriter

EVENTS_FILE = "events.jsonl"
SCHEMA = 1
BLOCK_BYTES = 32 * 1024
STRETCH_MAX_MS = 1000  # a line of sound is closed by then, so that a crash costs little
LOG_MAX_BYTES = 256 * 1024 * 1024


class Source(StrEnum):
    """Whose message it is."""

    CALLER = "caller"
    MODEL = "model"
    GATEWAY = "gateway"


@dataclass(frozen=True, slots=True)
class EventLogHeader:
    """What the log is of. `formats` maps a track's side to the text form of its format."""

    agent: str
    version: str
    session_id: str
    formats: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class LoggedMessage:
    """A message as it came, or as we sent it."""

    at_ms: int
    source: Source
    text: str


@dataclass(frozen=True, slots=True)
class LoggedSound:
    """Sound that came, in place of the message that carried it."""

    at_ms: int
    source: Source
    track: str
    start_sample: int
    samples: int
    until_ms: int


Logged: TypeAlias = LoggedMessage | LoggedSound


class EventLog:
    """Writes one call's log; when the disk cannot follow it is incomplete, and the call goes on."""

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
        self._lines: list[bytes] = []
        self._waiting_bytes = 0
        self._begun = False  # whether the writer has taken a block

    @property
    def complete(self) -> bool:
        """Whether all so far is in the log, as far as is known."""
        return self._complete and self._sink.failed is None

    def message(self, source: Source, text: str | bytes, at_ms: int) -> None:
        """Note a message; it must carry no sound, which belongs to `sound`. `at_ms` is on the monotonic clock."""
        self._close_stretches()
        words = text if isinstance(text, str) else text.decode("utf-8", "replace")
        self._add({"at_ms": at_ms - self._started_ms, "from": source.value, "text": words})
        self.tick(at_ms)

    def sound(self, source: Source, track: str, frame: AudioFrame, at_ms: int) -> None:
        """Note sound; frames that follow each other become one line."""
        if not self._with_sound:
            return
        stretch = self._open.get(source)
        if stretch is not None and stretch.goes_on(track, frame, at_ms):
            stretch.until_ms = at_ms
            stretch.next_sample += frame.samples
        else:
            self._close_stretch(source)
            self._open[source] = _OpenStretch(track, frame, at_ms)
        if at_ms >= self._due_ms:
            self._hand_over(at_ms)

    def tick(self, at_ms: int) -> None:
        """Hand over what has waited long enough, or is much."""
        if at_ms >= self._due_ms or self._waiting_bytes >= BLOCK_BYTES:
            self._hand_over(at_ms)

    def close(self, at_ms: int) -> None:
        """Hand over the rest; what comes later is dropped."""
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
        except orjson.JSONEncodeError:  # half a surrogate pair has no UTF-8
            self._complete = False
            return
        self._lines.append(written)
        self._waiting_bytes += len(written) + 1

    def _hand_over(self, at_ms: int) -> None:
        self._due_ms = next_due_ms(self._started_ms, BLOCK_MS, at_ms)
        lines, self._lines, self._waiting_bytes = self._lines, [], 0
        if self._closed or not (lines or not self._begun):
            return
        block = b"".join([line + b"\n" for line in lines])
        if self._log_bytes + len(block) > LOG_MAX_BYTES:
            self._closed, self._complete = True, False
        elif self._writer.append(self._sink, [(EVENTS_FILE, Late(partial(_headed, self._head, block), len(block)))]):
            self._begun = True
            self._log_bytes += len(block)
        else:
            self._complete = False
            if not self._begun:  # without its first messages a log is of little use
                self._closed = True


def _headed(head: bytes, block: bytes, before: Mapping[str, int], whole: bool) -> bytes:
    """A block, behind the log's header where the file is new."""
    return block if before[EVENTS_FILE] else head + block


class _OpenStretch:
    """Sound whose line is not written yet."""

    __slots__ = ("at_ms", "next_sample", "start_sample", "track", "until_ms")

    def __init__(self, track: str, frame: AudioFrame, at_ms: int) -> None:
        self.track = track
        self.start_sample = frame.start_sample
        self.next_sample = frame.start_sample + frame.samples
        self.at_ms = at_ms
        self.until_ms = at_ms

    def goes_on(self, track: str, frame: AudioFrame, at_ms: int) -> bool:
        """Whether this frame follows directly."""
        return frame.start_sample == self.next_sample and track == self.track and at_ms - self.at_ms < STRETCH_MAX_MS


def read_event_log(path: Path) -> tuple[EventLogHeader, list[Logged]]:
    """Read a log, sorted by arrival; a last line that a crash cut short is skipped. Raises BadSpool, OSError."""
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
        raise BadSpool(f"{path} is no event log: {error}") from error
    # A line of sound is written when its stretch ends, but stands for when it began.
    return header, sorted(events, key=lambda event: event.at_ms)


def _event(parsed: dict[str, Any]) -> Logged:
    at_ms, source = int(parsed["at_ms"]), Source(parsed["from"])
    if "text" in parsed:
        return LoggedMessage(at_ms, source, parsed["text"])
    sound = parsed["sound"]
    return LoggedSound(
        at_ms, source, sound["track"], int(sound["start_sample"]), int(sound["samples"]), int(sound["until_ms"])
    )
