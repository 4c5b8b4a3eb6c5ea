"""A held loop is noticed, and the line that held it is logged."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

import pytest

from gateway.runtime import loop_watch
from gateway.runtime.loop_watch import LoopWatch

pytestmark = pytest.mark.timed


def block() -> None:
    """Hold the loop without using the processor."""
    time.sleep(0.3)


def compute() -> None:
    """Hold the loop and the processor."""
    end = time.thread_time() + 0.3
    while time.thread_time() < end:
        sum(range(1000))


def watched(step: Callable[[], None]) -> LoopWatch:
    watch = LoopWatch()

    async def main() -> None:
        with watch.watching():
            await asyncio.sleep(0)
            step()
            await asyncio.sleep(0.1)

    asyncio.run(main())
    return watch


def test_a_step_that_holds_the_loop_is_logged_with_its_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, loop_watch.__name__):
        watch = watched(block)
    # A busy machine may hold the loop, too.
    (line,) = [one for one in caplog.records if " block" in one.__dict__["by"]]
    assert "test_loop_watch.py:" in line.__dict__["by"]
    assert line.__dict__["held_ms"] >= 300
    assert line.__dict__["cpu_ms"] < 200
    assert watch.held == len(caplog.records)
    assert watch.longest_ms >= line.__dict__["held_ms"]


def test_a_computation_differs_from_a_block_by_its_cpu_time(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, loop_watch.__name__):
        watched(compute)
    (line,) = [one for one in caplog.records if " compute" in one.__dict__["by"]]
    assert line.__dict__["cpu_ms"] > 250


def test_a_loop_that_runs_freely_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    watch = LoopWatch(held_ms=2_000)

    async def main() -> None:
        with watch.watching():
            await asyncio.sleep(0.12)

    asyncio.run(main())
    assert watch.held == 0
    assert caplog.records == []
