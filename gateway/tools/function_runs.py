"""Runs the user's functions, a plain one in a thread and an async one in a task, and tracks those that do not return.

A function that hangs is lost to its own agent only. A run that continues after its deadline or its call has ended is
counted for its agent and function. Past a bound, that function is refused at once for that agent until enough of those
runs have ended.
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
from gateway.runtime.own_tasks import foreign
from sessions.errors import ToolFailed

log = logging.getLogger(__name__)

# The most plain functions that calls wait for at the same time: in the process, of one agent, and of one function of
# one agent.
MAX_THREADS = 64
MAX_OF_AGENT = 32
MAX_OF_FUNCTION = 16
# The most runs of one function of one agent that may be overdue before it is refused.
MAX_OVERDUE = 4
# A run is overdue when it still runs this long after its caller stopped waiting for it.
GRACE_S = 1.0
BUSY = "Too many tools are running at the moment."
STUCK = "This does not work at the moment."


@dataclass(slots=True, eq=False)
class _Run:
    """One run of a function. A thread sets `ended`; everything else happens on the event loop."""

    in_thread: bool
    # The loop's time at which the caller stopped waiting for it.
    abandoned_at: float | None = None
    ended: bool = False

    @property
    def overdue(self) -> bool:
        """Whether it still runs although its caller stopped waiting longer ago than the grace time."""
        left = self.abandoned_at
        return left is not None and not self.ended and loop_s() >= left + GRACE_S


@dataclass(frozen=True, slots=True)
class Stuck:
    """A function that is refused for this agent, with the number of its overdue runs."""

    agent: str
    function: str
    overdue: int


class FunctionRuns:
    """The functions that run now, by agent and function."""

    def __init__(self) -> None:
        self._tasks = ForeignTasks()
        self._runs: dict[tuple[str, str], set[_Run]] = {}
        self._stuck: set[tuple[str, str]] = set()

    async def run(self, agent: str, name: str, function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
        """Return what the function returns. Raises what it raises, and ToolFailed where a bound is reached.

        A cancelled caller continues at once, whatever the function does.
        """
        if inspect.iscoroutinefunction(function):
            with self._tracked(agent, name, in_thread=False) as run:
                return await self._tasks.result(_await_run(run, partial(function, **arguments)))
        with self._tracked(agent, name, in_thread=True) as run:
            returned = (await asyncio.wrap_future(_start_thread(run, partial(function, **arguments)))).get()
        # A plain function may return a coroutine, as many decorated ones do.
        if inspect.isawaitable(returned):
            with self._tracked(agent, name, in_thread=False) as run:
                return await self._tasks.result(_await_run(run, lambda: returned))
        return returned

    def stuck(self) -> list[Stuck]:
        """The functions that are refused now."""
        for agent, name in list(self._stuck):
            self._update_stuck(agent, name)
        return [Stuck(agent, name, self._overdue(agent, name)) for agent, name in sorted(self._stuck)]

    async def close(self, wait_s: float) -> int:
        """Ask the runs in tasks to stop. Returns how many still run after `wait_s`."""
        return await self._tasks.close(wait_s)

    @contextmanager
    def _tracked(self, agent: str, name: str, *, in_thread: bool) -> Iterator[_Run]:
        self._admit(agent, name, in_thread=in_thread)
        run = _Run(in_thread)
        self._runs.setdefault((agent, name), set()).add(run)
        try:
            yield run
        finally:
            run.abandoned_at = loop_s()
            if not run.ended:
                asyncio.get_running_loop().call_later(GRACE_S, self._update_stuck, agent, name)

    def _admit(self, agent: str, name: str, *, in_thread: bool) -> None:
        self._update_stuck(agent, name)
        if (agent, name) in self._stuck:
            raise ToolFailed(STUCK)
        if not in_thread:
            return
        waited = {
            key: sum(run.in_thread and run.abandoned_at is None for run in runs) for key, runs in self._runs.items()
        }
        of_agent = sum(count for key, count in waited.items() if key[0] == agent)
        full = waited.get((agent, name), 0) >= MAX_OF_FUNCTION or of_agent >= MAX_OF_AGENT
        if full or sum(waited.values()) >= MAX_THREADS:
            log.warning("function tool refused: too many are running", extra={"agent": agent, "tool": name})
            raise ToolFailed(BUSY)

    def _overdue(self, agent: str, name: str) -> int:
        return sum(run.overdue for run in self._runs.get((agent, name), ()))

    def _update_stuck(self, agent: str, name: str) -> None:
        """Forget the runs that have ended, and update whether the function counts as stuck."""
        key = (agent, name)
        runs = self._runs.get(key, set())
        for run in [run for run in runs if run.ended and run.abandoned_at is not None]:
            runs.discard(run)
        if not runs:
            self._runs.pop(key, None)
        overdue = self._overdue(agent, name)
        fields = {"agent": agent, "tool": name, "overdue": overdue}
        if overdue >= MAX_OVERDUE and key not in self._stuck:
            self._stuck.add(key)
            log.error("function tool does not return and is refused from now on", extra=fields)
        elif overdue < MAX_OVERDUE and key in self._stuck:
            self._stuck.discard(key)
            log.info("function tool has returned and is accepted again", extra=fields)


async def _await_run(run: _Run, begin: Callable[[], Awaitable[Any]]) -> Any:
    try:
        with foreign():
            return await begin()
    finally:
        run.ended = True


def _start_thread(run: _Run, call: Callable[[], Any]) -> Future[Outcome[Any]]:
    """Call it in a thread of its own, which does not keep the process from exiting."""
    future: Future[Outcome[Any]] = Future()

    def work() -> None:
        with foreign():
            outcome = Outcome.of(call)
        run.ended = True
        future.set_result(outcome)

    future.set_running_or_notify_cancel()
    threading.Thread(target=work, name="patchbay-tool", daemon=True).start()
    return future


# One for the process, because threads belong to the process.
PROCESS = FunctionRuns()
