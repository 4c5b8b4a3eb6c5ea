"""Records of sessions for tests of stores, recovery and recordings."""

from __future__ import annotations

from typing import Any

from gateway.state.kept import Fence, Kept
from sessions.record import CallSummary
from sessions.stores.contract import Document
from sessions.stores.documents import Owner, RecordingInfo, RecordingState, SessionRecord, SessionState


def session_record(session_id: str, *, boot: str = "boot", **more: Any) -> SessionRecord:
    """The record of a live call of the tenant `default`, run by the instance `boot`; `more` replaces fields."""
    facts: dict[str, Any] = {
        "tenant": "default",
        "session_id": session_id,
        "agent": "harbour",
        "agent_version": "1",
        "model": "local/offline",
        "protocol": "realtime",
        "state": SessionState.LIVE,
        "started_at": 1000.0,
        "ended_at": None,
        "summary": CallSummary(),
        "latencies_ms": (),
        "recording": RecordingInfo(RecordingState.OFF),
        "owner": Owner("test", boot),
    }
    return SessionRecord(**{**facts, **more})


def kept(*documents: Document, fence: Fence | None = None) -> list[Kept]:
    """Documents as they wait beside a store; without `fence`, nothing is known of their sessions."""
    return [Kept(document, fence) for document in documents]
