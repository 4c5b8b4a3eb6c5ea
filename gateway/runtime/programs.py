"""Starts programs in threads, so that the event loop is not blocked, and connects their streams to the loop.

The loop's `subprocess_exec` forks in the loop's thread, and a fork copies the page tables of the whole gateway: this
blocks all calls for 10 to 40 ms. `subprocess.Popen` uses vfork, which copies nothing. Here each program has a thread
that starts it and then waits for its end.
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

# Buffer for a program's output that has not been read yet; at twice this size the program has to wait.
_READ_BYTES = 64 << 10

# Until the new program runs, the starting thread holds the interpreter; several starts at once would add up.
_ONE_AT_A_TIME = threading.Lock()

_Pipe: TypeAlias = IO[bytes]
_Process: TypeAlias = "subprocess.Popen[bytes]"


class Input(asyncio.BaseProtocol):
    """A program's standard input.

    `asyncio.StreamWriter` is not used: its finalizer touches the transport, and may run in any thread.
    """

    def __init__(self) -> None:
        self._transport: asyncio.WriteTransport | None = None  # None: not connected, or lost
        self._writable = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)
        self._writable.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._writable.set()

    def write(self, payload: bytes) -> None:
        """Send `payload` as soon as the program takes it."""
        if self._transport is not None:
            self._transport.write(payload)

    async def drain(self) -> None:
        """Wait until the program has taken most of the data. Raises BrokenPipeError if it takes no more."""
        await self._writable.wait()
        if self._transport is None or self._transport.is_closing():
            raise BrokenPipeError

    def close(self) -> None:
        """Close the stream, so that the program sees its end."""
        if self._transport is not None:
            self._transport.close()


@dataclass(frozen=True, slots=True)
class Running:
    """A program that was started, and its streams; a stream is None if it is not a pipe to this process."""

    process: _Process
    ended: asyncio.Event
    stdin: Input | None
    stdout: asyncio.StreamReader | None
    stderr: asyncio.StreamReader | None
    _transports: Sequence[asyncio.BaseTransport]

    @property
    def pid(self) -> int:
        """Its process id; also that of its process group if it was started with `own_session`."""
        return self.process.pid

    @property
    def returncode(self) -> int | None:
        """Its exit code, or the negative signal number that ended it; None while it runs."""
        return self.process.returncode

    def kill(self) -> None:
        """Kill it if it still runs."""
        if self.process.returncode is None:
            with suppress(ProcessLookupError):
                self.process.kill()

    def close(self) -> None:
        """Close its streams, because its child processes may keep the other ends open."""
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
    """Start a program. Raises OSError if that fails. If this is cancelled meanwhile, the program is killed."""
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
    started.set_running_or_notify_cancel()  # from here on it cannot be cancelled
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
    """Runs in the program's thread: start it, wait for its end, and notify the loop."""
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
        await asyncio.sleep(0)  # in this turn of the loop the transports close their pipes
        _end(process)
        raise
    return Running(process, ended, stdin, stdout, stderr, transports)
