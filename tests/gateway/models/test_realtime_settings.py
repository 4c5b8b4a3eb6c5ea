"""gateway/models/realtime_settings.py and realtime_tools.py: a session that is refused because of one tool."""

from __future__ import annotations

import logging
from typing import Any

import orjson
import pytest

from audio.formats import PCM16_24K
from gateway.ids import CountingIds
from gateway.models.realtime_codec import RealtimeModelCodec
from gateway.models.realtime_settings import MAX_RETRIES
from gateway.models.realtime_tools import refused_tool, without_tools
from sessions.commands import Configure
from sessions.events import ModelEvent, ModelLost, ModelReady, ModelRefused
from sessions.problems import ModelProblem
from sessions.setup import ModelSetup

AGREED = b'{"type":"session.updated","event_id":"e","session":{}}'


def tool(name: str, **parameters: Any) -> dict[str, Any]:
    return {"type": "function", "name": name, "description": "", "parameters": {"type": "object", **parameters}}


class Service:
    """A model that looks at what it is asked."""

    def __init__(self) -> None:
        self.codec = RealtimeModelCodec(CountingIds(), speaks_given_text=False)
        self.asked: list[dict[str, Any]] = []

    def ask(self, *tools: dict[str, Any], **session: Any) -> None:
        """The gateway wants this session."""
        wanted = {"type": "realtime", "tools": list(tools), **session}
        setup = ModelSetup(wanted, PCM16_24K, PCM16_24K, False, True, True, None)
        self.asked += [orjson.loads(text) for text in self.codec.encode(Configure(setup))]

    def refuses(
        self, param: str | None, at: int = -1, code: str = "invalid_function_parameters", **changes: Any
    ) -> ModelEvent | None:
        """The model refuses what it was asked in this message."""
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
def test_a_session_that_is_refused_because_of_a_tool_is_asked_without_it(
    param: str, caplog: pytest.LogCaptureFixture
) -> None:
    service = Service()
    service.ask(tool("good"), tool("bad"), tool("fine"))
    with caplog.at_level(logging.WARNING):
        refused = service.refuses(param)
    assert isinstance(refused, ModelRefused)  # for log, record and figures
    assert refused.problem == ModelProblem("invalid_function_parameters", "invalid_request_error")
    assert (service.tools, len(service.asked)) == (["good", "fine"], 2)
    assert service.agrees() == ModelReady()
    (line,) = [record for record in caplog.records if hasattr(record, "tool")]
    assert (line.tool, line.__dict__["code"]) == ("bad", "invalid_function_parameters")


def test_a_refusal_that_names_no_event_is_known_by_the_field() -> None:
    for param in ("session.tools[0].parameters", "tools[0]"):
        service = Service()
        service.ask(tool("bad"), tool("good"))
        event = service.refuses(param, event_id=None)
        assert isinstance(event, ModelRefused)
        assert (event.event_id or "").startswith("pb_")  # no affair of the client's
        assert service.tools == ["good"]


def test_what_is_refused_a_second_time_is_another_tool_and_the_end_comes_soon() -> None:
    service = Service()
    service.ask(*(tool(f"bad_{number}") for number in range(20)))
    for number in range(MAX_RETRIES):
        assert isinstance(service.refuses("session.tools[0].parameters"), ModelRefused)
        assert service.tools[0] == f"bad_{number + 1}"
    lost = service.refuses("session.tools[0].parameters")
    problem = ModelProblem("invalid_function_parameters", "invalid_request_error")
    assert lost == ModelLost("the model refused the session: invalid_function_parameters", False, problem)
    assert len(service.asked) == 1 + MAX_RETRIES


@pytest.mark.parametrize(
    "param", [None, "session", "session.tools", "session.tools[7].parameters", "session.voice", "toolsx[0]"]
)
def test_a_refusal_that_names_no_tool_of_the_session_ends_the_leg(param: str | None) -> None:
    service = Service()
    service.ask(tool("good"))
    assert isinstance(service.refuses(param), ModelLost)


def test_a_later_change_with_a_bad_tool_is_asked_without_it_too() -> None:
    service = Service()
    service.ask(tool("good"))
    assert service.agrees() == ModelReady()
    service.ask(tool("good"), tool("clients"))
    assert isinstance(service.refuses("session.tools[1].parameters"), ModelRefused)
    assert service.tools == ["good"]
    service.agrees()
    service.ask(tool("good"), tool("clients"), tool("more"))
    assert service.tools == ["good", "more"]
    service.ask(tool("good"), tool("clients", properties={}))  # mended by its client
    assert service.tools == ["good", "clients"]


def test_a_change_that_is_refused_while_a_later_one_is_under_way_is_not_made_again() -> None:
    service = Service()
    service.ask(tool("good"))
    service.agrees()
    service.ask(tool("bad"), tool("good"))
    service.ask(tool("bad"), tool("good"), tool("new"))
    assert isinstance(service.refuses("session.tools[0].parameters", at=1), ModelRefused)
    assert len(service.asked) == 3
    service.refuses("session.tools[0].parameters", at=2)
    assert (len(service.asked), service.tools) == (4, ["good", "new"])


def test_the_refusal_of_a_change_is_known_though_the_one_before_it_was_agreed_to() -> None:
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
def test_a_choice_that_needs_the_refused_tool_goes_with_it(choice: Any, left: str) -> None:
    less = without_tools({"tools": [tool("bad")], "tool_choice": choice}, [tool("bad")])
    assert less == {"tools": [], "tool_choice": left}


def test_a_session_without_tools_has_none_that_could_be_refused() -> None:
    for session in ({}, {"tools": None}, {"tools": "x"}, {"tools": ["x", None]}):
        assert refused_tool(session, "session.tools[0]") is None
        assert without_tools(session, [tool("bad")]) == session
