"""One SQLite file in use: a thread that writes, another that reads, and transactions shared by whoever waits.

Whatever writes are waiting when the writer comes round go into one transaction, so that a burst of turns costs one
commit. `inline` runs everything on the caller's own thread, for loops whose time is not the clock's.
"""

from __future__ import annotations

import asyncio
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeAlias, TypeVar

from sessions.errors import VoiceError
from sessions.stores import sqlite_file as table
from sessions.stores.contract import StoreFailed

QUEUE_MAX_WRITES = 10_000  # past that the disk is lost, and the write-behind has its own spool
BATCH_MAX_WRITES = 500  # in one transaction: bounds how long one write can wait for its commit

T = TypeVar("T")
Work: TypeAlias = Callable[[sqlite3.Connection], T]


@dataclass(frozen=True, slots=True)
class _Job(Generic[T]):
    """A write that somebody awaits. `scrubs` when the log must not keep what it removed."""

    work: Work[T]
    scrubs: bool
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[T]

    def settle(self, outcome: T | VoiceError) -> None:
        """Give the outcome to the one who waits, on its own loop; a loop that has closed waits no more."""
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._settle, outcome)

    def _settle(self, outcome: T | VoiceError) -> None:
        if self.done.done():
            return
        if isinstance(outcome, VoiceError):
            self.done.set_exception(outcome)
        else:
            self.done.set_result(outcome)


def run_batch(
    connection: sqlite3.Connection, path: str, opened: tuple[int, int] | None, works: Sequence[Work[T]]
) -> list[T | VoiceError]:
    """Run writes in one transaction: each one's result, or the error that is its own. Raises StoreFailed for all."""
    check_there(path, opened)
    try:
        connection.execute("BEGIN IMMEDIATE")
        outcomes: list[T | VoiceError] = []
        for work in works:
            try:
                outcomes.append(work(connection))
            except VoiceError as error:  # raised before the work changed anything
                outcomes.append(error)
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise table.failure(path, error) from error
    return outcomes


def identity_of(path: str) -> tuple[int, int] | None:
    """Which file a path names now, by device and inode; None for none."""
    with suppress(OSError):
        found = os.stat(path)
        return found.st_dev, found.st_ino
    return None


def check_there(path: str, opened: tuple[int, int] | None) -> None:
    """SQLite goes on writing into a file that was deleted, as if all were well. Raises StoreFailed where it was."""
    if opened is not None and identity_of(path) != opened:
        raise StoreFailed(f"{path} was deleted or moved while in use; start the server again")


def scrub(connection: sqlite3.Connection) -> None:
    """Empty the write-ahead log, which still holds what was deleted; with a reader in the way it waits for the next."""
    with suppress(sqlite3.Error):
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


class _Writer:
    """The one thread that writes: takes all that waits, commits it together, tells everybody."""

    def __init__(self, connection: sqlite3.Connection, path: str, opened: tuple[int, int] | None) -> None:
        self._connection = connection
        self._path = path
        self._opened = opened
        self._jobs: queue.SimpleQueue[_Job[object] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="patchbay-store-writer", daemon=True)
        self._thread.start()

    async def submit(self, work: Work[T], *, scrubs: bool) -> T:
        """Queue a write and wait for its commit."""
        if not self._thread.is_alive() or self._jobs.qsize() >= QUEUE_MAX_WRITES:
            raise StoreFailed(f"{self._path} does not take writes: {self._jobs.qsize()} wait")
        loop = asyncio.get_running_loop()
        job: _Job[T] = _Job(work, scrubs, loop, loop.create_future())
        self._jobs.put(job)  # type: ignore[arg-type]  # a job's result concerns only the one who awaits it
        return await job.done

    def stop(self) -> None:
        """Write what is queued, then end the thread; blocks until then."""
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        going = True
        while going:
            batch, going = self._next()
            unsettled = list(batch)
            try:
                works = [job.work for job in batch]
                outcomes = run_batch(self._connection, self._path, self._opened, works) if batch else []
                if any(job.scrubs for job in batch):
                    scrub(self._connection)
                unsettled.clear()
                for job, outcome in zip(batch, outcomes, strict=True):
                    job.settle(outcome)
            except StoreFailed as failed:
                unsettled.clear()
                for job in batch:
                    job.settle(StoreFailed(str(failed)))
            finally:
                for job in unsettled:  # our own mistake ends the thread, but leaves nobody waiting
                    job.settle(StoreFailed(f"the writer of {self._path} died"))

    def _next(self) -> tuple[list[_Job[object]], bool]:
        """Wait for a job and take all that wait with it; False once the thread shall end."""
        batch: list[_Job[object]] = []
        job = self._jobs.get()
        while job is not None:
            batch.append(job)
            if len(batch) >= BATCH_MAX_WRITES:
                return batch, True
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return batch, True
        return batch, False


class SqliteConnections:
    """The connections to one file: one writes and one reads, each on its own thread; inline, one does both."""

    def __init__(self, path: str, *, inline: bool, busy_ms: int) -> None:
        self._path = path
        self._inline = inline
        self._busy_ms = busy_ms
        self._connection: sqlite3.Connection | None = None  # the writer's; the only one when inline
        self._opened: tuple[int, int] | None = None
        self._writer: _Writer | None = None
        self._reader: sqlite3.Connection | None = None
        self._read_thread: ThreadPoolExecutor | None = None

    async def open(self) -> None:
        """Open or make the file. Raises StoreFailed, which names it."""
        connect = partial(table.connect, self._path, busy_ms=self._busy_ms)
        if self._inline:
            self._connection = connect()
            self._opened = identity_of(self._path)
            return
        self._connection = await asyncio.to_thread(connect)
        self._opened = identity_of(self._path)
        self._reader = await asyncio.to_thread(connect)
        self._read_thread = ThreadPoolExecutor(1, "patchbay-store-reader")
        self._writer = _Writer(self._connection, self._path, self._opened)

    async def close(self) -> None:
        """Write what is queued and close the file; harmless when closed already."""
        writer, self._writer = self._writer, None
        read_thread, self._read_thread = self._read_thread, None
        if writer is not None:
            await asyncio.to_thread(writer.stop)
        if read_thread is not None:
            await asyncio.to_thread(read_thread.shutdown)
        for connection in (self._reader, self._connection):
            if connection is not None:
                with suppress(sqlite3.Error):
                    connection.close()
        self._reader = self._connection = None

    async def write(self, work: Work[T], *, scrubs: bool = False) -> T:
        """Run `work` in a transaction and return after its commit. `scrubs`: the log must not keep what it removed."""
        if self._writer is not None:
            return await self._writer.submit(work, scrubs=scrubs)
        connection = self._open_connection()
        (outcome,) = run_batch(connection, self._path, self._opened, [work])
        if scrubs:
            scrub(connection)
        if isinstance(outcome, VoiceError):
            raise outcome
        return outcome

    async def read(self, work: Work[T]) -> T:
        """Run `work`, which changes nothing. Raises StoreFailed, and what `work` raises."""
        connection = self._reader or self._open_connection()
        guarded = partial(_guarded, work, connection, self._path)
        if self._read_thread is None:
            return guarded()
        return await asyncio.get_running_loop().run_in_executor(self._read_thread, guarded)

    def _open_connection(self) -> sqlite3.Connection:
        if self._connection is None or not (self._inline or self._writer):
            raise StoreFailed(f"{self._path} is not open")
        return self._connection


def _guarded(work: Work[T], connection: sqlite3.Connection, path: str) -> T:
    try:
        return work(connection)
    except sqlite3.Error as error:
        raise table.failure(path, error) from error
