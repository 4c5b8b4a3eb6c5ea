"""Scores as Langfuse takes them."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.telemetry.langfuse.scores import ScoreBodies, score_id
from gateway.telemetry.spans.policy import TelemetryPolicy
from gateway.telemetry.spans.words import without_words
from sessions.stores.contract import Document
from sessions.stores.scores import Score, score_document

SESSION: Document = {"tenant": "default", "session_id": "sess_1"}
STARTED_S = 1_764_600_000.25


def document(value: Any = True, comment: str | None = None, session: str = "sess_1") -> Document:
    return score_document({**SESSION, "session_id": session}, Score("booked", value, comment, 1_764_700_000.0))


def body(given: Document, **policy: Any) -> dict[str, Any]:
    return ScoreBodies(TelemetryPolicy(**policy)).body(given, STARTED_S)


@pytest.mark.parametrize(
    ("value", "sent", "kind"),
    [(True, 1, "BOOLEAN"), (False, 0, "BOOLEAN"), (4.5, 4.5, "NUMERIC"), ("angry", "angry", "CATEGORICAL")],
)
def test_a_value_has_its_type(value: Any, sent: Any, kind: str) -> None:
    found = body(document(value))
    assert (found["value"], found["dataType"]) == (sent, kind)
    assert not isinstance(found["value"], bool)


def test_a_score_belongs_to_its_session_and_is_dated_by_the_calls_beginning() -> None:
    assert body(document(), environment="test") == {
        "id": score_id("sess_1", "booked"),
        "sessionId": "sess_1",
        "name": "booked",
        "value": 1,
        "dataType": "BOOLEAN",
        "timestamp": "2025-12-01T14:40:00.250+00:00",
        "environment": "test",
    }


def test_ids_differ_by_session_and_name_and_are_the_same_each_time() -> None:
    found = [score_id("a", "x"), score_id("a", "y"), score_id("b", "x"), score_id("a", "x")]
    assert found[0] == found[3]
    assert len(set(found)) == 3
    assert all(len(one) == 32 for one in found)


def test_words_are_redacted() -> None:
    found = body(document("mail jane@example.com", "Anna, 4111 1111 1111 1111"), redact=("Anna",))
    assert found["value"] == "mail [email]"
    assert found["comment"] == "[redacted], [card]"


def test_without_words_there_is_no_comment() -> None:
    assert "comment" not in body(without_words(document(1.0, "secret")))


def test_a_session_id_that_langfuse_does_not_take_is_the_same_digest_as_in_spans() -> None:
    found = body(document(session="ü" * 300))
    assert found["sessionId"].isascii()
    assert len(found["sessionId"]) == 64


def test_what_is_no_score_is_refused() -> None:
    with pytest.raises(KeyError):
        body({"tenant": "t", "id": "score_x"})
