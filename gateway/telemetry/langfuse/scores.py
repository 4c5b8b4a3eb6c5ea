"""The scores of sessions, as Langfuse's API takes them. Pure.

Langfuse replaces a score by one with the same id and the same time, so the time is the session's beginning: that of
scoring is another one each time.
Source: `langfuse` 5.0.4, `api/scores/types/create_score_request.py`; a score belongs to a trace or to a session, not to
both (langfuse/langfuse pull request 6367).
"""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256

from gateway.telemetry.spans.dialects import langfuse_session
from gateway.telemetry.spans.policy import TelemetryPolicy
from gateway.telemetry.spans.redaction import Redaction
from sessions.ports import Json
from sessions.stores.contract import Document


class ScoreBodies:
    """Makes what is posted of the documents of scores."""

    def __init__(self, policy: TelemetryPolicy) -> None:
        self._redaction = Redaction(policy.redact)
        self._environment = policy.environment

    def body(self, document: Document, started_s: float) -> dict[str, Json]:
        """One score of a session that began at `started_s` (Unix time). Raises KeyError for what is no score."""
        session, name, value, comment = (document.get(field) for field in ("session_id", "name", "value", "comment"))
        if not isinstance(session, str) or not isinstance(name, str):
            raise KeyError("session_id and name of a score")
        found: dict[str, Json] = {
            "id": score_id(session, name),
            "sessionId": langfuse_session(session),
            "name": name,
            **self._value(value),
            "timestamp": datetime.fromtimestamp(started_s, UTC).isoformat(timespec="milliseconds"),
        }
        if isinstance(comment, str) and comment:
            found["comment"] = self._redaction.text(comment)
        if self._environment:
            found["environment"] = self._environment
        return found

    def _value(self, value: Json) -> dict[str, Json]:
        if isinstance(value, bool):
            return {"value": int(value), "dataType": "BOOLEAN"}
        if isinstance(value, int | float):
            return {"value": value, "dataType": "NUMERIC"}
        return {"value": self._redaction.text(str(value)), "dataType": "CATEGORICAL"}


def score_id(session_id: str, name: str) -> str:
    """The id of a session's score of this name, which is the same in every process."""
    return sha256(f"{session_id}//score/{name}".encode("utf-8", "surrogatepass")).hexdigest()[:32]
