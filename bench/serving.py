"""Shared by the processes of the benchmark: the loop, the wait for a signal, the limit of open files."""

from __future__ import annotations

import asyncio
import resource
import signal
from collections.abc import Coroutine
from typing import Any

import uvloop


def raise_file_limit() -> None:
    """Allow as many open files as the system permits: a call needs two sockets, and files if it is recorded."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        wanted = hard if hard != resource.RLIM_INFINITY else max(soft, 1 << 16)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def until_stopped() -> None:
    """Return at the first SIGTERM or SIGINT."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    await stopped.wait()


def run_on_uvloop(main: Coroutine[Any, Any, None]) -> None:
    """Run one coroutine on uvloop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)
