"""gateway/models/local/requested_calls.py and arguments.py: parallel tool calls are separated, however numbered"""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.models.local.answer_fault import AnswerFault
from gateway.models.local.requested_calls import MOST_ARGUMENT_CHARS, MOST_CALLS, RequestedCalls

TOOLS = ("lookup", "book")


def part(name: str | None = None, arguments: Any = None, **fields: Any) -> dict[str, Any]:
    """One entry of `tool_calls`."""
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    return {**fields, "function": function}


def requested(*deltas: Any, cut: bool = False) -> list[tuple[str, str]]:
    """Names and arguments after these deltas' `tool_calls`."""
    calls = RequestedCalls(TOOLS)
    for entries in deltas:
        calls.take(entries)
    return [(call.tool, call.arguments) for call in calls.requested(cut=cut)]


A, B = ("lookup", '{"a": 1}'), ("book", '{"b": 2}')
NUMBERINGS: list[list[Any]] = [
    # as OpenAI sends them
    [
        [part("lookup", "", index=0, id="x")],
        [part(None, '{"a"', index=0)],
        [part(None, ": 1}", index=0)],
        [part("book", '{"b": 2}', index=1, id="y")],
    ],
    # the index 0 for all, with ids
    [[part("lookup", '{"a": 1}', index=0, id="x")], [part("book", '{"b": 2}', index=0, id="y")]],
    [[part("lookup", '{"a": 1}', index=0, id="x"), part("book", '{"b": 2}', index=0, id="y")]],
    [
        [part("lookup", '{"a"', index=0, id="x"), part("book", '{"b"', index=0, id="y")],
        [part(None, ": 1}", index=0, id="x"), part(None, ": 2}", index=0, id="y")],
    ],
    # the index 0 for all, without ids
    [[part("lookup", '{"a": 1}', index=0)], [part("book", '{"b": 2}', index=0)]],
    [[part("lookup", "", index=0)], [part(None, '{"a": 1}', index=0)], [part("book", '{"b": 2}', index=0)]],
    [[part("lookup", '{"a": 1}', index=0), part("book", '{"b": 2}', index=0)]],
    # null, no index, or an index that is not a number
    [[part("lookup", '{"a": 1}', index=None, id="x")], [part("book", '{"b": 2}', index=None, id="y")]],
    [[part("lookup", '{"a": 1}')], [part("book", '{"b"')], [part(None, ": 2}")]],
    [[part("lookup", '{"a": 1}'), part("book", '{"b": 2}')]],
    [[part("lookup", '{"a": 1}', index="0"), part("book", '{"b": 2}', index="1")]],
    [[part("lookup", '{"a": 1}', index=[]), part("book", '{"b": 2}', index={})]],
    # the same id for all
    [[part("lookup", '{"a": 1}', index=0, id="z")], [part("book", '{"b": 2}', index=0, id="z")]],
    [[part("lookup", '{"a": 1}', id="")], [part("book", '{"b": 2}', id="")]],
    # a different id for each part
    [
        [part("lookup", '{"a"', index=0, id="p")],
        [part(None, ": 1}", index=0, id="q")],
        [part("book", '{"b": 2}', index=1, id="r")],
    ],
    # the name in parts, and the name repeated in each part
    [
        [part("look", None, index=0, id="x")],
        [part("up", '{"a": 1}', index=0)],
        [part("book", '{"b": 2}', index=1, id="y")],
    ],
    [
        [part("lookup", '{"a"', index=0)],
        [part("lookup", ": 1}", index=0)],
        [part("book", '{"b": 2}', index=1)],
    ],
    # arguments as objects, one of which grows
    [[part("lookup", {"a": 1}, index=0, id="x"), part("book", {"b": 2}, index=0, id="y")]],
    [[part("lookup", {"a": 0}, id="x")], [part(None, {"a": 1}, id="x")], [part("book", {"b": 2}, id="y")]],
    # the same call twice
    [[part("lookup", '{"a": 1}', id="x")], [part("lookup", '{"a": 1}', id="x")], [part("book", '{"b": 2}', id="y")]],
    # with null entries, or as one object
    [[None, part("lookup", '{"a": 1}', index=0), None], None, part("book", '{"b": 2}', index=1)],
    [
        [{"index": 2, "name": "lookup", "arguments": '{"a": 1}'}],
        [{"index": 5, "name": "book", "arguments": '{"b": 2}'}],
    ],
]


@pytest.mark.parametrize("deltas", NUMBERINGS)
def test_two_calls_are_separated(deltas: list[Any]) -> None:
    assert requested(*deltas) == [A, B]


def test_two_calls_of_one_tool_are_separated() -> None:
    for fields in ({"index": 0}, {}, {"index": None}):
        one, two = part("lookup", '{"a": 1}', **fields), part("lookup", '{"a": 2}', **fields)
        assert requested([one], [two]) == requested([one, two]) == [A, ("lookup", '{"a": 2}')]


def test_a_call_without_a_name_is_ignored_and_without_arguments_has_an_empty_object() -> None:
    assert requested([part(None, '{"a": 1}', index=0)]) == []
    assert requested([{"index": 0}], [{"index": 0, "function": None}]) == []
    assert requested([part("lookup", None, index=0)]) == [("lookup", "{}")]
    assert requested([part("lookup", " ", index=0)]) == [("lookup", "{}")]


def test_an_incomplete_call_of_an_answer_that_broke_off_is_left_out() -> None:
    deltas = [[part("lookup", '{"a": 1}', index=0)], [part("book", '{"b": ', index=1)]]
    assert requested(*deltas, cut=True) == [A]
    assert requested(*deltas) == [A, ("book", '{"b": ')]


@pytest.mark.parametrize("arguments", ['{"a": "\\ud83d"}', '{"a": "\ud83d"}', {"a": "\ud83d"}])
def test_half_an_emoji_in_arguments_is_replaced(arguments: Any) -> None:
    ((_, text),) = requested([part("lookup", arguments, index=0)])
    assert json.loads(text) == {"a": "\ufffd"}
    text.encode()
    assert requested([part("look\ud83d", '{"a": 1}')]) == [("look\ufffd", '{"a": 1}')]


def test_an_emoji_whose_halves_arrive_apart_is_whole() -> None:
    assert requested([part("lookup", '{"a": "\ud83d')], [part(None, '\ude00"}')]) == [("lookup", '{"a": "\U0001f600"}')]


@pytest.mark.parametrize(
    "entries",
    [
        "words",
        7,
        True,
        [7],
        ["words"],
        [[]],
        [{"function": []}],
        [{"function": "lookup"}],
        [part("lookup", [1])],
        [part("lookup", 7)],
        [{"function": {"name": 7}}],
        [{"function": {"name": {}}}],
        [part("lookup", "x" * (MOST_ARGUMENT_CHARS + 1))],
        [part("lookup", "{}", id=str(number)) for number in range(MOST_CALLS + 1)],
    ],
)
def test_anything_else_is_a_fault(entries: Any) -> None:
    with pytest.raises(AnswerFault):
        requested(entries)
