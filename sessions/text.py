"""Text that can be written as UTF-8: to a model, into a record, onto a wire."""

from __future__ import annotations

from contextlib import suppress

import orjson

from sessions.bounded import remember


def well_formed(text: str) -> str:
    """The text with each lone surrogate as U+FFFD, so that it can be written as UTF-8.

    Half of a surrogate pair is no character; it comes from texts that were cut in the middle of one (an emoji), in
    JSON as `"\\ud83d"`. Source: Unicode 16, 3.9, D92 (UTF-8) and section 5.22 (replacement).
    """
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def encoded_bytes(text: str) -> int:
    """How many bytes a text takes within a JSON document: UTF-8, with the escapes of RFC 8259, section 7.

    A lone surrogate counts as the U+FFFD that takes its place.
    """
    return len(_in_json(text))


def fitting(text: str, room: int) -> str:
    """The longest beginning of a text that takes at most so many bytes within a JSON document."""
    data = _in_json(text[:room])  # no character takes less than a byte
    most = min(max(room, 0), len(data))
    for cut in range(most, max(-1, most - 6), -1):  # an escape or a character has at most six bytes
        with suppress(orjson.JSONDecodeError):  # a cut within one of them
            found: str = orjson.loads(b'"' + data[:cut] + b'"')
            return found
    return ""


def _in_json(text: str) -> bytes:
    return orjson.dumps(well_formed(text))[1:-1]


class Halves:
    """Joins surrogate pairs that were cut in two between one piece of a text and the next."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: dict[str, str] = {}  # first halves, by the name of their text

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def joined(self, name: str, piece: str) -> str:
        """The next piece of the text of this name, well formed; a first half at its end is kept for the next piece."""
        whole = self._waiting.pop(name, "") + piece
        if "\ud800" <= whole[-1:] <= "\udbff":
            remember(self._waiting, name, whole[-1])
            whole = whole[:-1]
        return well_formed(whole)

    def rest(self, name: str) -> str:
        """The end of the text of this name, if a first half has been kept and no second half came."""
        return well_formed(self._waiting.pop(name, ""))
