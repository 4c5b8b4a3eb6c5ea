"""What all tools have in common: what they are told about the call, what they give back, and how results are cut."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from sessions.ports import Clock
from sessions.text import well_formed

MOST_CUT_CHARS = 1 << 20  # of a text, before it is cut; what is behind them is not looked at

Then: TypeAlias = Literal["hang_up"]


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool gave back: `text` is for the model.

    `error` is None, or the kind of failure (`ToolFailed.kind`) when the tool itself refused. `then` is what the call
    shall do once the agent has spoken its answer to this result.
    """

    text: str
    error: str | None
    then: Then | None


@dataclass(frozen=True, slots=True)
class ToolContext:
    """The call in which a tool runs. `caller` holds what is known of the caller, such as `number`."""

    session_id: str
    agent: str
    caller: Mapping[str, str]
    clock: Clock


def cut(text: str, max_bytes: int) -> str:
    """The text if it fits into so many bytes of UTF-8, else its beginning and a note that says what is missing.

    Lone surrogates, which UTF-8 cannot carry, become U+FFFD.
    """
    more = "more than " if len(text) > MOST_CUT_CHARS else ""
    text = well_formed(text[:MOST_CUT_CHARS])
    encoded = text.encode()
    if len(encoded) <= max_bytes and not more:
        return text
    kept = encoded[:max_bytes].decode(errors="ignore")
    return f"{kept}\n[Cut: the result has {more}{len(encoded)} bytes, {len(kept.encode())} are shown.]"
