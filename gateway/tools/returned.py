"""Turns what a user's function returned into text for the model, with a bound on the work done at once.

Encoding a value of any size as JSON in one step holds the interpreter, also from a thread, and so stops every call. A
value with many parts is therefore written piece by piece, and only as far as the model could ever see it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from typing import Any, NoReturn

import orjson
from pydantic import BaseModel

from gateway.tools.contract import MOST_CUT_CHARS, ToolResult
from gateway.tools.json_reading import write_json
from sessions.errors import ToolFailed
from sessions.text import well_formed

log = logging.getLogger(__name__)

DID_NOT_WORK = "That did not work."
TOO_LONG = "It was done, but what it gave back is too long to be shown."
# This many parts, or this many characters, are written in one step within a few milliseconds.
MANY_PARTS = 5_000
MANY_CHARS = 256 * 1024
MOST_JSON_BYTES = 1 << 20


def is_large(returned: object) -> bool:
    """Whether `to_result` may take long with this value and belongs in a thread. Looks at a bounded number of parts."""
    parts, chars, left = 0, 0, [returned]
    while left:
        value = left.pop()
        parts += 1
        if isinstance(value, str | bytes):
            chars += len(value)
        elif isinstance(value, Mapping | list | tuple | BaseModel) or is_dataclass(value):
            if parts + len(left) + _size(value) > MANY_PARTS:
                return True
            left.extend(_parts(value))
        if parts > MANY_PARTS or chars > MANY_CHARS:
            return True
    return False


def to_result(name: str, returned: object) -> ToolResult:
    """Convert what a function returned: a text stays as it is, None becomes "Done.", anything else becomes JSON.

    Raises ToolFailed for a value that JSON cannot carry.
    """
    if isinstance(returned, ToolResult):
        return _checked_result(name, returned)
    if returned is None:
        return ToolResult("Done.", None, None)
    if isinstance(returned, str):
        return ToolResult(_text(returned), None, None)
    try:
        return ToolResult(_json_beginning(returned) if is_large(returned) else _json(returned), None, None)
    except (TypeError, ValueError) as error:
        log.error("function tool returned a value that JSON cannot carry", extra={"tool": name})
        raise ToolFailed(DID_NOT_WORK) from error


def _json(value: object) -> str:
    try:
        return orjson.dumps(value, default=_plain).decode()
    # orjson refuses lone surrogates and keys that are numbers.
    except TypeError:
        return well_formed(json.dumps(value, default=_plain, ensure_ascii=False, allow_nan=False))


def _json_beginning(value: object) -> str:
    """The JSON of a large value, or its beginning."""
    return write_json(value, MOST_JSON_BYTES, default=_json_part)[0]


def _json_part(value: object) -> object:
    """Convert a part that Python's encoder does not know into JSON types. Raises ToolFailed where it is too large."""
    if is_large(value):
        raise ToolFailed(TOO_LONG)
    return orjson.loads(orjson.dumps(value, default=_plain))


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(type(value).__name__)


def _checked_result(name: str, result: ToolResult) -> ToolResult:
    """Check a result that the function made itself: its fields may hold anything. Raises ToolFailed."""
    error = result.error if result.error is None or isinstance(result.error, str) else "tool_execution_error"
    if not isinstance(result.text, str) or error is not result.error or result.then not in (None, "hang_up"):
        _refuse_result(name)
    return ToolResult(_text(result.text), error, result.then)


def _refuse_result(name: str) -> NoReturn:
    log.error("function tool returned a ToolResult with a field of the wrong type", extra={"tool": name})
    raise ToolFailed(DID_NOT_WORK)


def _text(text: str) -> str:
    """As much of the text as could be shown, and one character more, so that `cut` says that it is cut."""
    return well_formed(text[: MOST_CUT_CHARS + 1])


def _size(value: Any) -> int:
    return len(value) if isinstance(value, Mapping | list | tuple) else 0


def _parts(value: Any) -> Iterator[object]:
    if isinstance(value, Mapping):
        yield from value.keys()
        yield from value.values()
    elif isinstance(value, list | tuple):
        yield from value
    else:
        yield from getattr(value, "__dict__", {}).values()
        for kind in type(value).__mro__:
            for slot in _slots(kind):
                yield getattr(value, slot, None)


def _slots(kind: type) -> Iterator[str]:
    slots = getattr(kind, "__slots__", ())
    for slot in (slots,) if isinstance(slots, str) else slots:
        if not slot.startswith("__"):
            yield slot
