"""The main coroutine runs to its end, whatever tasks and callbacks of foreign code do."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import Callable

import pytest
import uvloop
from call_rig import later
from virtual import VirtualLoop

from gateway.runner import run_to_end

LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [VirtualLoop, uvloop.new_event_loop]


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("raised", [SystemExit, KeyboardInterrupt])
def test_an_exit_of_a_foreign_task_or_callback_ends_nothing(
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


def test_the_own_exit_and_fault_of_the_main_coroutine_pass() -> None:
    async def leave() -> int:
        raise SystemExit(4)

    async def fail() -> int:
        raise ValueError

    with pytest.raises(SystemExit) as left:
        run_to_end(leave(), VirtualLoop)
    assert left.value.code == 4
    with pytest.raises(ValueError):
        run_to_end(fail(), VirtualLoop)


def test_tasks_that_are_left_are_cancelled() -> None:
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
from gateway.runner import run_to_end

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


def test_a_task_that_will_not_stop_does_not_keep_the_process() -> None:
    ended = subprocess.run([sys.executable, "-c", STUBBORN], timeout=30, capture_output=True)
    assert ended.returncode == 5
