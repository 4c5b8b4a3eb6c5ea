"""One thread that writes what calls spool: a bounded queue of blocks, each for the files of one call's folder.

When the queue is full a block is refused, and its call knows. The thread is woken for many blocks at once, and rests
after a few of them: each waking, and each system call, takes the interpreter from the event loop for a moment, and
what piled up behind a slow disk must not come down on the calls in one piece. Files stay open until their call ends,
as far as `sink.MAX_OPEN_FILES`.
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
GATHER_S = 0.1  # how long a block waits for company
BATCH_MAX_BLOCKS = 8  # written without a rest: some 2 ms
REST_S = 0.002
CLOSE_S = 10.0  # how long a disk that hangs can hold up the end of the process

log = logging.getLogger("patchbay.recording")


@dataclass(frozen=True, slots=True)
class _Work:
    """What the thread shall do; `payload_bytes` is what it takes off the queue."""

    do: Callable[[], None]
    payload_bytes: int


class SpoolWriter:
    """Takes blocks from the event loop and writes them in order; `inline` writes at once, for virtual time."""

    def __init__(
        self,
        *,
        max_bytes: int = QUEUE_MAX_BYTES,
        inline: bool = False,
        rest: Callable[[float], None] = time.sleep,
        close_s: float = CLOSE_S,
    ) -> None:
        self._max_bytes = max_bytes
        self._inline = inline
        self._rest = rest
        self._close_s = close_s
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
        """Return once all that was handed over before is written, or given up; with `sink`, its files are closed."""
        await self._queued(partial(sink.close, self._files) if sink is not None else lambda: None)

    async def discard(self, sink: Sink) -> None:
        """Remove a call's folder after all that was handed over for it."""
        await self._queued(partial(sink.discard, self._files))

    async def close(self) -> None:
        """Write what waits and end the thread; what a disk that hangs has not taken after a while is lost."""
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
            while gathered:  # what is written is let go at once, not when the next work comes
                self._do(gathered.popleft())
                done += 1
                if done % BATCH_MAX_BLOCKS == 0:
                    self._rest(REST_S)

    def _do(self, work: _Work) -> None:
        with Boundary(_log_fault):
            work.do()
        self._done_bytes += work.payload_bytes


def _log_fault(fault: BaseException) -> None:
    log.error("a block of a recording was lost", extra={"kind": type(fault).__name__, "place": place_of(fault)})
