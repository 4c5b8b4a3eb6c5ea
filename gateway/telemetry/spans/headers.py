"""The header with which a tool continues the trace of the turn that calls it."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.telemetry.spans.ids import traceparent
from gateway.telemetry.spans.policy import Shape
from gateway.telemetry.spans.sampling import keeps


@dataclass(frozen=True, slots=True)
class TraceHeaders:
    """Makes the header of each tool call; `ratio` is the share of the calls whose traces are kept."""

    shape: Shape = Shape.TURN
    ratio: float = 1.0

    def of_tool(self, session_id: str, turn: int, call_id: str) -> str:
        """The W3C `traceparent` of a tool call in the turn of this index."""
        return traceparent(session_id, turn, call_id, self.shape, sampled=keeps(session_id, self.ratio))


EVERY_TURN = TraceHeaders()
