"""A parser for server-sent events: it takes bytes in pieces of any length and returns complete events.

Source: WHATWG HTML, section 9.2.6, "Interpreting an event stream".
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from gateway.models.local.answer_fault import AnswerFault

MOST_EVENT_BYTES = 256 * 1024  # of one event, so that parsing it takes a few ms at most

_LINE_END = re.compile(rb"\r\n|\n|\r")
_TOO_LONG = "an event is longer than the limit"


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `kind` is the value of its `event` field, or empty."""

    kind: str
    data: str


class EventStream:
    """Parses one stream. Comments and fields other than `event` and `data` are skipped."""

    def __init__(self) -> None:
        self._line = bytearray()  # the line that is not complete yet
        self._after_cr = False
        self._kind = ""
        self._data: list[str] = []
        self._data_bytes = 0

    def feed(self, piece: bytes) -> list[Event]:
        """Take a piece, and return the events that it completes. Raises AnswerFault for one that is too long."""
        if self._after_cr and piece.startswith(b"\n"):  # the second byte of CR LF
            piece = piece[1:]
            self._after_cr = False
        if not piece:
            return []
        self._after_cr = piece.endswith(b"\r")
        first, *lines = _LINE_END.split(piece)
        self._line += first
        if len(self._line) > MOST_EVENT_BYTES:
            raise AnswerFault(_TOO_LONG)
        events: list[Event] = []
        for line in lines:  # each follows a line end, so the line before it is complete
            self._take(bytes(self._line), events)
            self._line[:] = line
        return events

    def end(self) -> list[Event]:
        """The stream has ended: return the last event even if no empty line follows it."""
        events: list[Event] = []
        self._take(bytes(self._line), events)
        self._line.clear()
        self._take(b"", events)
        return events

    def _take(self, line: bytes, events: list[Event]) -> None:
        if not line:
            if self._data:
                events.append(Event(self._kind, "\n".join(self._data)))
            self._kind, self._data, self._data_bytes = "", [], 0
            return
        name, _, value = line.partition(b":")
        text = value.removeprefix(b" ").decode(errors="replace")
        if name == b"event":
            self._kind = text
        elif name.removeprefix(b"\xef\xbb\xbf") == b"data":
            self._data_bytes += len(line)
            if self._data_bytes > MOST_EVENT_BYTES:
                raise AnswerFault(_TOO_LONG)
            self._data.append(text)
