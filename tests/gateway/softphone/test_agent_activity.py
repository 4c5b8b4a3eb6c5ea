"""When the caller may speak: the agent is doing nothing, and it has been quiet for a while."""

from __future__ import annotations

import pytest

from gateway.softphone.agent_activity import AgentActivity
from gateway.softphone.playback import Playback

SECOND = b"\x01\x00" * 24_000
MESSAGE = {"type": "message"}
TOOL = {"type": "mcp_call"}


def test_a_greeting_is_awaited_for_a_second_and_a_half() -> None:
    activity = AgentActivity(Playback())
    assert not activity.greeted(1500)
    assert activity.greeted(1501)


def test_a_greeting_is_over_when_it_has_been_played() -> None:
    playback = Playback()
    activity = AgentActivity(playback)
    activity.response_begins("r")
    assert not activity.greeted(2000)
    playback.take("a", SECOND, now_ms=2000)
    activity.response_ended({"id": "r", "output": [MESSAGE]}, 2100)
    assert not activity.greeted(3399)
    assert activity.greeted(3400)


@pytest.mark.parametrize(("output", "answers"), [([MESSAGE], 1), ([], 1), (None, 1), ([TOOL], 0), ([TOOL, MESSAGE], 1)])
def test_a_response_that_only_called_tools_is_not_an_answer(output: list[dict[str, str]] | None, answers: int) -> None:
    activity = AgentActivity(Playback())
    activity.response_begins("r")
    activity.response_ended({"id": "r", "output": output}, 0)
    assert activity.answers == answers
    assert activity.finished(0, 400) == bool(answers)


def test_a_tool_that_runs_keeps_the_caller_waiting() -> None:
    activity = AgentActivity(Playback())
    activity.response_ended({"id": "r", "output": [MESSAGE]}, 0)
    activity.tool_begins("t")
    assert not activity.finished(0, 5000)
    activity.tool_ended("t", 5000)
    assert not activity.finished(0, 5399)
    assert activity.finished(0, 5400)


def test_a_caller_whose_speech_was_detected_waits_for_the_answer() -> None:
    activity = AgentActivity(Playback())
    activity.response_ended({"id": "r", "output": [MESSAGE]}, 0)
    activity.caller_heard()
    assert not activity.finished(0, 5000)
    activity.response_begins("s")
    assert not activity.finished(0, 5000)
    activity.response_ended({"id": "s", "output": [MESSAGE]}, 5000)
    assert activity.finished(1, 5400)
    assert not activity.finished(2, 9000)
