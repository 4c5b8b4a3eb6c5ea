"""Keeps tasks of the server from being cancelled by code that is not the server's.

A user's async function runs on the server's loop, where `asyncio.all_tasks()` hands it every task there is: those of
all calls, of the jobs beside them, and the main one. So the loop makes its tasks of a class that knows on whose behalf
it is asked to cancel. A context variable says so, which asyncio passes on to whatever such a function starts.
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

    __slots__ = ("told",)

    def __init__(self) -> None:
        self.told = False  # that it tried to cancel what is not its own; it may try so with every task there is


_FOREIGN: ContextVar[_Run | None] = ContextVar("patchbay_foreign", default=None)


class OwnTask(asyncio.Task[Any]):
    """A task that foreign code can cancel only if it is that code's own, or was started by such code."""

    def __init__(self, coro: Coroutine[Any, Any, Any], **options: Any) -> None:
        self._started_by = _FOREIGN.get()
        self._runs: _Run | None = None  # the foreign code that this task of ours runs
        super().__init__(coro, **options)

    def cancel(self, msg: Any | None = None) -> bool:
        """As asyncio's, but False, and nothing more, where foreign code has no right to it."""
        asking = _FOREIGN.get()
        if asking is None or self._started_by is not None or self._runs is asking:
            return super().cancel(msg)
        if not asking.told and not self.done():
            asking.told = True
            log.error("foreign code tried to cancel a task of the server", extra={"task": self.get_name()})
        return False

    def run_foreign(self, run: _Run) -> None:
        """From now on this task does what that run of foreign code says."""
        self._runs = run


def protect(loop: asyncio.AbstractEventLoop) -> None:
    """Make this loop's tasks so."""
    loop.set_task_factory(_make)


def _make(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Task[Any]:
    return OwnTask(coro, loop=loop, **options)


@contextmanager
def foreign() -> Iterator[None]:
    """The body is foreign code, in the running task or in a thread, with whatever it starts."""
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
