"""Tests for gateway/models/realtime/refusal.py: errors of a model, also in a wrong shape."""

from __future__ import annotations

from typing import Any

import pytest
from support.calls.model_messages import Model, shown

from gateway.models.realtime.refusal import UNTOLD
from sessions.events import ModelRefused
from sessions.problems import ModelProblem


@pytest.mark.parametrize("error", [{}, None, [], 7, {"code": None}, {"message": 7}, {"message": ""}])
def test_an_error_without_content_becomes_a_server_error(error: Any) -> None:
    event = Model().says("error", error=error)
    assert isinstance(event, ModelRefused)
    assert (event.code, event.message, event.event_id) == ("server_error", UNTOLD, None)
    assert event.problem == ModelProblem("server_error", None)
    told = shown(event)
    assert told["event_id"] == "event_1"
    assert told["error"] == {
        "type": "server_error",
        "code": "server_error",
        "message": UNTOLD,
        "param": None,
        "event_id": None,
    }


def test_an_error_message_without_an_error_field_becomes_a_server_error() -> None:
    event = Model().codec.decode(b'{"type":"error"}')
    assert isinstance(event, ModelRefused)
    assert shown(event)["error"]["type"] == "server_error"


def test_an_error_that_is_only_a_string_keeps_its_words() -> None:
    event = Model().says("error", error="no")
    assert isinstance(event, ModelRefused)
    assert (event.message, shown(event)["error"]["message"]) == ("no", "no")


@pytest.mark.parametrize(
    ("error", "changes"),
    [
        ({"code": "slow_down", "message": "m"}, {"type": "server_error"}),
        ({"type": "t", "code": "c"}, {"message": UNTOLD}),
        ({"type": 7, "code": "c", "message": "m"}, {"type": "server_error"}),
        ({"type": "t", "code": 503, "message": "m"}, {"code": "503"}),
        ({"type": "t", "code": [], "message": "m", "param": {}, "event_id": 7}, {"code": None}),
    ],
)
def test_fields_that_an_error_has_are_kept_and_missing_ones_are_added(error: Any, changes: dict[str, Any]) -> None:
    event = Model().says("error", error=error)
    assert isinstance(event, ModelRefused)
    words = {key: value for key, value in error.items() if isinstance(value, str)}
    assert shown(event)["error"] == {"param": None, "event_id": None, "code": None, **words, **changes}
    assert event.problem is not None
    assert event.problem.type in ("t", None, "7")


def test_a_well_formed_error_is_passed_on_unchanged() -> None:
    text = b'{"type": "error", "error": {"type": "invalid_request_error", "message": "No.", "new": 1}}'
    event = Model().codec.decode(text)
    assert isinstance(event, ModelRefused)
    assert event.wire is not None
    assert event.wire.text == text
