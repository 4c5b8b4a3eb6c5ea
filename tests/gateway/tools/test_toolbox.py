"""The tools of one call: names, grants, deadlines, and a model's mistakes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from gateway.clock import SystemClock
from gateway.tools.contract import ToolContext, ToolResult
from gateway.tools.functions import BUILT_IN, FunctionTool
from gateway.tools.toolbox import Toolbox
from sessions.agent import ToolGrant, ToolRule
from sessions.errors import ToolFailed
from sessions.ports import JsonObject
from sessions.setup import ToolSpec

CONTEXT = ToolContext("sess_1", "front-desk", {}, SystemClock())


class Servers:
    """Two servers that answer with what they were asked; the `down` ones are not connected."""

    def __init__(self, tools: Mapping[str, tuple[str, ...]], down: frozenset[str] = frozenset()) -> None:
        self._tools = tools
        self._down = down
        self.calls: list[tuple[str, str, JsonObject, int]] = []

    def tools(self, server: str) -> tuple[ToolSpec, ...]:
        return tuple(ToolSpec(name, f"{name} of {server}", {}) for name in self._tools.get(server, ()))

    def problem(self, server: str) -> str | None:
        return "refused" if server in self._down else None

    async def call(self, server: str, tool: str, arguments: JsonObject, deadline_ms: int) -> ToolResult:
        self.calls.append((server, tool, arguments, deadline_ms))
        return ToolResult(f"{server} did {tool}", None, None)


async def wait_for_ever(arguments: JsonObject, context: ToolContext) -> ToolResult:
    await asyncio.Event().wait()
    raise AssertionError


async def long_words(arguments: JsonObject, context: ToolContext) -> ToolResult:
    return ToolResult("x" * 100_000, None, None)


FUNCTIONS = {one.name: one for one in BUILT_IN} | {
    "wait": FunctionTool("wait", "Wait.", {"type": "object", "properties": {}}, wait_for_ever),
    "long": FunctionTool("long", "Talk.", {"type": "object", "properties": {}}, long_words),
}


def everything(server: str, deadline_ms: int = 10_000) -> ToolGrant:
    return ToolGrant(server, None, None, deadline_ms)


def function(name: str, deadline_ms: int = 10_000) -> ToolGrant:
    return ToolGrant(None, name, None, deadline_ms)


def run(box: Toolbox, name: str, arguments: str = "{}") -> ToolResult:
    async def main() -> ToolResult:
        async with asyncio.timeout(5):
            return await box.run(name, arguments, context=CONTEXT)

    return asyncio.run(main())


def refusal(box: Toolbox, name: str, arguments: str = "{}") -> ToolFailed:
    with pytest.raises(ToolFailed) as failed:
        run(box, name, arguments)
    return failed.value


def test_grants_become_the_models_tools_in_their_order() -> None:
    servers = Servers({"book": ("find", "take"), "crm": ("look",)})
    only = ToolGrant("book", None, (ToolRule("book", "take", 8000, True),))
    box = Toolbox([only, function("hang_up"), everything("crm", 3000)], servers, FUNCTIONS)
    assert [spec.name for spec in box.specs] == ["take", "hang_up", "look"]
    assert box.specs[0] == ToolSpec("take", "take of book", {"type": "object", "properties": {}})
    assert box.rule("take") == ToolRule("book", "take", 8000, True)
    assert box.rule("look") == ToolRule("crm", "look", 3000)
    assert box.rule("find") is None
    assert box.problems == ()
    assert run(box, "take", '{"a": 1}').text == "book did take"
    assert run(box, "look", " ").text == "crm did look"
    assert servers.calls == [("book", "take", {"a": 1}, 8000), ("crm", "look", {}, 3000)]


def test_a_name_that_two_servers_share_gets_their_labels() -> None:
    servers = Servers({"book": ("find", "current_time"), "crm": ("find",)})
    box = Toolbox([everything("book"), everything("crm"), function("current_time")], servers, FUNCTIONS)
    assert [spec.name for spec in box.specs] == ["book__find", "book__current_time", "crm__find", "current_time"]
    assert run(box, "crm__find").text == "crm did find"
    assert box.rule("current_time") == ToolRule(None, "current_time")


def test_a_tool_granted_twice_is_one_tool() -> None:
    servers = Servers({"book": ("find",)})
    only = ToolGrant("book", None, (ToolRule("book", "find", 5000),))
    box = Toolbox([only, everything("book")], servers, FUNCTIONS)
    assert [spec.name for spec in box.specs] == ["find"]
    assert box.rule("find") == ToolRule("book", "find", 5000)


def test_names_that_models_refuse_are_replaced() -> None:
    long = "x" * 70
    servers = Servers({"book": ("find.table", "find/table", long)})
    box = Toolbox([everything("book")], servers, FUNCTIONS)
    names = [spec.name for spec in box.specs]
    assert len(set(names)) == 3
    assert all(len(name) <= 64 and name.replace("_", "").isalnum() for name in names)
    for name in names:
        run(box, name)
    assert [call[1] for call in servers.calls] == ["find.table", "find/table", long]


def test_a_missing_tool_is_a_problem_and_not_a_failure() -> None:
    servers = Servers({"book": ("find",), "crm": ("look",)}, down=frozenset({"crm", "gone"}))
    grants = [
        ToolGrant("book", None, (ToolRule("book", "find"), ToolRule("book", "fly"))),
        everything("crm"),
        ToolGrant("gone", None, (ToolRule("gone", "look"),)),
        function("dance"),
    ]
    box = Toolbox(grants, servers, FUNCTIONS)
    assert [spec.name for spec in box.specs] == ["find", "look"]
    assert box.problems == (
        "tool server book has no tool fly",
        "tool server crm is not connected, the call has its last known tools: refused",
        "tool server gone is not connected, the call has none of its tools: refused",
        "there is no function tool dance",
    )


def test_a_tool_of_a_server_that_never_connected_cannot_be_reached() -> None:
    box = Toolbox([everything("gone")], Servers({}, down=frozenset({"gone"})), FUNCTIONS)
    refused = refusal(box, "book_table")
    assert (refused.kind, "book_table" in refused.message) == (
        "http_error",
        False,
    )  # the message may be spoken to the caller


def test_a_tool_that_was_not_granted_is_unknown() -> None:
    box = Toolbox([function("hang_up")], Servers({"book": ("find",)}), FUNCTIONS)
    assert refusal(box, "find").kind == "unknown_tool"
    assert run(box, "hang_up").then == "hang_up"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ("{", "not valid JSON"),
        ("[1]", "must be a JSON object"),
        ('{"a": NaN}', "not valid JSON"),
        ("[" * 10_000, "not valid JSON"),
        ('"\ud800"', "not valid JSON"),
        ('{"a": "' + "x" * 20_000 + '"}', "at most 16384 are accepted"),
    ],
)
def test_unreadable_arguments_are_refused_in_words(arguments: str, why: str) -> None:
    servers = Servers({"book": ("find",)})
    box = Toolbox([everything("book")], servers, FUNCTIONS)
    assert why in refusal(box, "find", arguments).message
    assert servers.calls == []


def test_a_function_that_takes_too_long_is_abandoned() -> None:
    box = Toolbox([function("wait", 10)], Servers({}), FUNCTIONS)
    assert refusal(box, "wait").kind == "timeout"


def test_a_function_with_its_own_rule_follows_it() -> None:
    grant = ToolGrant(None, "wait", (ToolRule(None, "wait", 10, True),))
    box = Toolbox([grant], Servers({}), FUNCTIONS)
    rule = box.rule("wait")
    assert rule is not None
    assert rule.stop_on_barge_in
    assert refusal(box, "wait").kind == "timeout"


def test_a_long_result_of_a_function_is_cut() -> None:
    box = Toolbox([function("long")], Servers({}), FUNCTIONS, max_result_bytes=100)
    assert run(box, "long").text.startswith("x" * 100 + "\n[Cut:")


def test_a_cancelled_run_ends_at_once() -> None:
    box = Toolbox([function("wait")], Servers({}), FUNCTIONS)

    async def main() -> Any:
        async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
            task = tasks.create_task(box.run("wait", "{}", context=CONTEXT))
            await asyncio.wait({task}, timeout=0.001)
            task.cancel()
            await asyncio.wait({task})
            return task.cancelled()

    assert asyncio.run(main())
