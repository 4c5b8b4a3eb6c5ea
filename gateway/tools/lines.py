"""Splits a byte stream into lines, or into the events of a server-sent stream, each with a bound on its length."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

# Of a line that is too long, this beginning is kept: enough to see which request it answers.
_KEPT_BYTES = 4096
# A line may discard this many times its bound before its writer is given up.
_MAX_DISCARDED_BOUNDS = 16


class Endless(Exception):
    """The other side writes a line that does not end."""


@dataclass(frozen=True, slots=True)
class TooLong:
    """The beginning of a line that was discarded because it is too long."""

    beginning: bytes


class BoundedLines:
    """Takes bytes and yields complete lines without line feeds. Discards a line past the bound, and reports it once."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._kept = bytearray()
        self._discarded = 0  # bytes of the line that is too long

    def feed(self, received: bytes) -> Iterator[bytes | TooLong]:
        """Yield the lines that are complete now. Raises Endless."""
        begin = 0
        while (end := received.find(b"\n", begin)) >= 0:
            if self._discarded:
                self._discarded = 0
            else:
                too_long = self._take(received[begin:end])
                self._discarded = 0
                yield bytes(self._kept) if too_long is None else too_long
            self._kept.clear()
            begin = end + 1
        if self._discarded:
            self._discard(len(received) - begin)
            return
        too_long = self._take(received[begin:])
        if too_long is not None:
            yield too_long

    def _take(self, piece: bytes) -> TooLong | None:
        """Add to the line. Returns its beginning where it has just become too long."""
        if len(self._kept) + len(piece) <= self._max_bytes:
            self._kept += piece
            return None
        beginning = bytes(self._kept[:_KEPT_BYTES]) + piece[: max(_KEPT_BYTES - len(self._kept), 0)]
        size = len(self._kept) + len(piece)
        self._kept.clear()
        self._discard(size)
        return TooLong(beginning)

    def _discard(self, size: int) -> None:
        self._discarded += size
        if self._discarded > _MAX_DISCARDED_BOUNDS * self._max_bytes:
            raise Endless


class EventSplitter:
    """Takes the bytes of a server-sent stream and yields complete events. An event past the bound raises Endless."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._kept = bytearray()
        self._after_cr = False  # the line feed of a CR LF pair may come with the next bytes

    def feed(self, received: bytes) -> Iterator[bytes]:
        """Yield the events that are complete now, each of whose lines ends in a line feed. Raises Endless."""
        if self._after_cr:
            received = received.removeprefix(b"\n")
        if received:
            self._after_cr = received.endswith(b"\r")
        searched = max(len(self._kept) - 1, 0)
        self._kept += received.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        begin = 0
        while (end := self._kept.find(b"\n\n", max(begin, searched))) >= 0:
            event = bytes(self._kept[begin : end + 1])
            begin = end + 2
            if len(event) > self._max_bytes:
                raise Endless
            yield event
        del self._kept[:begin]
        if len(self._kept) > self._max_bytes:
            raise Endless
