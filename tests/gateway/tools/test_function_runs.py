"""A function that does not return is lost to its own agent only, and this is logged."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from support.calls.call_rig import later
from support.virtual import run

from gateway.tools import function_runs
from gateway.tools.function_runs import GRACE_S, MAX_OF_AGENT, MAX_OF_FUNCTION, MAX_OVERDUE, FunctionRuns, Stuck
from sessions.errors import ToolFailed


async def stubborn() -> None:
    """Never ends, even when it is cancelled."""
    while True:
        with suppress(asyncio.CancelledError):
            await later(3600)


async def give_up(runs: FunctionRuns, agent: str, name: str, function: Callable[..., Any]) -> None:
    """Call the function and stop waiting at its deadline."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await runs.run(agent, name, function, {})


def test_a_function_that_does_not_return_is_refused_for_its_agent_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    release = asyncio.Event()

    async def hangs() -> str:
        while not release.is_set():
            with suppress(asyncio.CancelledError):
                await release.wait()
        return "late"

    async def fine() -> str:
        return "here"

    async def main() -> None:
        runs = FunctionRuns()
        for _ in range(MAX_OVERDUE):
            await give_up(runs, "desk", "hangs", hangs)
        await later(GRACE_S + 0.1)
        assert runs.stuck() == [Stuck("desk", "hangs", MAX_OVERDUE)]
        with pytest.raises(ToolFailed, match="does not work at the moment"):
            await runs.run("desk", "hangs", hangs, {})
        assert await runs.run("desk", "fine", fine, {}) == "here"
        await give_up(runs, "kitchen", "hangs", hangs)  # the same function still runs for another agent
        release.set()
        await later(0.1)
        assert runs.stuck() == []
        assert await runs.run("desk", "hangs", hangs, {}) == "late"

    with caplog.at_level(logging.INFO, function_runs.__name__):
        run(main())
    told = [(line.levelname, line.__dict__["agent"], line.__dict__["tool"]) for line in caplog.records]
    assert told == [("ERROR", "desk", "hangs"), ("INFO", "desk", "hangs")]


def test_functions_that_stop_when_cancelled_are_never_overdue(caplog: pytest.LogCaptureFixture) -> None:
    async def slow() -> None:
        await later(3600)

    async def main() -> None:
        runs = FunctionRuns()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(3 * MAX_OVERDUE):
                tasks.create_task(give_up(runs, "desk", "slow", slow))
        assert runs.stuck() == []
        await later(GRACE_S + 0.1)
        assert runs.stuck() == []

    run(main())
    assert caplog.records == []


def test_plain_functions_have_a_bound_by_function_and_by_agent() -> None:
    release = threading.Event()

    def wait() -> str:
        release.wait(10)
        return "went on"

    async def main() -> None:
        runs = FunctionRuns()
        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
            waiting = [tasks.create_task(runs.run("desk", "wait", wait, {})) for _ in range(MAX_OF_FUNCTION)]
            await asyncio.wait(waiting, timeout=0.01)
            with pytest.raises(ToolFailed, match="Too many"):
                await runs.run("desk", "wait", wait, {})
            waiting += [tasks.create_task(runs.run("desk", "other", wait, {})) for _ in range(MAX_OF_FUNCTION)]
            await asyncio.wait(waiting, timeout=0.01)
            assert len(waiting) == MAX_OF_AGENT
            with pytest.raises(ToolFailed, match="Too many"):
                await runs.run("desk", "third", str, {})
            assert await runs.run("kitchen", "wait", str, {}) == ""  # another agent is not affected
            release.set()
            assert {await one for one in waiting} == {"went on"}
        assert await runs.run("desk", "wait", wait, {}) == "went on"

    asyncio.run(main())


def test_a_plain_function_that_returns_a_coroutine_is_awaited() -> None:
    async def inner() -> str:
        return "awaited"

    async def main() -> None:
        runs = FunctionRuns()
        assert await runs.run("desk", "decorated", lambda: inner(), {}) == "awaited"

    asyncio.run(main())


def test_closing_cancels_tasks_and_waits_no_longer_than_its_limit() -> None:
    async def main() -> None:
        runs = FunctionRuns()
        await give_up(runs, "desk", "stubborn", stubborn)
        assert await runs.close(0.1) == 1
        # This loop could not close while these tasks run.
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.get_coro().throw(GeneratorExit)  # type: ignore[union-attr]

    with suppress(RuntimeError, GeneratorExit):
        run(main())
