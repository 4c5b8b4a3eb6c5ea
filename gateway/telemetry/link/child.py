"""One run of the courier program: it is started, fed from the outbox, watched, and ended."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol

from gateway.config.names import path_of
from gateway.guard import Boundary, cause_of
from gateway.runtime.programs import start
from gateway.telemetry.link.outbox import Outbox
from gateway.telemetry.link.wire import END, LEAVE_S, line, read_line

WRITE_BYTES = 64 * 1024  # at once, as much as a pipe takes
SILENT_MAX_S = 30.0  # a courier that has not reported for so long hangs

log = logging.getLogger("patchbay.telemetry")


class Stdin(Protocol):
    """Where a courier reads."""

    def write(self, payload: bytes) -> None:
        """Send, without waiting."""
        ...

    async def drain(self) -> None:
        """Wait until most of it has been taken. Raises BrokenPipeError if nothing more is."""
        ...

    def close(self) -> None:
        """End the courier's input."""
        ...


class Stdout(Protocol):
    """Where a courier writes its reports."""

    async def readline(self) -> bytes:
        """The next line; empty at the end."""
        ...


class Child(Protocol):
    """A courier that runs."""

    stdin: Stdin
    stdout: Stdout

    async def wait(self) -> None:
        """Wait for its end."""
        ...

    def kill(self) -> None:
        """End it at once, if it still runs."""
        ...

    def close(self) -> None:
        """Close the streams."""
        ...


Starter = Callable[[], Awaitable[Child]]


class _Program:
    """The courier as a program."""

    def __init__(self, running: Any) -> None:
        self._running = running
        self.stdin: Stdin = running.stdin
        self.stdout: Stdout = running.stdout

    async def wait(self) -> None:
        """Wait for its end."""
        await self._running.ended.wait()

    def kill(self) -> None:
        """End it at once, if it still runs."""
        self._running.kill()

    def close(self) -> None:
        """Close the streams."""
        self._running.close()


def courier_program(environ: Mapping[str, str]) -> Starter:
    """Starts the courier as a program. It gets the environment without our settings, which `hello` tells it."""
    env = {name: value for name, value in environ.items() if path_of(name) is None}
    env["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)

    async def begin() -> Child:
        command = (sys.executable, "-m", "gateway.telemetry.courier")
        return _Program(await start(*command, stdin=-1, env=env))

    return begin


class ChildRun:
    """Feeds one courier from the outbox until it ends; `wake` says that there is more, `closing` that no more comes."""

    def __init__(self, child: Child, outbox: Outbox, on_report: Callable[[Mapping[str, Any]], None]) -> None:
        self._child = child
        self._outbox = outbox
        self._on_report = on_report
        self._wake = asyncio.Event()
        self._closing = False
        self._reported = asyncio.Event()
        self.hung = False  # whether it was ended because it did not report any more

    def wake(self) -> None:
        """There is something new in the outbox; it is written in the loop's next turn, with all that comes before."""
        self._wake.set()

    def close(self) -> None:
        """Let the courier empty its queues and end, once it has all that is in the outbox."""
        self._closing = True
        self._wake.set()

    async def run(self, hello: bytes) -> None:
        """Return once the courier has ended, by itself or because it hung; nothing of it is left then."""
        self._outbox.restart()
        try:
            self._child.stdin.write(hello)
            async with asyncio.TaskGroup() as tasks:
                beside = [tasks.create_task(self._feed()), tasks.create_task(self._watch())]
                await self._read()
                for task in beside:
                    task.cancel()
            with suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._child.wait()
        finally:
            self._child.kill()
            self._child.close()
            await self._child.wait()

    async def _feed(self) -> None:
        with suppress(BrokenPipeError):  # the courier has ended, and `_read` sees it too
            while True:
                await self._child.stdin.drain()
                lines = self._outbox.take(WRITE_BYTES)
                if lines:
                    self._child.stdin.write(lines)
                elif self._closing:
                    self._child.stdin.write(line(END, 0, None))
                    self._child.stdin.close()
                    await asyncio.sleep(LEAVE_S)
                    self._child.kill()
                    return
                else:
                    self._wake.clear()
                    await self._wake.wait()

    async def _watch(self) -> None:
        while True:
            self._reported.clear()
            try:
                async with asyncio.timeout(SILENT_MAX_S):
                    await self._reported.wait()
            except TimeoutError:
                log.error("the courier of telemetry hangs and is ended")
                self.hung = True
                self._child.kill()
                return

    async def _read(self) -> None:
        while raw := await self._child.stdout.readline():
            self._reported.set()
            report = read_line(raw)
            if report is not None:
                with Boundary(_log_report):
                    self._outbox.acknowledged(report.get("done", ()))
                    self._on_report(report)


def _log_report(fault: BaseException) -> None:
    log.error("a report of the courier cannot be read", extra=cause_of(fault))
