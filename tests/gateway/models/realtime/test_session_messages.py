"""Tests for gateway/models/realtime/session_messages.py: the session and its errors."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from support.calls.model_messages import Model, message, new_codec, ready_codec, sent, setup

from sessions.accounts import LegError
from sessions.commands import Configure
from sessions.events import ModelLost, ModelReady, ModelRefused
from sessions.ports import JsonObject
from sessions.problems import ModelProblem
from sessions.values import ModelSession, Wire


def test_a_session_is_ready_when_the_model_has_confirmed_its_settings() -> None:
    codec = new_codec()
    assert codec.decode(message("session.created", session={})) is None
    assert codec.decode(message("session.updated", session={})) is None
    codec.encode(Configure(setup()))
    assert codec.decode(message("session.updated", session={})) == ModelReady()
    assert codec.decode(message("session.updated", session={})) is None


def test_a_session_that_is_ready_says_its_id_and_the_model_that_serves_it() -> None:
    codec = new_codec()
    codec.encode(Configure(setup()))
    session = {"id": "sess_m", "model": "gpt-realtime-2025-08-28"}
    ready = codec.decode(message("session.updated", session=session))
    assert ready == ModelReady(ModelSession("sess_m", "gpt-realtime-2025-08-28"))


@pytest.mark.parametrize("kind", ["session.created", "session.updated"])
@pytest.mark.parametrize("fields", [{}, {"session": None}, {"session": 7}, {"session": {}}])
def test_a_session_message_of_any_shape_is_not_malformed(kind: str, fields: dict[str, Any]) -> None:
    assert Model().says(kind, **fields) is None


def refusal(code: str | None, event_id: str | None, param: str | None = None) -> bytes:
    error = {"type": "invalid_request_error", "code": code, "message": "No.", "param": param, "event_id": event_id}
    return message("error", error=error)


def test_an_error_names_the_client_event_that_it_is_about() -> None:
    text = refusal("response_cancel_not_active", "mine")
    wire = Wire("realtime", text, orjson.loads(text))
    problem = ModelProblem("response_cancel_not_active", "invalid_request_error")
    assert new_codec().decode(text) == ModelRefused("response_cancel_not_active", "No.", "mine", wire, problem)


@pytest.mark.parametrize(
    ("code", "retryable", "error"),
    [("session_expired", True, LegError.CLOSED), ("invalid_api_key", False, LegError.AUTH)],
)
def test_some_errors_end_the_leg(code: str, retryable: bool, error: LegError) -> None:
    problem = ModelProblem(code, "invalid_request_error")
    assert ready_codec().decode(refusal(code, None)) == ModelLost(code, retryable, problem, error)


def test_a_session_field_that_the_service_does_not_know_is_left_out_from_then_on() -> None:
    codec = new_codec()
    session: JsonObject = {"tracing": "auto", "audio": {"input": {"noise_reduction": None, "format": {}}}}
    first = sent(codec, Configure(setup(session)))[0]
    path = "session.audio.input.noise_reduction"
    assert codec.decode(refusal("unknown_parameter", first["event_id"], path)) is None
    assert codec.settings.retry is not None
    again = orjson.loads(codec.settings.retry)
    assert again["session"]["audio"] == {"input": {"format": {}}}
    assert codec.decode(refusal("unknown_parameter", again["event_id"], "session.tracing")) is None
    assert codec.decode(message("session.updated", session={})) == ModelReady()
    later = sent(codec, Configure(setup(session)))[0]
    assert later["session"] == {"type": "realtime", "audio": {"input": {"format": {}}}}


def test_a_refused_session_that_has_nothing_to_leave_out_ends_the_leg() -> None:
    codec = new_codec()
    first = sent(codec, Configure(setup()))[0]
    problem = ModelProblem("invalid_value", "invalid_request_error")
    lost = codec.decode(refusal("invalid_value", first["event_id"], "session.voice"))
    assert lost == ModelLost("the model refused the session: invalid_value", False, problem, LegError.REFUSED)


def test_a_later_change_that_is_refused_does_not_end_the_leg() -> None:
    codec = ready_codec()
    change = sent(codec, Configure(setup()))[0]
    assert isinstance(codec.decode(refusal("cannot_update_voice", change["event_id"])), ModelRefused)
