"""When the caller may speak: nothing under way, and quiet for a while."""

from __future__ import annotations

import pytest

from gateway.phone.floor import Floor
from gateway.phone.playback import Playback

SECOND = b"\x01\x00" * 24_000
MESSAGE = {"type": "message"}
TOOL = {"type": "mcp_call"}


def test_an_agent_that_does_not_greet_is_waited_for_a_second_and_a_half() -> None:
    floor = Floor(Playback())
    assert not floor.greeted(1500)
    assert floor.greeted(1501)


def test_a_greeting_is_over_when_it_has_sounded() -> None:
    playback = Playback()
    floor = Floor(playback)
    floor.response_begins("r")
    assert not floor.greeted(2000)
    playback.take("a", SECOND, now_ms=2000)
    floor.response_over({"id": "r", "output": [MESSAGE]}, 2100)
    assert not floor.greeted(3399)
    assert floor.greeted(3400)


@pytest.mark.parametrize(("output", "answers"), [([MESSAGE], 1), ([], 1), (None, 1), ([TOOL], 0), ([TOOL, MESSAGE], 1)])
def test_a_response_that_only_called_tools_is_no_answer(output: list[dict[str, str]] | None, answers: int) -> None:
    floor = Floor(Playback())
    floor.response_begins("r")
    floor.response_over({"id": "r", "output": output}, 0)
    assert floor.answers == answers
    assert floor.finished(0, 400) == bool(answers)


def test_a_tool_that_runs_keeps_the_caller_waiting() -> None:
    floor = Floor(Playback())
    floor.response_over({"id": "r", "output": [MESSAGE]}, 0)
    floor.tool_begins("t")
    assert not floor.finished(0, 5000)
    floor.tool_over("t", 5000)
    assert not floor.finished(0, 5399)
    assert floor.finished(0, 5400)


def test_a_caller_who_was_heard_waits_for_the_answer() -> None:
    floor = Floor(Playback())
    floor.response_over({"id": "r", "output": [MESSAGE]}, 0)
    floor.caller_heard()
    assert not floor.finished(0, 5000)
    floor.response_begins("s")
    assert not floor.finished(0, 5000)
    floor.response_over({"id": "s", "output": [MESSAGE]}, 5000)
    assert floor.finished(1, 5400)
    assert not floor.finished(2, 9000)
