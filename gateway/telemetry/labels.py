"""Keeps the labels of figures short, printable and few, whatever an agent, a tool or a model is called."""

from __future__ import annotations

from sessions.problems import OTHER

MAX_CHARACTERS = 64
# A monitor keeps a series for each value for ever.
MAX_VALUES = 200


def clean(value: str) -> str:
    """The value as a label may show it: at most 64 characters, without control characters and lone surrogates."""
    short = value[:MAX_CHARACTERS]
    if short.isprintable():
        return short
    return "".join(character if character.isprintable() else "\ufffd" for character in short)


class LabelBounds:
    """Bounds how many values each label has in a process; what comes later counts as `other`."""

    def __init__(self, max_values: int = MAX_VALUES) -> None:
        self._max_values = max_values
        self._known: dict[str, set[str]] = {}

    def bounded(self, names: tuple[str, ...], values: tuple[str, ...]) -> tuple[str, ...]:
        """The values under which a series with these labels is counted."""
        return tuple(self._one(name, clean(value)) for name, value in zip(names, values, strict=True))

    def _one(self, name: str, value: str) -> str:
        known = self._known.setdefault(name, set())
        if value in known or value == OTHER:
            return value
        if len(known) >= self._max_values:
            return OTHER
        known.add(value)
        return value
