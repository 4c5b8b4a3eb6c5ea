"""The sweep's table: hostile cases, what each does to the gateway, and what the call and the record must show.

A case is one entry of the table: which outside part it plays, which kind of harm it does, how it is provoked, and what
must be seen afterwards. `judge` compares the two.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from peers.server_process import Server

HUNG_UP = ("caller_hung_up",)
MODEL_LOST = ("model_lost",)


@dataclass
class World:
    """The gateway, and the fakes around it."""

    server: Server
    folder: Path
    endpoints: Any = None  # the fake of the local model's endpoints
    notes: list[str] = field(default_factory=list)


@dataclass
class Seen:
    """What was seen of a hostile call, by its caller and in the record."""

    session_id: str = ""
    close_code: int = 0  # sent by the server; 0: the caller hung up
    statuses: list[str] = field(default_factory=list)  # of the ended responses, in order
    errors: list[str] = field(default_factory=list)  # codes of error events
    heard_ms: int = 0  # sound received with the first response that had some
    answered_again: bool = False  # whether the call took one more turn afterwards
    session: Any = None
    turns: Any = None

    def said(self) -> str:
        """All that the agent said, by the record."""
        return " ".join(entry["text"] or "" for entry in self._entries("said") if entry["speaker"] == "agent")

    def caller_said(self) -> str:
        """All that the caller said, by the record."""
        return " ".join(entry["text"] or "" for entry in self._entries("said") if entry["speaker"] == "caller")

    def tools(self) -> list[Any]:
        """The tool calls, by the record."""
        return self._entries("tool")

    def _entries(self, kind: str) -> list[Any]:
        return [entry for turn in self.turns or () for entry in turn["entries"] if entry["kind"] == kind]


@dataclass(frozen=True)
class Says:
    """What must be seen. None, or an empty tuple, requires nothing."""

    end: tuple[str, ...] = HUNG_UP  # the record's end reason is one of these
    close: tuple[int, ...] = ()  # and the close code one of these
    status: tuple[str, ...] = ()  # and the end of the provoked response one of these
    tool: tuple[str | None, ...] = ()  # error kinds of the provoked tool call; None: it worked
    output: str | None = None  # is part of the tool's output for the model
    output_not: str | None = None  # is not part of it
    said: str | None = None  # is part of what the agent said
    said_not: str | None = None
    error: str | None = None  # code of an error event that the caller receives
    heard_ms: tuple[int, int] | None = None  # ms of sound with the provoked response, at least and at most
    goes_on: bool = True  # another turn is answered, where the call is not over


Provoke: TypeAlias = Callable[[World, "Case"], Awaitable[Seen | None]]


@dataclass(frozen=True)
class Case:
    """One entry of the table. `provoke` returns what was seen, or None where it has made its own checks."""

    part: str
    kind: str
    provoke: Provoke
    says: Says = Says()
    slow: bool = False  # waits for a deadline of the gateway, so it starts first
    wait_s: float = 20.0  # the longest that the whole case may take

    @property
    def name(self) -> str:
        """The part and the kind."""
        return f"{self.part}/{self.kind}"


def judge(seen: Seen, says: Says) -> list[str]:
    """What differs from what must be seen, in words."""
    ended = (seen.session or {}).get("end_reason")
    wrong = []
    if ended not in says.end:
        wrong.append(f"the record's end_reason is {ended!r}, not one of {says.end}")
    if says.close and seen.close_code not in says.close:
        wrong.append(f"closed with {seen.close_code}, not one of {says.close}")
    if says.status and not set(says.status) & set(seen.statuses):
        wrong.append(f"responses ended as {seen.statuses}, none as {says.status}")
    if says.error is not None and says.error not in seen.errors:
        wrong.append(f"error events {seen.errors}, none with code {says.error}")
    if says.heard_ms is not None and not says.heard_ms[0] <= seen.heard_ms <= says.heard_ms[1]:
        wrong.append(f"the caller got {seen.heard_ms} ms of sound, not {says.heard_ms}")
    if says.goes_on and ended == "caller_hung_up" and not seen.answered_again:
        wrong.append("the call did not answer another turn")
    return wrong + _judge_words(seen, says) + _judge_tool(seen, says)


def _judge_words(seen: Seen, says: Says) -> list[str]:
    said = seen.said()
    wrong = []
    if says.said is not None and says.said not in said:
        wrong.append(f"the agent said {said[:200]!r}, without {says.said!r}")
    if says.said_not is not None and says.said_not in said:
        wrong.append(f"the agent said {says.said_not!r}")
    return wrong


def _judge_tool(seen: Seen, says: Says) -> list[str]:
    if not says.tool:
        return []
    tools = seen.tools()
    if not tools:
        return ["the record has no tool call"]
    tool, wrong = tools[0], []
    if tool["error"] not in says.tool:
        wrong.append(f"the tool's error is {tool['error']!r}, not one of {says.tool}: {str(tool['output'])[:120]!r}")
    if says.output is not None and says.output not in (tool["output"] or ""):
        wrong.append(f"the tool's output {str(tool['output'])[:200]!r} is without {says.output!r}")
    if says.output_not is not None and says.output_not in (tool["output"] or ""):
        wrong.append(f"the tool's output has {says.output_not!r}: {str(tool['output'])[:200]!r}")
    return wrong
