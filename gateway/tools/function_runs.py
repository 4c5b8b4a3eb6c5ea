"""Runs the user's functions: a plain one in a thread, an async one in a task; and knows which of them do not come back.

A function that hangs costs its own agent that one function. What is still running when nobody waits for it any more
(its deadline has passed, or its call is over) is counted for its agent and function; past a bound that function is
refused at once for that agent, until enough of them have come back.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from gateway.clock import loop_s
from gateway.guard import ForeignTasks, Outcome
from gateway.own_tasks import foreign
from sessions.errors import ToolFailed

log = logging.getLogger(__name__)

MAX_THREADS = 64  # of plain functions that are waited for, in the process
MAX_OF_AGENT = 32  # of these, of one agent
MAX_OF_FUNCTION = 16  # of these, of one function of one agent
MAX_OVERDUE = 4  # of one function of one agent that nobody waits for any more
GRACE_S = 1.0  # for a function to end once nobody waits for it; until then it is not overdue
BUSY = "Too many tools are running at the moment."
STUCK = "This does not work at the moment."


@dataclass(slots=True, eq=False)
class _Run:
    """One call of a function. A thread sets `ended`; everything else happens on the loop."""

    in_thread: bool
    left_at: float | None = None  # the loop's time at which nobody waited for it any more
    ended: bool = False

    @property
    def overdue(self) -> bool:
        """Whether it should have ended long ago."""
        left = self.left_at
        return left is not None and not self.ended and loop_s() >= left + GRACE_S


@dataclass(frozen=True, slots=True)
class Stuck:
    """A function that is not called any more for this agent: so many calls of it have not come back."""

    agent: str
    function: str
    overdue: int


class FunctionRuns:
    """The functions that run now, by agent and function."""

    def __init__(self) -> None:
        self._tasks = ForeignTasks()
        self._runs: dict[tuple[str, str], set[_Run]] = {}
        self._stuck: set[tuple[str, str]] = set()

    async def run(self, agent: str, name: str, function: Callable[..., Any], given: dict[str, Any]) -> Any:
        """What the function returns. Raises what it raises, and ToolFailed where a bound is reached.

        Who cancels this is free at once, whatever the function does.
        """
        if inspect.iscoroutinefunction(function):
            with self._counted(agent, name, in_thread=False) as run:
                return await self._tasks.result(_awaited(run, partial(function, **given)))
        with self._counted(agent, name, in_thread=True) as run:
            returned = (await asyncio.wrap_future(_in_thread(run, partial(function, **given)))).get()
        if inspect.isawaitable(returned):  # a plain function that hands out a coroutine, as many decorators do
            with self._counted(agent, name, in_thread=False) as run:
                return await self._tasks.result(_awaited(run, lambda: returned))
        return returned

    def stuck(self) -> list[Stuck]:
        """The functions that are refused now."""
        for agent, name in list(self._stuck):
            self._look(agent, name)
        return [Stuck(agent, name, self._overdue(agent, name)) for agent, name in sorted(self._stuck)]

    async def close(self, wait_s: float) -> int:
        """Ask what still runs in tasks to stop; how many go on all the same."""
        return await self._tasks.close(wait_s)

    @contextmanager
    def _counted(self, agent: str, name: str, *, in_thread: bool) -> Iterator[_Run]:
        self._admit(agent, name, in_thread=in_thread)
        run = _Run(in_thread)
        self._runs.setdefault((agent, name), set()).add(run)
        try:
            yield run
        finally:
            run.left_at = loop_s()
            if not run.ended:
                asyncio.get_running_loop().call_later(GRACE_S, self._look, agent, name)

    def _admit(self, agent: str, name: str, *, in_thread: bool) -> None:
        self._look(agent, name)
        if (agent, name) in self._stuck:
            raise ToolFailed(STUCK)
        if not in_thread:
            return
        waited = {key: sum(run.in_thread and run.left_at is None for run in runs) for key, runs in self._runs.items()}
        of_agent = sum(count for key, count in waited.items() if key[0] == agent)
        full = waited.get((agent, name), 0) >= MAX_OF_FUNCTION or of_agent >= MAX_OF_AGENT
        if full or sum(waited.values()) >= MAX_THREADS:
            log.warning("function tool refused: too many run", extra={"agent": agent, "tool": name})
            raise ToolFailed(BUSY)

    def _overdue(self, agent: str, name: str) -> int:
        return sum(run.overdue for run in self._runs.get((agent, name), ()))

    def _look(self, agent: str, name: str) -> None:
        """Forget what has ended, and see whether the function is stuck, or no longer."""
        key = (agent, name)
        runs = self._runs.get(key, set())
        for run in [run for run in runs if run.ended and run.left_at is not None]:
            runs.discard(run)
        if not runs:
            self._runs.pop(key, None)
        overdue = self._overdue(agent, name)
        fields = {"agent": agent, "tool": name, "overdue": overdue}
        if overdue >= MAX_OVERDUE and key not in self._stuck:
            self._stuck.add(key)
            log.error("function tool does not come back and is not called any more", extra=fields)
        elif overdue < MAX_OVERDUE and key in self._stuck:
            self._stuck.discard(key)
            log.info("function tool has come back and is called again", extra=fields)


async def _awaited(run: _Run, begin: Callable[[], Awaitable[Any]]) -> Any:
    try:
        with foreign():
            return await begin()
    finally:
        run.ended = True


def _in_thread(run: _Run, call: Callable[[], Any]) -> Future[Outcome[Any]]:
    """Call it in a thread of its own, which does not keep the process from ending."""
    future: Future[Outcome[Any]] = Future()

    def work() -> None:
        with foreign():
            outcome = Outcome.of(call)
        run.ended = True
        future.set_result(outcome)

    future.set_running_or_notify_cancel()
    threading.Thread(target=work, name="patchbay-tool", daemon=True).start()
    return future


PROCESS = FunctionRuns()  # threads belong to the process
