"""Decides which traces are sent: a share of the calls, each whole, and every turn that went wrong or was slow."""

from __future__ import annotations

from gateway.telemetry.spans import ids
from gateway.telemetry.spans.policy import TelemetryPolicy
from gateway.telemetry.spans.turn import has_failed_tool, has_redial, turn_error
from gateway.telemetry.spans.view import CallView
from sessions.record import Turn


def keeps(session_id: str, ratio: float) -> bool:
    """Whether a call is among the share that is kept. Every process decides the same: by the session's id."""
    return int.from_bytes(ids.call_trace(session_id)[:8], "big") < ratio * 2**64


def is_always_sent(call: CallView, turn: Turn, policy: TelemetryPolicy) -> bool:
    """Whether a turn is sent even if its call is not kept: it failed, was slow, needed a redial, or a tool failed."""
    slow = turn.latency_ms is not None and turn.latency_ms > policy.slow_ms
    return slow or turn_error(turn) is not None or has_redial(call, turn) or has_failed_tool(turn)
