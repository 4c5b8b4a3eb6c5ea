"""Where the traces of calls are found: their ids, which every process computes, and a link, if one is set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import quote

from gateway.http.shapes import SessionShape, TraceShape, TurnShape
from gateway.telemetry.spans.ids import call_trace, turn_trace
from gateway.telemetry.spans.policy import Shape

Traced = TypeVar("Traced", SessionShape, TurnShape)


@dataclass(frozen=True, slots=True)
class TraceLinks:
    """Adds the trace to what the API shows; `template` is None where there are no links."""

    shape: Shape = Shape.TURN
    template: str | None = None

    def session(self, shown: SessionShape) -> SessionShape:
        """A session with the trace of its call."""
        return shown.model_copy(update={"trace": self._trace(shown.session_id, call_trace(shown.session_id))})

    def turn(self, session_id: str, shown: TurnShape) -> TurnShape:
        """A turn of this session with its trace."""
        return shown.model_copy(
            update={"trace": self._trace(session_id, turn_trace(session_id, shown.index, self.shape))}
        )

    def _trace(self, session_id: str, trace_id: bytes) -> TraceShape:
        found = trace_id.hex()
        if self.template is None:
            return TraceShape(trace_id=found)
        url = self.template.replace("{trace_id}", found).replace("{session_id}", quote(session_id, safe=""))
        return TraceShape(trace_id=found, url=url)
