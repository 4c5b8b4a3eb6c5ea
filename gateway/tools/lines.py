"""Splits a byte stream into lines, or into the events of a server-sent stream, each with a bound."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_KEPT_BYTES = 4096  # of what is too long: enough to see which request it answers
_PATIENCE = 16  # so many times the bound is thrown away of one line before its writer is given up


class Endless(Exception):
    """The other side writes one line without end."""


@dataclass(frozen=True, slots=True)
class TooLong:
    """A line that was thrown away: its beginning."""

    beginning: bytes


class BoundedLines:
    """Bytes in, whole lines out, without their ends; a line past the bound is thrown away, and told once."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._kept = bytearray()
        self._thrown = 0  # bytes of the line that is too long

    def feed(self, received: bytes) -> Iterator[bytes | TooLong]:
        """The lines that are whole now. Raises Endless."""
        begin = 0
        while (end := received.find(b"\n", begin)) >= 0:
            if self._thrown:
                self._thrown = 0
            else:
                told = self._take(received[begin:end])
                self._thrown = 0
                yield bytes(self._kept) if told is None else told
            self._kept.clear()
            begin = end + 1
        if self._thrown:
            self._throw(len(received) - begin)
            return
        told = self._take(received[begin:])
        if told is not None:
            yield told

    def _take(self, piece: bytes) -> TooLong | None:
        """Add to the line; what it began with, where it has just become too long."""
        if len(self._kept) + len(piece) <= self._max_bytes:
            self._kept += piece
            return None
        beginning = bytes(self._kept[:_KEPT_BYTES]) + piece[: max(_KEPT_BYTES - len(self._kept), 0)]
        size = len(self._kept) + len(piece)
        self._kept.clear()
        self._throw(size)
        return TooLong(beginning)

    def _throw(self, size: int) -> None:
        self._thrown += size
        if self._thrown > _PATIENCE * self._max_bytes:
            raise Endless


class EventSplitter:
    """Bytes of a server-sent stream in, whole events out, as their lines; an event past the bound is `Endless`."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._kept = bytearray()
        self._after_cr = False  # the other half of a line end may come with the next bytes

    def feed(self, received: bytes) -> Iterator[bytes]:
        """The events that are whole now; each line ends in a line feed, whatever it ended with. Raises Endless."""
        if self._after_cr:
            received = received.removeprefix(b"\n")
        if received:
            self._after_cr = received.endswith(b"\r")
        looked_at = max(len(self._kept) - 1, 0)
        self._kept += received.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        begin = 0
        while (end := self._kept.find(b"\n\n", max(begin, looked_at))) >= 0:
            event = bytes(self._kept[begin : end + 1])
            begin = end + 2
            if len(event) > self._max_bytes:
                raise Endless
            yield event
        del self._kept[:begin]
        if len(self._kept) > self._max_bytes:
            raise Endless
