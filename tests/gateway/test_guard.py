"""Tests for gateway/guard.py: foreign code may raise anything, and only a cancellation of the task itself passes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec

import pytest
from support import virtual
from support.anything import ANYTHING
from support.calls.call_rig import later

from gateway.guard import Boundary, ForeignTasks, Guard, innermost, place_of

P = ParamSpec("P")


def in_virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an async test in virtual time."""

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        virtual.run(test(*args, **kwargs))

    return run


def test_a_guard_reports_exceptions_and_lets_exits_pass() -> None:
    found: list[Exception] = []
    with Guard(found.append):
        raise ValueError
    assert len(found) == 1
    with pytest.raises(SystemExit), Guard(found.append):
        raise SystemExit


@pytest.mark.parametrize("make", ANYTHING)
def test_a_boundary_reports_anything(make: Callable[[], BaseException]) -> None:
    found: list[BaseException] = []
    raised = make()
    with Boundary(found.append):
        raise raised
    assert found == [raised]


def test_a_boundary_without_an_error_reports_nothing() -> None:
    found: list[BaseException] = []
    with Boundary(found.append):
        pass
    assert found == []


def test_a_report_may_raise_another_exception_for_the_caller() -> None:
    def report(fault: BaseException) -> None:
        raise ValueError from fault

    with pytest.raises(ValueError), Boundary(report):
        raise SystemExit


@in_virtual_time
async def test_a_cancellation_of_the_task_passes_and_a_foreign_one_does_not() -> None:
    found: list[BaseException] = []

    async def work(raised: BaseException | None) -> str:
        with Boundary(found.append):
            if raised is not None:
                raise raised
            await asyncio.Event().wait()
        return "went on"

    assert await work(asyncio.CancelledError()) == "went on"
    assert len(found) == 1
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await work(None)
    assert len(found) == 1


@in_virtual_time
async def test_a_deadline_in_a_task_that_was_cancelled_before_still_passes() -> None:
    found: list[BaseException] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:  # after its cancellation, it cleans up inside a boundary
            with Boundary(found.append):
                raise asyncio.CancelledError

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(work())
        await later(0)
        task.cancel()
    assert task.cancelled()
    assert len(found) == 1


@pytest.mark.parametrize("make", ANYTHING)
@in_virtual_time
async def test_a_foreign_task_reports_anything_and_affects_no_other_task(make: Callable[[], BaseException]) -> None:
    found: list[BaseException] = []
    foreign = ForeignTasks()

    async def work() -> None:
        await later(0)
        raise make()

    await asyncio.wait({foreign.start(work(), found.append)})
    assert len(found) == 1
    assert type(found[0]) is type(make())
    assert len(foreign) == 0


@pytest.mark.parametrize("make", ANYTHING)
@in_virtual_time
async def test_a_result_raises_what_the_work_raised(make: Callable[[], BaseException]) -> None:
    async def work() -> None:
        raise make()

    found: list[BaseException] = []
    with Boundary(found.append):
        await ForeignTasks().result(work())
    assert type(found[0]) is type(make())


@in_virtual_time
async def test_a_result_is_returned() -> None:
    async def work() -> int:
        await later(0)
        return 7

    assert await ForeignTasks().result(work()) == 7


@in_virtual_time
async def test_work_that_does_not_stop_holds_up_no_caller() -> None:
    foreign = ForeignTasks()
    stop = asyncio.Event()

    async def stubborn() -> None:
        while not stop.is_set():
            try:
                await stop.wait()
            except asyncio.CancelledError:
                continue

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await foreign.result(stubborn())
    assert await foreign.close(0.01) == 1
    stop.set()
    await later(0)
    assert await foreign.close(1.0) == 0


@in_virtual_time
async def test_closing_cancels_those_who_wait_for_a_result() -> None:
    foreign = ForeignTasks()
    found: list[BaseException] = []

    async def wait() -> None:
        with Boundary(found.append):
            await foreign.result(later(3600))

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(wait())
        await later(0)
        assert await foreign.close(1.0) == 0
    assert [type(fault) for fault in found] == [asyncio.CancelledError]


def test_a_place_is_the_innermost_line_without_the_message() -> None:
    with pytest.raises(SystemExit) as inner:
        raise SystemExit("what the caller said")
    group = BaseExceptionGroup("g", [inner.value])
    assert innermost(group) is inner.value
    assert place_of(group).startswith(f"{__file__}:")
    assert "said" not in place_of(group)
    assert place_of(ValueError()) == ""


@in_virtual_time
async def test_an_error_without_a_callback_is_logged_without_its_message(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        raise SystemExit("what the caller said")

    await asyncio.wait({ForeignTasks().start(work())})
    (line,) = caplog.records
    assert (line.message, line.__dict__["kind"]) == ("a background job failed", "SystemExit")
    assert "said" not in str(vars(line))
