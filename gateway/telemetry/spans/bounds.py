"""Bounds texts that come from outside, such as a tool's name, before they are names or attributes of spans."""

from __future__ import annotations

from sessions.problems import OTHER
from sessions.record import ToolUse

MAX_NAME_CHARACTERS = 64
MAX_VALUE_CHARACTERS = 200
REPLACED = "\ufffd"


def short(text: str, most: int = MAX_NAME_CHARACTERS) -> str:
    """A text of at most `most` characters, each of them printable; the others are replaced by U+FFFD."""
    cut = text if len(text) <= most else text[: most - 1] + "…"
    return cut if cut.isprintable() else "".join(c if c.isprintable() else REPLACED for c in cut)


def value(text: str) -> str:
    """The same for the value of an attribute, which may be longer."""
    return short(text, MAX_VALUE_CHARACTERS)


def tool_name(use: ToolUse) -> str:
    """A tool's name; `other` for one that the model has made up, since it may be somebody's words."""
    return OTHER if use.made_up else short(use.name)
