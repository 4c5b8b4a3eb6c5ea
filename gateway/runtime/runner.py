"""Runs a program's main coroutine to its end, even if foreign code tries to stop the event loop or to exit."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from gateway.guard import place_of
from gateway.runtime.own_tasks import protect

log = logging.getLogger("patchbay")

T = TypeVar("T")

STOP_S = 2.0  # the time for the remaining tasks to stop after they were cancelled


def run_to_end(main: Coroutine[Any, Any, int], loop_factory: Callable[[], asyncio.AbstractEventLoop] | None) -> int:
    """Run the main coroutine and return its exit code.

    In asyncio, a `SystemExit` or `KeyboardInterrupt` in any task or callback and any call of `loop.stop()` end the
    whole loop, and any code can cancel any task. Here only the exit of the main coroutine ends it: if a user's tool
    tries this, it is logged and the loop continues. If a task does not stop at the end, the process exits anyway.
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
            log.error("some tasks do not stop; the process exits without them", extra={"tasks": left})
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
            log.error("foreign code tried to end the process", extra=cause)
        except RuntimeError:  # the loop was stopped before the task was done
            if task.done() or loop.is_closed():
                raise
            log.error("foreign code stopped the event loop; it was started again")


def _stop_all(loop: asyncio.AbstractEventLoop) -> int:
    """Cancel all tasks and return how many do not stop."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if not tasks:
        return 0
    _, left = _until_done(loop, asyncio.wait(tasks, timeout=STOP_S))
    return len(left)
