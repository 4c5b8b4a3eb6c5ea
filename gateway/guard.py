"""Catches errors: `Guard` is used around our own callbacks, `Boundary` around foreign code.

Foreign code is everything that runs a user's function or an SDK, or handles data of an endpoint, an MCP server, a file
or a peer. It may raise anything: `SystemExit`, a `CancelledError`, a class that is not an `Exception`. All of this is
reported to the call or tool that it belongs to. Only a cancellation of the task itself passes.

`ForeignTasks` runs such code in tasks outside all task groups: its errors, or its refusal to stop, affect no other
task.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, TypeVar, cast

log = logging.getLogger(__name__)

T = TypeVar("T")

AGAIN_S = 1.0  # the pause before a supervised job is started again


class Guard:
    """Reports an exception of its `with` body: for callbacks and other places where no caller catches it.

    Cancellation and exits pass.
    """

    __slots__ = ("_report",)

    def __init__(self, report: Callable[[Exception], None]) -> None:
        self._report = report

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        self._report(error)
        return True


class Boundary:
    """Gives whatever its `with` body raises to `report`, and continues after the body.

    `report` may raise another exception for the caller. A cancellation of the task itself (a deadline, a call's end)
    passes; a `CancelledError` without such a cancellation is an error like any other.
    """

    __slots__ = ("_cancellations_before", "_report")

    def __init__(self, report: Callable[[BaseException], None]) -> None:
        self._report = report
        self._cancellations_before = 0  # how often the task had been cancelled when the body began

    def __enter__(self) -> None:
        self._cancellations_before = _cancellations()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is None:
            return False
        if isinstance(error, asyncio.CancelledError) and _cancellations() > self._cancellations_before:
            return False
        self._report(error)
        return True


def _cancellations() -> int:
    """How often the running task has been cancelled; 0 in a thread without a loop."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return 0
    return 0 if task is None else task.cancelling()


def place_of(fault: BaseException) -> str:
    """Where an exception was raised, as file:line. Its message is left out, as it may hold a caller's words."""
    fault = innermost(fault)
    places = traceback.extract_tb(fault.__traceback__)
    return f"{places[-1].filename}:{places[-1].lineno}" if places else ""


def innermost(fault: BaseException) -> BaseException:
    """The first exception inside nested exception groups."""
    while isinstance(fault, BaseExceptionGroup):
        fault = fault.exceptions[0]
    return fault


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """The result of foreign code: a value, or whatever it raised. A future would not accept every exception."""

    value: T | None
    fault: BaseException | None

    @classmethod
    def of(cls, call: Callable[[], T]) -> Outcome[T]:
        """Call `call` and keep its result; works in any thread."""
        found: list[BaseException] = []
        with Boundary(found.append):
            return cls(call(), None)
        return cls(None, found[0])

    def get(self) -> T:
        """Return the value, or raise the exception unchanged."""
        if self.fault is not None:
            raise self.fault
        return cast("T", self.value)


class ForeignTasks:
    """Runs foreign coroutines, each in its own task and outside all task groups."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def start(
        self, work: Coroutine[Any, Any, None], on_fault: Callable[[BaseException], None] | None = None
    ) -> asyncio.Task[Any]:
        """Run it in the background. An exception goes to `on_fault`, or to the log."""
        return self._start(_reported(work, on_fault or _log_fault), work)

    async def result(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for its result; an exception is raised unchanged.

        A cancellation of this call takes effect at once; the work is cancelled too, but is not waited for.
        """
        task = self._start(_outcome(work), work)
        try:
            await asyncio.wait({task})
        finally:
            task.cancel()  # has no effect on a task that is done
        if task.cancelled():  # by `close`
            raise asyncio.CancelledError
        outcome: Outcome[T] = task.result()
        return outcome.get()

    async def close(self, wait_s: float) -> int:
        """Cancel all tasks, wait at most `wait_s`, and return how many still run."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=wait_s)
        return len(self._tasks)

    def _start(self, guarded: Coroutine[Any, Any, Any], work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(guarded)
        self._tasks.add(task)

        def ended(task: asyncio.Task[Any]) -> None:
            self._tasks.discard(task)
            work.close()  # needed if the task was cancelled before its first step

        task.add_done_callback(ended)
        return task


def cause_of(fault: BaseException) -> dict[str, str]:
    """Kind and place of an error as fields of a log entry; its words may be a caller's, and stay out of the log."""
    return {"kind": type(innermost(fault)).__name__, "place": place_of(fault)}


def kind_and_place(fault: BaseException) -> str:
    """Kind and place of an error in one text, without its words."""
    return f"{type(innermost(fault)).__name__} {place_of(fault)}"


async def supervised(name: str, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a job for as long as the server runs. If it fails, that is logged and it starts again a second later."""

    def broke(fault: BaseException) -> None:
        cause = cause_of(fault)
        log.error("a background job broke and is started again", exc_info=fault, extra={"job": name, **cause})

    while True:
        with Boundary(broke):
            await run()
            return
        await asyncio.sleep(AGAIN_S)


async def _reported(work: Coroutine[Any, Any, None], on_fault: Callable[[BaseException], None]) -> None:
    with Boundary(on_fault):
        await work


async def _outcome(work: Coroutine[Any, Any, T]) -> Outcome[T]:
    found: list[BaseException] = []
    with Boundary(found.append):
        return Outcome(await work, None)
    return Outcome(None, found[0])


def _log_fault(fault: BaseException) -> None:
    log.error("a background job failed", extra=cause_of(fault))
