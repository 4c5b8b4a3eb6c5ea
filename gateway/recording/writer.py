"""The thread that writes the spools of calls: its bounded queue holds blocks, each for files of one call's folder.

If the queue is full, a block is refused, and its call notes that. Each wake-up of the thread and each system call takes
the interpreter lock from the event loop for a moment. Therefore the thread is woken for many blocks at once, and
pauses after a few blocks, so that a backlog behind a slow disk does not delay the calls. Files stay open until their
call ends, at most `sink.MAX_OPEN_FILES` of them.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from gateway.guard import Boundary, place_of
from gateway.recording.sink import OpenFiles, Part, Sink, size_of

QUEUE_MAX_BYTES = 64 * 1024 * 1024
GATHER_S = 0.1  # how long blocks are gathered before the thread is woken
BATCH_MAX_BLOCKS = 8  # written without a pause, in about 2 ms
PAUSE_S = 0.002
CLOSE_S = 10.0  # how long a disk that hangs can delay the end of the process

log = logging.getLogger("patchbay.recording")


@dataclass(frozen=True, slots=True)
class _Work:
    """A task for the thread; `payload_bytes` is its share of the queue's bound."""

    do: Callable[[], None]
    payload_bytes: int


class SpoolWriter:
    """Takes blocks from the event loop and writes them in order; `inline` writes at once, for tests in virtual time."""

    def __init__(
        self,
        *,
        max_bytes: int = QUEUE_MAX_BYTES,
        inline: bool = False,
        pause: Callable[[float], None] = time.sleep,
        close_s: float = CLOSE_S,
    ) -> None:
        self._max_bytes = max_bytes
        self.inline = inline
        self._pause = pause
        self._close_s = close_s
        self._files = OpenFiles()
        self._gathered: deque[_Work] = deque()
        self._timer: asyncio.TimerHandle | None = None  # until the gathered work is passed to the thread
        self._work: queue.SimpleQueue[deque[_Work] | None] = queue.SimpleQueue()
        self._taken_bytes = 0  # changed only by the loop's thread
        self._done_bytes = 0  # changed only by the writer's thread
        self._thread: threading.Thread | None = None
        self.refused_blocks = 0

    @property
    def pending_bytes(self) -> int:
        """How many bytes wait for the disk."""
        return self._taken_bytes - self._done_bytes

    def start(self) -> None:
        """Start the thread."""
        if not self.inline:
            self._thread = threading.Thread(target=self._run, name="patchbay-spool-writer", daemon=True)
            self._thread.start()

    def append(self, sink: Sink, parts: Sequence[Part]) -> bool:
        """Queue a block, whose payloads must not change any more. False if the queue is full: the disk is too slow."""
        if self.inline:
            sink.write(parts)
            return True
        block_bytes = sum(size_of(payload) for _, payload in parts)
        if self.pending_bytes + block_bytes > self._max_bytes:
            self.refused_blocks += 1
            return False
        self._taken_bytes += block_bytes
        self._gathered.append(_Work(partial(sink.write, parts, self._files), block_bytes))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(GATHER_S, self._pass_on)
        return True

    async def settled(self, sink: Sink | None = None) -> None:
        """Return once all blocks queued before are written or given up; closes the files of `sink`, if given."""
        await self._queued(partial(sink.close, self._files) if sink is not None else lambda: None)

    async def discard(self, sink: Sink) -> None:
        """Remove a call's folder, after the blocks that are queued for it."""
        await self._queued(partial(sink.discard, self._files))

    async def close(self) -> None:
        """Write what waits, and end the thread. If the disk hangs for `close_s`, the rest is lost."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._pass_on()
        self._work.put(None)
        await asyncio.to_thread(thread.join, self._close_s)
        if thread.is_alive():
            log.error("sound of recordings was lost: the disk hangs", extra={"payload_bytes": self.pending_bytes})

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
            try:
                work()
            finally:
                with suppress(RuntimeError):  # the loop has closed meanwhile
                    loop.call_soon_threadsafe(settle)

        self._gathered.append(_Work(run, 0))
        self._pass_on()
        await done

    def _run(self) -> None:
        while (gathered := self._work.get()) is not None:
            done = 0
            while gathered:  # popleft frees the memory of each block at once
                self._do(gathered.popleft())
                done += 1
                if done % BATCH_MAX_BLOCKS == 0:
                    self._pause(PAUSE_S)

    def _do(self, work: _Work) -> None:
        with Boundary(_log_fault):
            work.do()
        self._done_bytes += work.payload_bytes


def _log_fault(fault: BaseException) -> None:
    log.error("a block of a recording was lost", extra={"kind": type(fault).__name__, "place": place_of(fault)})
