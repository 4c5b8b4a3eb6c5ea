"""A message's JSON, read within bounds, and leniently in one point: half of a surrogate pair costs one character.

`"\\ud83d"` without its other half is a string in JSON's grammar (RFC 8259, 8.2), and comes of services and clients that
cut a text in the middle of an emoji. orjson refuses the whole message for it. What is read here has U+FFFD in its place
and can be written again; the message's own bytes may still go on as they came.
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

MAX_PARTS = 20_000  # commas and opening brackets: the tools of the largest session have some thousands
MAX_BACKSLASHES = 1024 * 1024  # a text of 262,144 characters has as many at most; each is read and written slowly
MAX_HALVES_BYTES = 256 * 1024  # of a message with half a surrogate pair in it: reading that takes 55 ms a MiB
MAX_DEPTH = 64  # orjson reads 1024 levels but writes 254: what we take we must be able to pass on
_LARGEST, _SMALLEST = (1 << 64) - 1, -(1 << 63)  # integers that orjson writes
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")


def read_json(text: bytes) -> Any:
    """What the message says, in strings that are well formed. Raises ValueError where it is no JSON."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        if not has_halves(text):
            raise
    try:
        return mended(read_halves(text))
    except RecursionError:
        raise ValueError("nested too deep") from None


def has_halves(text: bytes) -> bool:
    """Whether the message has halves of surrogate pairs, escaped, alone or not."""
    return _HALF.search(text) is not None


def read_halves(text: bytes) -> Any:
    """What the message says, with lone halves in its strings as they are. Raises ValueError and RecursionError.

    For what `read_json` has read, or could not read: this is ten times slower.
    """
    if len(text) > MAX_HALVES_BYTES:
        raise ValueError(f"half a surrogate pair in a message of more than {MAX_HALVES_BYTES} bytes")
    try:
        check_size(text)
    except WireError as error:
        raise ValueError(error.message) from None
    return json.loads(text.decode(), parse_int=_whole, parse_float=_number, parse_constant=_refused)


def read_object(text: bytes) -> JsonObject:
    """The JSON object that a message is. Raises WireError for anything else."""
    try:
        parsed = read_json(text)
    except ValueError as error:
        raise WireError(f"The message is not valid JSON: {error}", code="invalid_json") from error
    if type(parsed) is not dict:
        raise WireError("The message is not a JSON object.", code="invalid_event")
    return parsed


def mended(value: Any) -> Any:
    """The same with each lone half of a surrogate pair as U+FFFD, in keys too. Raises RecursionError."""
    if type(value) is str:
        return well_formed(value)
    if isinstance(value, Mapping):
        return {well_formed(key): mended(inner) for key, inner in value.items()}
    return [mended(inner) for inner in value] if isinstance(value, list | tuple) else value


def check_size(text: bytes) -> None:
    """Raise WireError for a message of more parts, or backslashes, than anything that has a meaning here.

    Parsing stops all calls for as long as it takes: some 3 µs a part here, and nothing for the length of a string.
    """
    parts = text.count(b",") + text.count(b"{") + text.count(b"[")
    if parts > MAX_PARTS:
        raise WireError(f"The message has more than {MAX_PARTS} fields and entries.", code="invalid_event")
    if len(text) > MAX_BACKSLASHES and text.count(b"\\") > MAX_BACKSLASHES:
        raise WireError(f"The message has more than {MAX_BACKSLASHES} backslashes.", code="invalid_event")


def check_depth(parsed: JsonObject, text: bytes) -> None:
    """Raise WireError for an object nested deeper than anything that has a meaning here; `text` is what it was."""
    if text.count(b"{") + text.count(b"[") <= MAX_DEPTH:
        return  # too few brackets to nest so deep, wherever they stand
    level: list[Json] = [parsed]
    for _ in range(MAX_DEPTH):
        level = [inner for outer in level for inner in _inside(outer) if isinstance(inner, dict | list)]
        if not level:
            return
    raise WireError(f"The message is nested deeper than {MAX_DEPTH} levels.", code="invalid_event")


def check_keys(text: bytes) -> None:
    """Raise WireError for an object that has a key twice: it goes on as it came, and may be read differently there."""
    json.loads(text, object_pairs_hook=_once_each, parse_int=str, parse_float=str)


def _once_each(pairs: list[tuple[str, Json]]) -> None:
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            shown = well_formed(key[: fields.MAX_ID_CHARS])
            raise WireError(f"The message has '{shown}' twice in one object.", code="invalid_event", param=shown)
        seen.add(key)


def _inside(value: Json) -> Sequence[Json]:
    if isinstance(value, Mapping):
        return list(value.values())
    return value if isinstance(value, list) else []


# As orjson reads them, so that what is read can be written again.


def _whole(digits: str) -> int | float:
    value = int(digits)
    return value if _SMALLEST <= value <= _LARGEST else _number(digits)


def _number(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError("a number is infinite")
    return value


def _refused(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number in JSON")
