"""Runs work in threads. The work may raise anything or never end; only the code that awaits it is affected."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import Generic, TypeVar

from gateway.guard import Boundary

T = TypeVar("T")


class Threads:
    """Runs each piece of work in a daemon thread, for which the end of the process does not wait."""

    def __init__(self) -> None:
        self._running: set[asyncio.Future[_Outcome[object]]] = set()

    async def result(self, work: Callable[[], T], limit_s: float) -> T:
        """Return what `work` returns, or raise what it raises.

        Raises TimeoutError past the limit; the work then continues in its thread.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[_Outcome[object]] = loop.create_future()
        outcome: _Outcome[T] = _Outcome()

        def tell() -> None:
            if not done.done():
                done.set_result(outcome)  # type: ignore[arg-type]

        def run() -> None:
            with Boundary(outcome.raised.append):
                outcome.returned.append(work())
            with suppress(RuntimeError):  # the loop may be closed by now
                loop.call_soon_threadsafe(tell)

        self._running.add(done)
        done.add_done_callback(self._running.discard)
        Thread(target=run, name="patchbay-load", daemon=True).start()
        async with asyncio.timeout(limit_s):
            await asyncio.wait({done})
        for fault in outcome.raised:
            raise fault
        return outcome.returned[0]

    async def close(self, wait_s: float) -> int:
        """Wait up to `wait_s` for running work, and return how much is left.

        A library may crash if the process ends while it is being loaded.
        """
        if self._running:
            await asyncio.wait(set(self._running), timeout=wait_s)
        return len(self._running)


class _Outcome(Generic[T]):
    """What a piece of work returned or raised: exactly one of the two lists gets one entry."""

    def __init__(self) -> None:
        self.returned: list[T] = []
        self.raised: list[BaseException] = []
