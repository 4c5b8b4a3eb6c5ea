"""Runs a program's main coroutine to its end, whatever foreign code does to the event loop on the way."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from gateway.guard import place_of
from gateway.own_tasks import protect

log = logging.getLogger("patchbay")

T = TypeVar("T")

STOP_S = 2.0  # for tasks that are left at the end to stop when asked


def run_to_end(main: Coroutine[Any, Any, int], loop_factory: Callable[[], asyncio.AbstractEventLoop] | None) -> int:
    """Run it and return its exit code.

    asyncio lets `SystemExit` and `KeyboardInterrupt` of any task or callback end the whole loop, `loop.stop()` of
    anybody likewise, and anybody cancel any task. Here only the main coroutine's own exit ends it: what a user's tool
    does of the kind is logged, and the loop goes on. A task that will not stop at the end does not keep the process:
    it exits over it.
    """
    loop = loop_factory() if loop_factory is not None else asyncio.new_event_loop()
    protect(loop)
    asyncio.set_event_loop(loop)
    ended = False
    try:
        code = _until_done(loop, main)
        ended = True
        return code
    finally:
        left = _stop_all(loop)
        if left and ended:
            log.error("tasks that will not stop are left behind", extra={"tasks": left})
            logging.shutdown()
            sys.stdout.flush()
            os._exit(code)
        if not left:
            _until_done(loop, loop.shutdown_asyncgens())
            asyncio.set_event_loop(None)
            loop.close()


def _until_done(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> T:
    task: asyncio.Task[T] = loop.create_task(work)
    while True:
        try:
            return loop.run_until_complete(task)
        except (SystemExit, KeyboardInterrupt) as stray:
            if task.done():
                raise
            cause = {"kind": type(stray).__name__, "place": place_of(stray)}
            log.error("foreign code tried to end the process from a task of its own", extra=cause)
        except RuntimeError:  # so loops say that they were stopped before the task was done
            if task.done() or loop.is_closed():
                raise
            log.error("foreign code stopped the event loop, which goes on")


def _stop_all(loop: asyncio.AbstractEventLoop) -> int:
    """Ask all tasks to stop; how many do not."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if not tasks:
        return 0
    _, left = _until_done(loop, asyncio.wait(tasks, timeout=STOP_S))
    return len(left)
