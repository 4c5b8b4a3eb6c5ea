"""One thread that writes what calls spool: a bounded queue of blocks, each for the files of one call's folder.

A block is written whole or not at all as far as its call can tell: when the queue is full it is refused, and when the
disk fails its folder is given up. The thread is woken for many blocks at once: each waking, and each system call, takes
the interpreter from the event loop for a moment. Files stay open until their call ends, as far as `MAX_OPEN_FILES`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import shutil
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

if sys.platform != "win32":
    import resource

QUEUE_MAX_BYTES = 64 * 1024 * 1024
GATHER_S = 0.1  # how long a block waits for company
MAX_OPEN_FILES = 1024  # what is above is opened for each block
SHARE_OF_FILES = 4  # at most one in so many of those that the process may have open: the rest is for sockets
WRITEV_MAX = 1024  # buffers in one call: IOV_MAX on Linux and macOS

log = logging.getLogger("patchbay.recording")
Payload: TypeAlias = bytes | bytearray | list[bytes]
Part: TypeAlias = tuple[str, Payload]  # a file's name in the folder, and what is added at its end


class OpenFiles:
    """How many files the sinks of one writer hold open."""

    def __init__(self, most: int | None = None) -> None:
        self.most = _most_files() if most is None else most
        self.count = 0


class Sink:
    """One call's folder; made with its first block, given up at its first failure."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.failed: str | None = None  # why, once the disk has refused a block
        self._made = False
        self._open: dict[str, int] = {}  # descriptors that are kept, by name

    def write(self, parts: Sequence[Part], files: OpenFiles | None = None) -> None:
        """Add a block at the end of the folder's files; blocks. With `files` they stay open, until `close`."""
        if self.failed is not None:
            return
        try:
            if not self._made:
                self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                self._made = True
            for name, payload in parts:
                self._append(name, payload, files)
        except OSError as error:
            self.failed = error.strerror or "the disk failed"
            log.error("a call's recording is incomplete", extra={"reason": self.failed})

    def close(self, files: OpenFiles) -> None:
        """Close the files that are kept open; a later block opens them again."""
        for descriptor in self._open.values():
            os.close(descriptor)
        files.count -= len(self._open)
        self._open.clear()

    def discard(self, files: OpenFiles) -> None:
        """Remove the folder, and take no more; blocks."""
        self.failed = "discarded"
        self.close(files)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _append(self, name: str, payload: Payload, files: OpenFiles | None) -> None:
        descriptor = self._open.get(name)
        if descriptor is not None:
            _write(descriptor, payload)
            return
        descriptor = os.open(self.folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        if files is not None and files.count < files.most:
            files.count += 1
            self._open[name] = descriptor
            _write(descriptor, payload)
            return
        try:
            _write(descriptor, payload)
        finally:
            os.close(descriptor)


def _most_files() -> int:
    if sys.platform == "win32":
        return MAX_OPEN_FILES
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_OPEN_FILES if allowed == resource.RLIM_INFINITY else min(MAX_OPEN_FILES, allowed // SHARE_OF_FILES)


def _write(descriptor: int, payload: Payload) -> None:
    """Write all of it, in as few calls as the system allows."""
    if not isinstance(payload, list):
        _write_rest(descriptor, payload, 0)
        return
    if sys.platform == "win32":
        _write_rest(descriptor, b"".join(payload), 0)
        return
    for first in range(0, len(payload), WRITEV_MAX):
        buffers = payload[first : first + WRITEV_MAX]
        written = os.writev(descriptor, buffers)
        if written < _size(buffers):
            _write_rest(descriptor, b"".join(buffers), written)


def _write_rest(descriptor: int, payload: bytes | bytearray, written: int) -> None:
    rest = memoryview(payload)[written:]
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _size(payload: Payload) -> int:
    return sum(map(len, payload)) if isinstance(payload, list) else len(payload)


@dataclass(frozen=True, slots=True)
class _Work:
    """What the thread shall do; `payload_bytes` is what it takes off the queue."""

    do: Callable[[], None]
    payload_bytes: int


class SpoolWriter:
    """Takes blocks from the event loop and writes them in order; `inline` writes at once, for virtual time."""

    def __init__(self, *, max_bytes: int = QUEUE_MAX_BYTES, inline: bool = False) -> None:
        self._max_bytes = max_bytes
        self._inline = inline
        self._files = OpenFiles()
        self._gathered: deque[_Work] = deque()
        self._timer: asyncio.TimerHandle | None = None  # until the gathered work is passed to the thread
        self._work: queue.SimpleQueue[deque[_Work] | None] = queue.SimpleQueue()
        self._taken_bytes = 0  # written by the loop's thread only
        self._done_bytes = 0  # written by the writer's thread only
        self._thread: threading.Thread | None = None
        self.refused_blocks = 0

    @property
    def pending_bytes(self) -> int:
        """How much waits for the disk."""
        return self._taken_bytes - self._done_bytes

    def start(self) -> None:
        """Start the thread."""
        if not self._inline:
            self._thread = threading.Thread(target=self._run, name="patchbay-spool-writer", daemon=True)
            self._thread.start()

    def append(self, sink: Sink, parts: Sequence[Part]) -> bool:
        """Hand over a block, whose payloads must not be changed any more. False: refused, the disk is too slow."""
        if self._inline:
            sink.write(parts)
            return True
        block_bytes = sum(_size(payload) for _, payload in parts)
        if self.pending_bytes + block_bytes > self._max_bytes:
            self.refused_blocks += 1
            return False
        self._taken_bytes += block_bytes
        self._gathered.append(_Work(partial(sink.write, parts, self._files), block_bytes))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(GATHER_S, self._pass_on)
        return True

    async def settled(self, sink: Sink | None = None) -> None:
        """Return once all that was handed over before is written, or given up; with `sink`, its files are closed."""
        await self._queued(partial(sink.close, self._files) if sink is not None else lambda: None)

    async def discard(self, sink: Sink) -> None:
        """Remove a call's folder after all that was handed over for it."""
        await self._queued(partial(sink.discard, self._files))

    async def close(self) -> None:
        """Write what waits and end the thread."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._pass_on()
            self._work.put(None)
            await asyncio.to_thread(thread.join)

    def _pass_on(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        gathered, self._gathered = self._gathered, deque()
        if gathered:
            self._work.put(gathered)

    async def _queued(self, work: Callable[[], None]) -> None:
        if self._thread is None:
            work()
            return
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()

        def settle() -> None:
            if not done.done():
                done.set_result(None)

        def run() -> None:
            work()
            with suppress(RuntimeError):  # the loop has closed meanwhile
                loop.call_soon_threadsafe(settle)

        self._gathered.append(_Work(run, 0))
        self._pass_on()
        await done

    def _run(self) -> None:
        while (gathered := self._work.get()) is not None:
            while gathered:  # what is written is let go at once, not when the next work comes
                self._do(gathered.popleft())

    def _do(self, work: _Work) -> None:
        work.do()
        self._done_bytes += work.payload_bytes
