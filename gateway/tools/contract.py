"""What every tool receives and returns, how a function is marked as a tool, and how a long result is cut.

Plugin authors import these names from `patchbay`. This module stays cheap to import.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar

from sessions.caller_facts import CallerFacts
from sessions.ports import Clock
from sessions.text import well_formed

# Only this many characters of a text are looked at when it is cut.
MOST_CUT_CHARS = 1 << 20

Then: TypeAlias = Literal["hang_up"]
AnyFunction = TypeVar("AnyFunction", bound=Callable[..., Any])

_MARK = "__patchbay_tool__"


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool returned: `text` is for the model.

    `then` is what the call does once the agent has spoken its answer to this result. `error` is the kind of failure
    (`ToolFailed.kind`) where an MCP server reported one, else None; a function raises `ToolFailed` instead.
    """

    text: str
    error: str | None = None
    then: Then | None = None


@dataclass(frozen=True, slots=True)
class ToolContext:
    """The call in which a tool runs.

    `caller` has `number`, `called`, `direction` and `metadata`, and is a mapping of the two numbers that are known.
    `traceparent` is the W3C header with which a request to another service continues the trace of this tool call.
    """

    session_id: str
    agent: str
    caller: CallerFacts
    clock: Clock
    traceparent: str | None = None


def tool(function: AnyFunction) -> AnyFunction:
    """Mark a function in a plugin file as a tool. The function's name becomes the tool's name."""
    setattr(function, _MARK, True)
    return function


def is_marked(thing: object) -> bool:
    """Whether `thing` is a function that `@tool` marked."""
    return callable(thing) and getattr(thing, _MARK, False) is True


def cut(text: str, max_bytes: int) -> str:
    """The text if it has at most `max_bytes` bytes in UTF-8, else its beginning and a note that says what is missing.

    Lone surrogates, which UTF-8 cannot carry, become U+FFFD.
    """
    more = "more than " if len(text) > MOST_CUT_CHARS else ""
    text = well_formed(text[:MOST_CUT_CHARS])
    encoded = text.encode()
    if len(encoded) <= max_bytes and not more:
        return text
    kept = encoded[:max_bytes].decode(errors="ignore")
    return f"{kept}\n[Cut: the result has {more}{len(encoded)} bytes, {len(kept.encode())} are shown.]"
