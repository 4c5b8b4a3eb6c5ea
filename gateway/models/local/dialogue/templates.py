"""Fills an agent's templates: slots and results into its sentences, slots into a tool's arguments."""

from __future__ import annotations

import re
from collections.abc import Mapping

from gateway.models.local.dialogue.patterns import Value
from gateway.models.local.dialogue.results import Result
from gateway.models.local.dialogue.rules import CallSpec
from sessions.ports import Json

_PLACE = re.compile(r"\{([a-z_]+(?:\.[a-z_]+)*)\}")


def filled(template: str, slots: Mapping[str, Value], result: Result | None) -> str:
    """A sentence with `{slot}`, `{result}` and `{result.field}` filled in; a place without a value becomes empty.

    `result` is the result of the rule's tool, if it was called.
    """

    def place(match: re.Match[str]) -> str:
        name, _, path = match[1].partition(".")
        if name == "result" and result is not None:
            return str(result.field(path) or "") if path else result.sentence
        return slots[name].spoken if name in slots else ""

    return " ".join(_PLACE.sub(place, template).split())


def arguments_of(call: CallSpec, slots: Mapping[str, Value]) -> dict[str, Json]:
    """The call's arguments; an argument that is only a slot is left out while the slot is not filled."""
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
