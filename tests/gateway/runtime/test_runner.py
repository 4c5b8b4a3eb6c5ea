"""Tests for gateway/runtime/runner.py and own_tasks.py: foreign code cannot end the main coroutine."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import Callable

import pytest
import uvloop
from support.calls.call_rig import later
from support.virtual import VirtualLoop

from gateway.runtime.runner import run_to_end
from gateway.tools.function_runs import FunctionRuns

LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [VirtualLoop, uvloop.new_event_loop]


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("raised", [SystemExit, KeyboardInterrupt])
def test_an_exit_in_a_foreign_task_or_callback_does_not_end_the_main_coroutine(
    loop: Callable[[], asyncio.AbstractEventLoop], raised: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    async def bad() -> None:
        raise raised

    def worse() -> None:
        raise raised

    async def main() -> int:
        task = asyncio.Task(bad())
        await later(0.01)
        asyncio.get_running_loop().call_soon(worse)
        await later(0.01)
        assert type(task.exception()) is raised
        return 7

    with caplog.at_level(logging.ERROR):
        assert run_to_end(main(), loop) == 7
    assert [line.__dict__["kind"] for line in caplog.records] == [raised.__name__] * 2
    assert "test_runner.py:" in caplog.records[0].__dict__["place"]


@pytest.mark.parametrize("loop", LOOPS)
def test_a_loop_that_foreign_code_stops_continues(
    loop: Callable[[], asyncio.AbstractEventLoop], caplog: pytest.LogCaptureFixture
) -> None:
    async def stops(*, again: bool) -> None:
        asyncio.get_running_loop().stop()
        if again:
            try:
                await asyncio.Event().wait()
            finally:
                asyncio.get_running_loop().stop()  # also while the loop ends

    async def main() -> int:
        left = asyncio.Task(stops(again=True))
        await asyncio.Task(stops(again=False))
        await later(0.01)
        assert not left.done()
        return 7

    with caplog.at_level(logging.ERROR):
        assert run_to_end(main(), loop) == 7
    assert set(caplog.messages) == {"foreign code stopped the event loop; it was started again"}


@pytest.mark.parametrize("loop", LOOPS)
def test_a_runtime_error_of_the_main_coroutine_passes(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def fail() -> int:
        raise RuntimeError("of its own")

    with pytest.raises(RuntimeError, match="of its own"):
        run_to_end(fail(), loop)


async def cancels_everything() -> str:
    """A function tool that cancels every task it can find."""
    for task in asyncio.all_tasks():
        task.cancel()
    await asyncio.sleep(0)
    return "still here"


async def cancels_its_own() -> str:
    """A function tool that cancels only what it may: itself, by a deadline, and a task that it has started."""
    begun = asyncio.get_running_loop().create_task(asyncio.Event().wait())
    await asyncio.sleep(0)
    begun.cancel()
    try:
        async with asyncio.timeout(0.01):
            await asyncio.Event().wait()
    except TimeoutError:
        return f"{begun.cancelled()}"
    return "no deadline"


@pytest.mark.parametrize("loop", LOOPS)
def test_a_function_that_cancels_every_task_ends_only_itself(
    loop: Callable[[], asyncio.AbstractEventLoop], caplog: pytest.LogCaptureFixture
) -> None:
    async def beside() -> None:
        await asyncio.Event().wait()

    async def main() -> int:
        runs = FunctionRuns()
        others = [asyncio.get_running_loop().create_task(beside(), name="beside"), asyncio.Task(beside())]
        waiting = asyncio.get_running_loop().create_task(runs.run("desk", "own", cancels_its_own, {}))
        with pytest.raises(asyncio.CancelledError):
            await runs.run("desk", "all", cancels_everything, {})
        assert await waiting == "True"
        assert not others[0].done()
        assert others[1].cancelled()  # created directly, not through the loop's task factory
        others[0].cancel()
        await asyncio.wait(others)
        assert others[0].cancelled()
        return 7

    with caplog.at_level(logging.ERROR):
        assert run_to_end(main(), loop) == 7
    assert caplog.messages == ["foreign code tried to cancel a task of the server"]


def test_an_exit_or_error_of_the_main_coroutine_itself_passes() -> None:
    async def leave() -> int:
        raise SystemExit(4)

    async def fail() -> int:
        raise ValueError

    with pytest.raises(SystemExit) as left:
        run_to_end(leave(), VirtualLoop)
    assert left.value.code == 4
    with pytest.raises(ValueError):
        run_to_end(fail(), VirtualLoop)


def test_remaining_tasks_are_cancelled_at_the_end() -> None:
    seen: list[str] = []
    begun: list[asyncio.Task[None]] = []

    async def left() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("stopped")

    async def main() -> int:
        begun.append(asyncio.Task(left()))
        await later(0)
        return 0

    assert run_to_end(main(), VirtualLoop) == 0
    assert seen == ["stopped"]


STUBBORN = """
import asyncio
from gateway.runtime.runner import run_to_end

async def stubborn():
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass

async def main():
    main.task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    return 5

run_to_end(main(), None)
"""


def test_a_task_that_does_not_stop_does_not_keep_the_process_alive() -> None:
    ended = subprocess.run([sys.executable, "-c", STUBBORN], timeout=30, capture_output=True)
    assert ended.returncode == 5
