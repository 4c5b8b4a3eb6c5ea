"""An asyncio loop with virtual time: no time passes while there is work; otherwise it jumps to the next timer.

Whole calls run on it in milliseconds. It does not wait for threads, so tests use parts that need none (SQLite inline,
MCP in process).
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
LONGEST_S = 4 * 3600.0  # of virtual time; a test that takes longer hangs


class _Jumping(selectors.DefaultSelector):  # type: ignore[valid-type,misc]
    """A selector that moves the loop's clock to the next timer instead of sleeping until then."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            # There is no timer: only a thread or a socket can still wake the loop.
            return super().select(1.0)
        self.loop.jump(timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose `time()` starts at 1000 s and jumps to the next timer when nothing is ready."""

    def __init__(self) -> None:
        selector = _Jumping()
        super().__init__(selector)
        selector.loop = self
        self._virtual_s = 1000.0

    def time(self) -> float:
        """The virtual clock, in seconds."""
        return self._virtual_s

    def jump(self, seconds: float) -> None:
        """Advance the virtual clock."""
        self._virtual_s += max(seconds, 1e-6)
        if self._virtual_s > LONGEST_S:
            raise RuntimeError("hours of virtual time have passed: something waits for an event that never comes")

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Wait for threads without a timeout: the five minutes of Python 3.12 and later would be virtual time."""
        await super().shutdown_default_executor()


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
