"""Tests for gateway/models/realtime/response_end.py: the end of a response, also in a wrong shape."""

from __future__ import annotations

from typing import Any

import pytest
from support.calls.model_messages import ITEM, Model, message, new_codec, shown

from gateway.models.realtime.response_end import MALFORMED
from sessions.errors import WireError
from sessions.events import ItemStarted, ResponseEnded
from sessions.ports import JsonObject
from sessions.problems import ModelProblem
from sessions.usage import TokenUsage
from sessions.values import Outcome


@pytest.mark.parametrize(
    ("status", "details", "outcome", "reason"),
    [
        ("completed", None, Outcome.COMPLETED, None),
        ("cancelled", {"type": "cancelled", "reason": "turn_detected"}, Outcome.CANCELLED, "turn_detected"),
        ("incomplete", {"type": "incomplete", "reason": "content_filter"}, Outcome.INCOMPLETE, "content_filter"),
        ("failed", {"type": "failed", "error": {"code": "insufficient_quota"}}, Outcome.FAILED, "insufficient_quota"),
        ("in_a_new_way", None, Outcome.FAILED, None),
    ],
)
def test_the_status_of_a_response_is_its_outcome(
    status: str, details: JsonObject | None, outcome: Outcome, reason: str | None
) -> None:
    response = {"id": "r", "status": status, "status_details": details, "usage": None}
    ended = new_codec().decode(message("response.done", response=response))
    assert isinstance(ended, ResponseEnded)
    assert (ended.outcome, ended.reason, ended.usage) == (outcome, reason, None)


def test_tokens_are_those_that_the_model_counts() -> None:
    usage = {
        "total_tokens": 99,
        "input_token_details": {"text_tokens": 1, "audio_tokens": 2, "image_tokens": 3, "cached_tokens": 4},
        "output_token_details": {"text_tokens": 5, "audio_tokens": "many"},
    }
    ended = new_codec().decode(message("response.done", response={"id": "r", "status": "completed", "usage": usage}))
    assert isinstance(ended, ResponseEnded)
    assert ended.usage == TokenUsage(1, 2, 3, 4, 5, 0)


def test_cached_tokens_by_kind_and_reasoning_are_counted_where_the_model_counts_them() -> None:
    details = {"text_tokens": 3, "audio_tokens": 5, "image_tokens": 7}
    usage = {
        "input_token_details": {"cached_tokens": 15, "cached_tokens_details": details},
        "output_token_details": {"text_tokens": 20, "reasoning_tokens": 12},
    }
    ended = new_codec().decode(message("response.done", response={"id": "r", "status": "completed", "usage": usage}))
    assert isinstance(ended, ResponseEnded)
    counts = {"input_cached": 15, "cached_text": 3, "cached_audio": 5, "cached_image": 7, "output_reasoning": 12}
    assert ended.usage == TokenUsage(output_text=20, **counts)


@pytest.mark.parametrize("status", [None, 7, {}, [], True, 0.5])
@pytest.mark.parametrize("speaks", [True, False])
def test_a_response_whose_status_is_no_string_has_failed(status: Any, *, speaks: bool) -> None:
    model = Model()
    model.begins(speaks=speaks)
    event = model.ends(response={"id": "resp_1", "status": status, "output": [ITEM]})
    assert (event.response_id, event.outcome, event.reason) == ("resp_1", Outcome.FAILED, MALFORMED)
    assert event.problem == ModelProblem(MALFORMED, "server_error")
    told = shown(event)["response"]
    assert (told["status"], told["output"]) == ("failed", [ITEM])
    assert told["status_details"]["error"]["code"] == MALFORMED


@pytest.mark.parametrize(
    ("speaks", "output", "outcome"),
    [
        (True, [], Outcome.COMPLETED),
        (False, [ITEM], Outcome.COMPLETED),
        (False, [], Outcome.FAILED),
        (False, None, Outcome.FAILED),
    ],
)
def test_a_response_without_a_status_is_completed_if_it_brought_anything(
    output: Any, outcome: Outcome, *, speaks: bool
) -> None:
    model = Model()
    model.begins(speaks=speaks)
    event = model.ends(response={"id": "resp_1", "output": output})
    assert event.outcome == outcome
    assert shown(event)["response"]["status"] == outcome


@pytest.mark.parametrize("fields", [{}, {"response": None}, {"response": []}, {"response": "resp_1"}, {"response": {}}])
def test_an_end_without_an_id_ends_the_running_response(fields: dict[str, Any]) -> None:
    model = Model()
    model.begins(speaks=False)
    event = model.ends(**fields)
    assert (event.response_id, event.outcome) == ("resp_1", Outcome.FAILED)
    assert shown(event)["response"]["id"] == "resp_1"


def test_an_end_without_an_id_keeps_its_status() -> None:
    model = Model()
    model.begins(speaks=True)
    assert model.ends(response={"status": "completed", "output": []}).outcome == Outcome.COMPLETED


def test_an_end_without_an_id_is_malformed_if_no_response_runs() -> None:
    model = Model()
    model.begins(speaks=True)
    model.ends(response={"id": "resp_1", "status": "completed"})
    with pytest.raises(WireError):
        model.says("response.done", response={"status": "completed"})


@pytest.mark.parametrize("response", [None, {}, {"id": None}, {"id": 7}])
def test_a_response_that_began_without_an_id_takes_that_of_its_first_item(response: Any) -> None:
    model = Model()
    with pytest.raises(WireError):
        model.says("response.created", response=response)
    started = model.says("response.output_item.added", response_id="resp_9", output_index=0, item=ITEM)
    assert isinstance(started, ItemStarted)
    assert model.ends(response={"status": "completed"}).response_id == "resp_9"


def test_a_response_that_never_had_an_id_ends_under_an_id_of_the_gateway() -> None:
    model = Model()
    with pytest.raises(WireError):
        model.says("response.created", response={})
    assert model.ends(response={"status": None}).response_id.startswith("resp_")
    with pytest.raises(WireError):
        model.says("response.done", response={"status": None})


def test_a_well_formed_end_is_passed_on_unchanged() -> None:
    model = Model()
    model.begins(speaks=True)
    text = b'{"type": "response.done", "response": {"status": "completed", "id": "resp_1", "new": [1]}}'
    event = model.codec.decode(text)
    assert isinstance(event, ResponseEnded)
    assert event.wire is not None
    assert event.wire.text == text
