"""The arguments of a tool call: a JSON object, written as a text."""

from __future__ import annotations

import json

from gateway.models.local.answer_fault import AnswerFault
from sessions.ports import Json


def object_of(arguments: str) -> dict[str, Json] | None:
    """The object that a call's arguments are; None: they are not one, or not whole."""
    if not arguments.rstrip().endswith("}"):
        return None
    try:
        found = json.loads(arguments)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def dumped(arguments: dict[str, Json]) -> str:
    """An object as the text. Raises AnswerFault."""
    try:
        return json.dumps(arguments, ensure_ascii=False)
    except RecursionError:
        raise AnswerFault("a tool call's arguments are nested too deeply") from None
