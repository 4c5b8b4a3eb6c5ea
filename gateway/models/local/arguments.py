"""The arguments of a tool call, which are a JSON object serialised to a string."""

from __future__ import annotations

import json

from gateway.models.local.answer_fault import AnswerFault
from sessions.ports import Json


def object_of(arguments: str) -> dict[str, Json] | None:
    """Parse a call's arguments; None where they are not a JSON object or not complete."""
    if not arguments.rstrip().endswith("}"):
        return None
    try:
        found = json.loads(arguments)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def dumped(arguments: dict[str, Json]) -> str:
    """Serialise arguments. Raises AnswerFault where they are nested too deeply."""
    try:
        return json.dumps(arguments, ensure_ascii=False)
    except RecursionError:
        raise AnswerFault("a tool call's arguments are nested too deeply") from None
