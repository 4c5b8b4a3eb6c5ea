"""Prevents foreign code, such as a user's tool function, from cancelling tasks of the server.

A user's async function runs on the server's loop, where `asyncio.all_tasks()` gives it every task: those of all calls,
the background jobs, and the main one. So the loop creates its tasks with a class that checks which code asks to cancel.
A context variable marks foreign code; asyncio copies it to everything that such code starts.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

log = logging.getLogger("patchbay")


class _Run:
    """One run of foreign code."""

    __slots__ = ("reported",)

    def __init__(self) -> None:
        self.reported = False  # an attempt to cancel the server's tasks is logged only once


_FOREIGN: ContextVar[_Run | None] = ContextVar("patchbay_foreign", default=None)


class OwnTask(asyncio.Task[Any]):
    """A task that foreign code can cancel only if it runs that code or was started by foreign code."""

    def __init__(self, coro: Coroutine[Any, Any, Any], **options: Any) -> None:
        self._started_by = _FOREIGN.get()
        self._runs: _Run | None = None  # the foreign code that this task runs
        super().__init__(coro, **options)

    def cancel(self, msg: Any | None = None) -> bool:
        """Like `asyncio.Task.cancel`, but does nothing and returns False if foreign code may not cancel this task."""
        requester = _FOREIGN.get()
        if requester is None or self._started_by is not None or self._runs is requester:
            return super().cancel(msg)
        if not requester.reported and not self.done():
            requester.reported = True
            log.error("foreign code tried to cancel a task of the server", extra={"task": self.get_name()})
        return False

    def run_foreign(self, run: _Run) -> None:
        """Let this run of foreign code cancel the task from now on, because the task runs it."""
        self._runs = run


def protect(loop: asyncio.AbstractEventLoop) -> None:
    """Make all tasks of this loop `OwnTask`s."""
    loop.set_task_factory(_make)


def _make(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Task[Any]:
    return OwnTask(coro, loop=loop, **options)


@contextmanager
def foreign() -> Iterator[None]:
    """Mark the `with` body, and everything it starts, as foreign code; in the running task or in a thread."""
    run = _Run()
    task = _current()
    if isinstance(task, OwnTask):
        task.run_foreign(run)
    token = _FOREIGN.set(run)
    try:
        yield
    finally:
        _FOREIGN.reset(token)


def _current() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # a thread without a loop
        return None
