"""What a user's function returned, as words for the model, within a bound on what is made of it at once.

Who turns a value of any size into JSON in one go holds the interpreter, and with it every call, also from a thread.
So what has many parts is written piece by piece, and no further than the model could ever be shown.
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
MANY_PARTS = 5_000  # are written in one go within a few milliseconds; and so many characters
MANY_CHARS = 256 * 1024
MOST_JSON_BYTES = 1 << 20


def is_large(returned: object) -> bool:
    """Whether `shown` may take long with this, and belongs in a thread. Looks at a bounded number of parts."""
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


def shown(name: str, returned: object) -> ToolResult:
    """What a function returned, for the model: a text as it is, nothing as "Done.", all else as JSON.

    Raises ToolFailed.
    """
    if isinstance(returned, ToolResult):
        return _checked(name, returned)
    if returned is None:
        return ToolResult("Done.", None, None)
    if isinstance(returned, str):
        return ToolResult(_text(returned), None, None)
    try:
        return ToolResult(_pieces(returned) if is_large(returned) else _json(returned), None, None)
    except (TypeError, ValueError) as error:
        log.error("function tool returned what JSON cannot carry", extra={"tool": name})
        raise ToolFailed(DID_NOT_WORK) from error


def _json(value: object) -> str:
    try:
        return orjson.dumps(value, default=_plain).decode()
    except TypeError:  # orjson takes no half of a surrogate pair and no key that is a number
        return well_formed(json.dumps(value, default=_plain, ensure_ascii=False, allow_nan=False))


def _pieces(value: object) -> str:
    """A large value's JSON, or the beginning of it."""
    return write_json(value, MOST_JSON_BYTES, default=_small)[0]


def _small(value: object) -> object:
    """A part that Python's encoder does not know, as it knows it. Raises ToolFailed where that is large itself."""
    if is_large(value):
        raise ToolFailed(TOO_LONG)
    return orjson.loads(orjson.dumps(value, default=_plain))


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(type(value).__name__)


def _checked(name: str, result: ToolResult) -> ToolResult:
    """A result that the function made itself; its fields may hold anything. Raises ToolFailed."""
    error = result.error if result.error is None or isinstance(result.error, str) else "tool_execution_error"
    if not isinstance(result.text, str) or error is not result.error or result.then not in (None, "hang_up"):
        _refuse(name)
    return ToolResult(_text(result.text), error, result.then)


def _refuse(name: str) -> NoReturn:
    log.error("function tool returned a ToolResult with a field of the wrong type", extra={"tool": name})
    raise ToolFailed(DID_NOT_WORK)


def _text(text: str) -> str:
    """As much of it as could be shown; one character more says that it is cut."""
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
