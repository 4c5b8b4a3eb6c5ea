"""What stands around code that may break: `Guard` around our own callbacks, `Boundary` around what is not ours.

Not ours is whatever a user's code, an SDK, an endpoint, an MCP server, a file or a peer brings. It may raise anything:
`SystemExit`, a `CancelledError` of its own, an exception class of its own that is no `Exception`. All of it is handed
to the call or the tool that it belongs to. Only the loop's own cancellation passes.

`ForeignTasks` runs such code in tasks that are in no task group: neither its fault nor its refusal to end can reach
anybody else.
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

AGAIN_S = 1.0  # between a supervised job's fault and its new beginning


class Guard:
    """Turns what its `with` body raises into one report: for callbacks and admissions, where nobody else catches.

    Cancellation and exits pass through.
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
    """Hands whatever its `with` body raises to `report`, and goes on behind the body.

    `report` may raise what the caller shall see instead. The cancellation of the task itself (a deadline, a call's end)
    passes; a `CancelledError` that nobody asked this task for is a fault like any other.
    """

    __slots__ = ("_asked", "_report")

    def __init__(self, report: Callable[[BaseException], None]) -> None:
        self._report = report
        self._asked = 0  # how often the task had been asked to stop when the body began

    def __enter__(self) -> None:
        self._asked = _cancellations()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is None:
            return False
        if isinstance(error, asyncio.CancelledError) and _cancellations() > self._asked:
            return False
        self._report(error)
        return True


def _cancellations() -> int:
    """How often the running task was asked to stop; 0 in a thread without a loop."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return 0
    return 0 if task is None else task.cancelling()


def place_of(fault: BaseException) -> str:
    """Where a fault was raised, as file:line, without its words: those may be a caller's."""
    fault = innermost(fault)
    places = traceback.extract_tb(fault.__traceback__)
    return f"{places[-1].filename}:{places[-1].lineno}" if places else ""


def innermost(fault: BaseException) -> BaseException:
    """The first fault inside nested exception groups."""
    while isinstance(fault, BaseExceptionGroup):
        fault = fault.exceptions[0]
    return fault


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """How foreign code ended: with a value, or with whatever it raised. A future takes some exceptions, not all."""

    value: T | None
    fault: BaseException | None

    @classmethod
    def of(cls, call: Callable[[], T]) -> Outcome[T]:
        """Call it, in a thread or anywhere."""
        found: list[BaseException] = []
        with Boundary(found.append):
            return cls(call(), None)
        return cls(None, found[0])

    def get(self) -> T:
        """The value, or raise the fault as it was."""
        if self.fault is not None:
            raise self.fault
        return cast("T", self.value)


class ForeignTasks:
    """Foreign coroutines, each in a task of its own and in no task group."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def start(
        self, work: Coroutine[Any, Any, None], on_fault: Callable[[BaseException], None] | None = None
    ) -> asyncio.Task[Any]:
        """Run it in the background. What it raises goes to `on_fault`, or into the log."""
        return self._start(_reported(work, on_fault or _log_fault), work)

    async def result(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for what it returns, or raise what it raised, as it was.

        Who cancels this is free at once; the work is asked to stop, and may take its time or never do so.
        """
        task = self._start(_outcome(work), work)
        try:
            await asyncio.wait({task})
        finally:
            task.cancel()  # does nothing to one that is done
        if task.cancelled():  # by `close`
            raise asyncio.CancelledError
        outcome: Outcome[T] = task.result()
        return outcome.get()

    async def close(self, wait_s: float) -> int:
        """Ask all of them to stop and wait at most so long; how many go on."""
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
            work.close()  # a task that was cancelled before its first step has not begun it

        task.add_done_callback(ended)
        return task


async def supervised(name: str, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a job that lives as long as the server. What breaks it is logged, and it begins anew a second later."""

    def broke(fault: BaseException) -> None:
        cause = {"kind": type(innermost(fault)).__name__, "place": place_of(fault)}
        log.error("a job beside the calls broke and begins anew", exc_info=fault, extra={"job": name, **cause})

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
    log.error("a background job failed", extra={"kind": type(innermost(fault)).__name__, "place": place_of(fault)})
