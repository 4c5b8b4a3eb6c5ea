"""Starts programs beside the event loop, and follows them on it.

A loop's own `subprocess_exec` forks in the loop's thread, and a fork copies the page tables of the whole gateway: 10 to
40 ms in which all calls stand still. `subprocess.Popen` uses vfork, which copies nothing, and here it does so in a
thread of the program's own, which then waits for the program's end.
Source: CPython 3.11 to 3.13, `subprocess` (`_USE_VFORK`); uvloop 0.23.
"""

from __future__ import annotations

import asyncio
import subprocess
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TypeAlias, cast

from gateway.guard import Outcome

_READ_BYTES = 64 << 10  # of what it writes and nobody has taken yet; past twice that it has to wait

# Until the new program runs, its parent holds the interpreter; on a busy machine many at once would add up.
_ONE_AT_A_TIME = threading.Lock()

_Pipe: TypeAlias = IO[bytes]
_Process: TypeAlias = "subprocess.Popen[bytes]"


class Input(asyncio.BaseProtocol):
    """What a program reads. asyncio's own writer looks at its transport when it is collected, in any thread."""

    def __init__(self) -> None:
        self._transport: asyncio.WriteTransport | None = None  # None: it is lost
        self._free = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)
        self._free.set()

    def pause_writing(self) -> None:
        self._free.clear()

    def resume_writing(self) -> None:
        self._free.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._free.set()

    def write(self, payload: bytes) -> None:
        """Send it, as soon as the program takes it."""
        if self._transport is not None:
            self._transport.write(payload)

    async def drain(self) -> None:
        """Wait until the program has taken most of it. Raises BrokenPipeError where it takes no more."""
        await self._free.wait()
        if self._transport is None or self._transport.is_closing():
            raise BrokenPipeError

    def close(self) -> None:
        """Tell the program that nothing more comes."""
        if self._transport is not None:
            self._transport.close()


@dataclass(frozen=True, slots=True)
class Running:
    """A program that was started, and its streams; None: it has no such stream of ours."""

    process: _Process
    ended: asyncio.Event
    stdin: Input | None
    stdout: asyncio.StreamReader | None
    stderr: asyncio.StreamReader | None
    _transports: Sequence[asyncio.BaseTransport]

    @property
    def pid(self) -> int:
        """Its number, and that of its process group where it has a session of its own."""
        return self.process.pid

    @property
    def returncode(self) -> int | None:
        """Its exit code, or the negative number of the signal that ended it; None while it runs."""
        return self.process.returncode

    def kill(self) -> None:
        """End it, if it has not ended."""
        if self.process.returncode is None:
            with suppress(ProcessLookupError):
                self.process.kill()

    def close(self) -> None:
        """Let go of its streams: children of it may keep their other ends open."""
        for transport in self._transports:
            transport.close()


async def start(
    *command: str,
    stdin: int = subprocess.DEVNULL,
    stdout: int = subprocess.PIPE,
    stderr: int | None = None,
    env: Mapping[str, str],
    cwd: Path | None = None,
    own_session: bool = False,
) -> Running:
    """Start a program; raises OSError where that cannot be done. Whoever is cancelled meanwhile leaves none behind."""
    begin = partial(
        subprocess.Popen,
        command,
        bufsize=0,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        env=dict(env),
        cwd=cwd,
        start_new_session=own_session,
    )
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    started: Future[Outcome[_Process]] = Future()
    started.set_running_or_notify_cancel()  # from here on nobody can cancel it
    follow = threading.Thread(target=_follow, args=(begin, started, loop, ended), name="patchbay-program", daemon=True)
    follow.start()
    try:
        process = (await asyncio.wrap_future(started)).get()
    except asyncio.CancelledError:
        started.add_done_callback(_discard)
        raise
    return await _connected(process, ended)


def _follow(
    begin: partial[_Process], started: Future[Outcome[_Process]], loop: asyncio.AbstractEventLoop, ended: asyncio.Event
) -> None:
    """The program's thread: start it, wait for its end, and tell the loop."""
    with _ONE_AT_A_TIME:
        outcome = Outcome.of(begin)
    started.set_result(outcome)
    if outcome.value is None:
        return
    outcome.value.wait()
    with suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(ended.set)


def _discard(started: Future[Outcome[_Process]]) -> None:
    process = started.result().value
    if process is not None:
        _end(process)


def _end(process: _Process) -> None:
    with suppress(ProcessLookupError):
        process.kill()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


async def _connected(process: _Process, ended: asyncio.Event) -> Running:
    loop, transports = asyncio.get_running_loop(), list[asyncio.BaseTransport]()

    async def reader(pipe: _Pipe | None) -> asyncio.StreamReader | None:
        if pipe is None:
            return None
        read = asyncio.StreamReader(_READ_BYTES, loop)
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(read, loop=loop), pipe)
        transports.append(transport)
        return read

    async def writer(pipe: _Pipe | None) -> Input | None:
        if pipe is None:
            return None
        transport, protocol = await loop.connect_write_pipe(Input, pipe)
        transports.append(transport)
        return protocol

    try:
        stdin = await writer(process.stdin)
        stdout, stderr = await reader(process.stdout), await reader(process.stderr)
    except BaseException:
        for transport in transports:
            transport.close()
        await asyncio.sleep(0)  # these close their own pipes
        _end(process)
        raise
    return Running(process, ended, stdin, stdout, stderr, transports)
