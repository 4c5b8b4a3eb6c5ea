"""Parses a message's JSON within bounds; half of a surrogate pair costs one character and not the message.

`"\\ud83d"` without its other half is valid in JSON's grammar (RFC 8259, 8.2); services and clients that cut a text in
the middle of an emoji send it. orjson refuses the whole message because of it. The parsed message has U+FFFD in its
place and can be serialised again; the message's original bytes may still be passed on unchanged.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import orjson

from gateway.realtime import fields
from sessions.errors import WireError
from sessions.ports import Json, JsonObject
from sessions.text import well_formed

MAX_PARTS = 20_000  # commas and opening brackets; the tools of the largest session have a few thousand
MAX_BACKSLASHES = 1024 * 1024  # a text of 262,144 characters has at most so many; each is slow to parse and serialise
MAX_HALVES_BYTES = 256 * 1024  # of a message with half a surrogate pair, which takes 55 ms per MiB to parse
MAX_DEPTH = 64  # orjson parses 1024 levels but serialises 254, and what we accept we must be able to pass on
_LONG_BYTES, _FEW_MARKS = 64 * 1024, 1000  # texts whose quotation marks are counted
_LARGEST, _SMALLEST = (1 << 64) - 1, -(1 << 63)  # the range of integers that orjson serialises
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")


def read_json(text: bytes) -> Any:
    """Parse a message; lone surrogates in its strings become U+FFFD. Raises ValueError where it is not JSON."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        if not has_halves(text):
            raise
    try:
        return replace_lone_surrogates(read_halves(text))
    except RecursionError:
        raise ValueError("nested too deep") from None


def has_halves(text: bytes) -> bool:
    """Whether the message has escaped halves of surrogate pairs, in pairs or alone."""
    return _HALF.search(text) is not None


def read_halves(text: bytes) -> Any:
    """Parse a message, and leave lone surrogates in its strings. Raises ValueError and RecursionError.

    This is ten times slower than `read_json`.
    """
    if len(text) > MAX_HALVES_BYTES:
        raise ValueError(f"half a surrogate pair in a message of more than {MAX_HALVES_BYTES} bytes")
    try:
        check_size(text)
    except WireError as error:
        raise ValueError(error.message) from None
    return json.loads(text.decode(), parse_int=_whole, parse_float=_number, parse_constant=_refuse_constant)


def read_object(text: bytes) -> JsonObject:
    """Parse a message that must be a JSON object. Raises WireError for anything else."""
    try:
        parsed = read_json(text)
    except ValueError as error:
        raise WireError(f"The message is not valid JSON: {error}", code="invalid_json") from error
    if type(parsed) is not dict:
        raise WireError("The message is not a JSON object.", code="invalid_event")
    return parsed


def replace_lone_surrogates(value: Any) -> Any:
    """The value with each lone surrogate replaced by U+FFFD, also in keys. Raises RecursionError."""
    if type(value) is str:
        return well_formed(value)
    if isinstance(value, Mapping):
        return {well_formed(key): replace_lone_surrogates(inner) for key, inner in value.items()}
    return [replace_lone_surrogates(inner) for inner in value] if isinstance(value, list | tuple) else value


def check_size(text: bytes) -> None:
    """Raise WireError for a message with more parts or backslashes than any valid message has.

    Parsing blocks all calls: it takes about 3 µs for each part, while the length of a string costs nothing.
    """
    parts = text.count(b",") + text.count(b"{") + text.count(b"[")
    if parts > MAX_PARTS:
        raise WireError(f"The message has more than {MAX_PARTS} fields and entries.", code="invalid_event")
    if len(text) > MAX_BACKSLASHES and text.count(b"\\") > MAX_BACKSLASHES:
        raise WireError(f"The message has more than {MAX_BACKSLASHES} backslashes.", code="invalid_event")


def check_depth(parsed: JsonObject, text: bytes) -> None:
    """Raise WireError for an object that is nested deeper than any valid message; `text` is the unparsed message."""
    if text.count(b"{") + text.count(b"[") <= MAX_DEPTH:
        return  # too few brackets for a deeper nesting
    level: list[Json] = [parsed]
    for _ in range(MAX_DEPTH):
        level = [inner for outer in level for inner in _children(outer) if isinstance(inner, dict | list)]
        if not level:
            return
    raise WireError(f"The message is nested deeper than {MAX_DEPTH} levels.", code="invalid_event")


def check_keys(parsed: JsonObject, text: bytes) -> None:
    """Raise WireError for an object with a key twice: its bytes are passed on, and the peer may use the other value.

    A key that came twice is in `parsed` once, so a text with no more quotation marks than `parsed` needs has none. For
    a long text with few of them, to count takes a quarter of the time.
    """
    if len(text) > _LONG_BYTES:
        marks = text.count(b'"')
        if marks <= _FEW_MARKS and marks == _quotation_marks(parsed):
            return
    json.loads(text, object_pairs_hook=_refuse_duplicates, parse_int=str, parse_float=str)


def _refuse_duplicates(pairs: list[tuple[str, Json]]) -> None:
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            shown = well_formed(key[: fields.MAX_ID_CHARS])
            raise WireError(f"The message has '{shown}' twice in one object.", code="invalid_event", param=shown)
        seen.add(key)


def _quotation_marks(parsed: JsonObject) -> int:
    """How many quotation marks a JSON text of `parsed` has at least."""
    strings = 0
    level: list[Json] = [parsed]
    while level:
        for value in level:
            if isinstance(value, Mapping):
                strings += len(value)
            elif isinstance(value, str):
                strings += 1
        level = [inner for outer in level for inner in _children(outer)]
    return 2 * strings


def _children(value: Json) -> Sequence[Json]:
    if isinstance(value, Mapping):
        return list(value.values())
    return value if isinstance(value, list) else []


# Numbers are parsed as orjson parses them, so that they can be serialised again.


def _whole(digits: str) -> int | float:
    value = int(digits)
    return value if _SMALLEST <= value <= _LARGEST else _number(digits)


def _number(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError("a number is infinite")
    return value


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a number in JSON")
