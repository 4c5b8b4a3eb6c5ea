"""Converts a tool's output into a sentence that can be spoken."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.realtime import fields
from sessions.ports import Json

_SENTENCE_KEYS = ("sentence", "say", "spoken", "message", "text", "content", "summary", "result", "error", "detail")
_LONGEST = 600  # characters of one result that are spoken


@dataclass(frozen=True, slots=True)
class Result:
    """A tool's result: whether it failed, a sentence, and the JSON value that contained it.

    `refused`: the tool worked and refused the request, which is shown by other fields beside the error.
    """

    failed: bool
    refused: bool
    sentence: str
    value: Json

    def field(self, path: str) -> Json:
        """The field at a dotted path; None where there is none."""
        return fields.inside(self.value, *path.split("."))


def read_result(output: str) -> Result:
    """Read a function call's output: a JSON value, or else a sentence."""
    try:
        value: Json = json.loads(output)
    except ValueError:
        return Result(False, False, output.strip()[:_LONGEST], output)
    failed = _failed(value)
    return Result(failed, failed and isinstance(value, Mapping) and len(value) > 1, _sentence(value)[:_LONGEST], value)


def _failed(value: Json) -> bool:
    if not isinstance(value, Mapping):
        return False
    return bool(value.get("error")) or value.get("isError") is True or value.get("ok") is False


def _sentence(value: Json) -> str:
    match value:
        case str():
            return value.strip()
        case bool() | None:
            return ""
        case int() | float():
            return str(value)
        case Mapping():
            for key in _SENTENCE_KEYS:
                if value.get(key):
                    return _sentence(value[key])
            return ""
        case Sequence():
            return " ".join(filter(None, (_sentence(entry) for entry in value)))
    return ""
