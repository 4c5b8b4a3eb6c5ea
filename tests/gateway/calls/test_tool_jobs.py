"""Tools beside one call's sound: each result is delivered once, and what our own code raises behind it is not lost."""

from __future__ import annotations

import pytest
from support.calls.call_rig import later
from support.virtual import run

from gateway.calls.tool_jobs import ToolJobs
from gateway.clock import SystemClock
from gateway.guard import ForeignTasks
from gateway.telemetry.spans.headers import TraceHeaders
from gateway.telemetry.spans.ids import traceparent
from gateway.telemetry.spans.policy import Shape
from gateway.tools.contract import ToolContext, ToolResult
from gateway.tools.functions import FunctionTool
from gateway.tools.toolbox import Toolbox
from sessions.agent import ToolGrant
from sessions.caller_facts import UNKNOWN_CALLER
from sessions.commands import RunTool
from sessions.errors import ToolFailed
from sessions.events import ToolFinished
from sessions.ports import JsonObject

CONTEXT = ToolContext("sess_1", "desk", UNKNOWN_CALLER, SystemClock())


class NoServers:
    """No MCP server at all."""

    def tools(self, server: str) -> tuple[()]:
        return ()

    def problem(self, server: str) -> str | None:
        return "there is none"

    async def call(self, server: str, tool: str, arguments: JsonObject, deadline_ms: int) -> ToolResult:
        raise ToolFailed("there is none")


async def finished(result: ToolResult | ToolFailed) -> ToolFinished:
    """What the call is told of a tool that returns or raises this."""
    told: list[ToolFinished] = []
    jobs = ForeignTasks()

    async def give(arguments: JsonObject, context: ToolContext) -> ToolResult:
        if isinstance(result, ToolFailed):
            raise result
        return result

    toolbox = Toolbox(
        [ToolGrant(None, "give", None, 1000)], NoServers(), {"give": FunctionTool("give", "Give.", {}, give)}
    )
    tools = ToolJobs(toolbox, CONTEXT, told.append, told.append)  # type: ignore[arg-type]
    tools.start(RunTool("call_1", "give", "{}", 0), jobs)
    while len(jobs):
        await later(0)
    (one,) = told
    return one


def test_a_result_is_delivered() -> None:
    assert run(finished(ToolResult("words", None, "hang_up"))) == ToolFinished("call_1", "words", None, hang_up=True)


def test_a_tool_is_told_the_header_that_continues_the_trace_of_its_call() -> None:
    headers: list[str | None] = []
    jobs = ForeignTasks()

    async def note(arguments: JsonObject, context: ToolContext) -> ToolResult:
        headers.append(context.traceparent)
        return ToolResult("noted")

    async def main(shape: Shape, ratio: float) -> None:
        grants = [ToolGrant(None, "note", None, 1000)]
        toolbox = Toolbox(grants, NoServers(), {"note": FunctionTool("note", "Note.", {}, note)})
        tools = ToolJobs(toolbox, CONTEXT, lambda event: None, lambda fault: None, TraceHeaders(shape, ratio))
        tools.start(RunTool("call_7", "note", "{}", 3), jobs)
        while len(jobs):
            await later(0)

    for shape, ratio in ((Shape.TURN, 1.0), (Shape.CALL, 1.0), (Shape.TURN, 0.0)):
        run(main(shape, ratio))
    turn, call = (traceparent("sess_1", 3, "call_7", shape) for shape in (Shape.TURN, Shape.CALL))
    assert headers == [turn, call, f"{turn[:-2]}00"]


def test_words_with_half_an_emoji_can_be_told() -> None:
    assert run(finished(ToolFailed("Hi \ud83d!"))).output == '{"error":"Hi \ufffd!"}'


@pytest.mark.parametrize("raised", [SystemExit, TypeError])
def test_what_our_own_code_raises_behind_a_tool_is_the_calls_fault(raised: type[BaseException]) -> None:
    faults: list[BaseException] = []

    def broken(event: ToolFinished) -> None:
        raise raised

    async def main() -> None:
        jobs = ForeignTasks()
        ToolJobs(Toolbox([], NoServers(), {}), CONTEXT, broken, faults.append).start(
            RunTool("call_1", "none", "{}", 0), jobs
        )
        while len(jobs):
            await later(0)

    run(main())
    assert [type(fault) for fault in faults] == [raised]
