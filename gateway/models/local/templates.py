"""An agent's templates filled in: slots and results in its sentences, slots in the arguments of a tool."""

from __future__ import annotations

import re
from collections.abc import Mapping

from gateway.models.local.patterns import Value
from gateway.models.local.results import Result
from gateway.models.local.rules import CallSpec
from sessions.ports import Json

_PLACE = re.compile(r"\{([a-z_]+(?:\.[a-z_]+)*)\}")


def filled(template: str, slots: Mapping[str, Value], result: Result | None) -> str:
    """A sentence with its `{slot}`, `{result}` and `{result.field}` filled in; what has no value leaves nothing.

    `result` is the tool's, if one was called.
    """

    def place(match: re.Match[str]) -> str:
        name, _, path = match[1].partition(".")
        if name == "result" and result is not None:
            return str(result.field(path) or "") if path else result.sentence
        return slots[name].spoken if name in slots else ""

    return " ".join(_PLACE.sub(place, template).split())


def arguments_of(call: CallSpec, slots: Mapping[str, Value]) -> dict[str, Json]:
    """The call's arguments; those that consist of a slot that was not filled are left out."""
    arguments: dict[str, Json] = {}
    for name, template in call.arguments:
        match template:
            case str() if (whole := _PLACE.fullmatch(template)) is not None:
                if whole[1] in slots:
                    arguments[name] = slots[whole[1]].plain
            case str():
                arguments[name] = _PLACE.sub(lambda m: str(slots[m[1]].plain) if m[1] in slots else "", template)
            case _:
                arguments[name] = template
    return arguments
