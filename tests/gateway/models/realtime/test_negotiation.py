"""Tests for gateway/models/realtime/negotiation.py and refused_tools.py: sessions that a model refuses."""

from __future__ import annotations

import logging
from typing import Any

import orjson
import pytest

from audio.formats import PCM16_24K
from gateway.ids import CountingIds
from gateway.models.realtime.codec import RealtimeModelCodec
from gateway.models.realtime.negotiation import MAX_RETRIES
from gateway.models.realtime.refused_tools import refused_tool, without_tools
from sessions.accounts import LegError
from sessions.commands import Configure
from sessions.events import ModelEvent, ModelLost, ModelReady, ModelRefused
from sessions.problems import ModelProblem
from sessions.setup import ModelSetup, TurnPolicy

AGREED = b'{"type":"session.updated","event_id":"e","session":{}}'


def tool(name: str, **parameters: Any) -> dict[str, Any]:
    return {"type": "function", "name": name, "description": "", "parameters": {"type": "object", **parameters}}


class Service:
    """A codec, and a model that confirms or refuses the sessions that it asks for."""

    def __init__(self) -> None:
        self.codec = RealtimeModelCodec(CountingIds(), speaks_given_text=False)
        self.asked: list[dict[str, Any]] = []

    def ask(self, *tools: dict[str, Any], **session: Any) -> None:
        """The gateway asks for this session."""
        wanted = {"type": "realtime", "tools": list(tools), **session}
        setup = ModelSetup(wanted, PCM16_24K, PCM16_24K, False, TurnPolicy.MODEL_INTERRUPTS, None)
        self.asked += [orjson.loads(text) for text in self.codec.encode(Configure(setup))]

    def refuses(
        self, param: str | None, at: int = -1, code: str = "invalid_function_parameters", **changes: Any
    ) -> ModelEvent | None:
        """The model refuses the request for a session at this position of `asked`."""
        error = {"type": "invalid_request_error", "code": code, "message": "No.", "param": param}
        error = {**error, "event_id": self.asked[at]["event_id"], **changes}
        event = self.codec.decode(orjson.dumps({"type": "error", "event_id": "e", "error": error}))
        settings = self.codec.settings
        if settings.retry is not None:
            self.asked.append(orjson.loads(settings.retry))
            settings.retry = None
        return event

    def agrees(self) -> ModelEvent | None:
        return self.codec.decode(AGREED)

    @property
    def tools(self) -> list[str]:
        """The tools of the session that was asked for last."""
        return [one["name"] for one in self.asked[-1]["session"]["tools"]]


@pytest.mark.parametrize(
    "param",
    [
        "session.tools[1].parameters",
        "session.tools[1]",
        "tools[1].parameters.properties.people",
        "session.tools.1.parameters",
        "session.tools[1].function.parameters",
        "session.tools['bad'].parameters",
        "session.tools.bad",
    ],
)
def test_a_session_that_is_refused_because_of_a_tool_is_asked_for_without_it(
    param: str, caplog: pytest.LogCaptureFixture
) -> None:
    service = Service()
    service.ask(tool("good"), tool("bad"), tool("fine"))
    with caplog.at_level(logging.WARNING):
        refused = service.refuses(param)
    assert isinstance(refused, ModelRefused)  # the call logs, records and counts it
    assert refused.problem == ModelProblem("invalid_function_parameters", "invalid_request_error")
    assert (service.tools, len(service.asked)) == (["good", "fine"], 2)
    assert service.agrees() == ModelReady()
    (line,) = [record for record in caplog.records if hasattr(record, "tool")]
    assert (line.tool, line.__dict__["code"]) == ("bad", "invalid_function_parameters")


def test_a_refusal_without_an_event_id_is_recognised_by_its_field() -> None:
    for param in ("session.tools[0].parameters", "tools[0]"):
        service = Service()
        service.ask(tool("bad"), tool("good"))
        event = service.refuses(param, event_id=None)
        assert isinstance(event, ModelRefused)
        assert (event.event_id or "").startswith("pb_")  # the client is not told of it
        assert service.tools == ["good"]


def test_after_several_refused_tools_the_leg_ends() -> None:
    service = Service()
    service.ask(*(tool(f"bad_{number}") for number in range(20)))
    for number in range(MAX_RETRIES):
        assert isinstance(service.refuses("session.tools[0].parameters"), ModelRefused)
        assert service.tools[0] == f"bad_{number + 1}"
    lost = service.refuses("session.tools[0].parameters")
    problem = ModelProblem("invalid_function_parameters", "invalid_request_error")
    reason = "the model refused the session: invalid_function_parameters"
    assert lost == ModelLost(reason, False, problem, LegError.REFUSED)
    assert len(service.asked) == 1 + MAX_RETRIES


@pytest.mark.parametrize(
    "param", [None, "session", "session.tools", "session.tools[7].parameters", "session.voice", "toolsx[0]"]
)
def test_a_refusal_that_names_no_tool_of_the_session_ends_the_leg(param: str | None) -> None:
    service = Service()
    service.ask(tool("good"))
    assert isinstance(service.refuses(param), ModelLost)


def test_a_later_change_with_a_bad_tool_is_asked_for_without_it_too() -> None:
    service = Service()
    service.ask(tool("good"))
    assert service.agrees() == ModelReady()
    service.ask(tool("good"), tool("clients"))
    assert isinstance(service.refuses("session.tools[1].parameters"), ModelRefused)
    assert service.tools == ["good"]
    service.agrees()
    service.ask(tool("good"), tool("clients"), tool("more"))
    assert service.tools == ["good", "more"]
    service.ask(tool("good"), tool("clients", properties={}))  # the client has corrected its tool
    assert service.tools == ["good", "clients"]


def test_a_refused_change_is_not_asked_for_again_while_a_later_one_is_open() -> None:
    service = Service()
    service.ask(tool("good"))
    service.agrees()
    service.ask(tool("bad"), tool("good"))
    service.ask(tool("bad"), tool("good"), tool("new"))
    assert isinstance(service.refuses("session.tools[0].parameters", at=1), ModelRefused)
    assert len(service.asked) == 3
    service.refuses("session.tools[0].parameters", at=2)
    assert (len(service.asked), service.tools) == (4, ["good", "new"])


def test_the_refusal_of_a_change_is_recognised_after_the_one_before_it_was_confirmed() -> None:
    service = Service()
    service.ask(tool("good"))
    service.ask(tool("good"), tool("bad"))
    assert service.agrees() == ModelReady()
    assert isinstance(service.refuses("session.tools[1].parameters"), ModelRefused)
    assert service.tools == ["good"]


@pytest.mark.parametrize(
    ("choice", "left"),
    [({"type": "function", "name": "bad"}, "auto"), ("required", "auto"), ("none", "none"), ("auto", "auto")],
)
def test_a_tool_choice_that_needs_the_refused_tool_is_removed_with_it(choice: Any, left: str) -> None:
    less = without_tools({"tools": [tool("bad")], "tool_choice": choice}, [tool("bad")])
    assert less == {"tools": [], "tool_choice": left}


def test_a_session_without_tools_has_no_refused_tool() -> None:
    for session in ({}, {"tools": None}, {"tools": "x"}, {"tools": ["x", None]}):
        assert refused_tool(session, "session.tools[0]") is None
        assert without_tools(session, [tool("bad")]) == session
