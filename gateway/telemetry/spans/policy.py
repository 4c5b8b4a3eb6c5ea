"""What the settings say about traces, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from sessions.agent import TelemetryContent

_ORDER = list(TelemetryContent)


class Shape(StrEnum):
    """Says what a trace is: one turn, or a whole call."""

    TURN = "turn"
    CALL = "call"


def lower(one: TelemetryContent, other: TelemetryContent | None) -> TelemetryContent:
    """The lower of two levels; None sets no limit."""
    return one if other is None else min(one, other, key=_ORDER.index)


@dataclass(frozen=True, slots=True)
class TelemetryPolicy:
    """What becomes of the spans of calls.

    `content` is the ceiling for all agents; `agents` has the levels of those that lower it, by name. `redact` holds
    patterns beside the kinds that are always masked. `transports` says, for MCP servers by name, whether they are
    reached by `pipe` or by `tcp`.
    """

    shape: Shape = Shape.TURN
    content: TelemetryContent = TelemetryContent.NONE
    ratio: float = 1.0  # of the calls whose traces are kept, 0 to 1
    slow_ms: int = 2_000  # a turn with a greater latency is always sent
    redact: tuple[str, ...] = ()
    environment: str = ""
    release: str = ""
    agents: Mapping[str, TelemetryContent] = field(default_factory=dict)
    transports: Mapping[str, str] = field(default_factory=dict)

    def level_of(self, agent: str) -> TelemetryContent:
        """What may be sent of the words in this agent's calls."""
        return lower(self.content, self.agents.get(agent))
