"""Byte ranges and preconditions of a request: which part of a file it gets, if any. Source: RFC 9110, 13 and 14."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

UNIT = "bytes"
# One range: `first-`, `first-last` or `-length`. Source: RFC 9110, 14.1.1.
_RANGE = re.compile(r"(?P<first>[0-9]+)-(?P<last>[0-9]*)|-(?P<length>[0-9]+)")
_ETAG = re.compile(r'(?P<weak>W/)?(?P<tag>"[\x21\x23-\x7e\x80-\xff]*")')
_MAX_DIGITS = 18  # of a position; a longer one lies behind the end of every file


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a file: `length_bytes` bytes from `offset_bytes` on."""

    offset_bytes: int
    length_bytes: int


@dataclass(frozen=True, slots=True)
class Conditions:
    """The headers of a request that decide what is sent; each with all its lines."""

    range: Sequence[str] = ()
    if_range: Sequence[str] = ()
    if_match: Sequence[str] = ()
    if_none_match: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request gets: `status` is 200, 206, 304, 412 or 416. Only 200 and 206 have a part to send."""

    status: int
    part: Part | None = None


def answer_to(asked: Conditions, size_bytes: int, etag: str | None, *, head: bool) -> Answer:
    """Decide on a request for a file of this size. `etag` is a strong validator in quotes, or None.

    The preconditions come first, then `Range`, which counts for GET only (RFC 9110, 13.2.2 and 14.2).
    """
    if asked.if_match and not _matches(asked.if_match, etag, weak=False):
        return Answer(412)
    if asked.if_none_match and _matches(asked.if_none_match, etag, weak=True):
        return Answer(304)
    whole = Answer(200, Part(0, size_bytes))
    if head or len(asked.range) != 1 or (asked.if_range and (etag is None or list(asked.if_range) != [etag])):
        return whole
    wanted = _one_range(asked.range[0])
    if wanted is None:
        return whole
    first, last, suffix = wanted.group("first"), wanted.group("last"), wanted.group("length")
    if suffix is not None:
        return _last_bytes(_position(suffix), size_bytes)
    offset = _position(first)
    end = _position(last) if last else size_bytes
    if end < offset and last:
        return whole  # an invalid range is ignored (RFC 9110, 14.1.1)
    if offset >= size_bytes:
        return Answer(416)
    return Answer(206, Part(offset, min(end + 1, size_bytes) - offset))


def _last_bytes(wanted: int, size_bytes: int) -> Answer:
    if not wanted:
        return Answer(416)
    if not size_bytes:
        return Answer(200, Part(0, 0))  # it can be satisfied, but no Content-Range can name a part of an empty file
    length = min(wanted, size_bytes)
    return Answer(206, Part(size_bytes - length, length))


def _one_range(line: str) -> re.Match[str] | None:
    """The only range in a Range header; None for several ranges, another unit or a malformed header."""
    unit, equals, ranges = line.strip(" \t").partition("=")
    if not equals or unit.lower() != UNIT:
        return None
    # A list may have empty elements (RFC 9110, 5.6.1.2).
    found = [element for part in ranges.split(",") if (element := part.strip(" \t"))]
    return _RANGE.fullmatch(found[0]) if len(found) == 1 else None


def _position(digits: str) -> int:
    """The number; a very long one is cut, because Python refuses to convert thousands of digits."""
    digits = digits.lstrip("0")
    return 10**_MAX_DIGITS if len(digits) > _MAX_DIGITS else int(digits or "0")


def _matches(lines: Sequence[str], etag: str | None, *, weak: bool) -> bool:
    """Whether a list of ETags contains the file's, or is `*`; `weak` also accepts weak ones."""
    text = ",".join(lines).strip(" \t")
    if text == "*":
        return True
    return any(found["tag"] == etag and (weak or not found["weak"]) for found in _ETAG.finditer(text))
