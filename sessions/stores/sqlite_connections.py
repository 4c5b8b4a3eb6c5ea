"""The connections to one SQLite file: one thread writes, another reads, and waiting writes share a transaction.

All writes that are waiting when the writer takes its next batch go into one transaction, so that a burst of turns
needs one commit. A write that fails is rolled back alone, and the others go on. `inline` runs everything in the thread
of the caller, which tests in virtual time need.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from sessions.errors import VoiceError
from sessions.stores import sqlite_schema as table
from sessions.stores.contract import BadDocument, StoreFailed
from sessions.stores.sqlite_link import Link

QUEUE_MAX_WRITES = 10_000  # with more the disk counts as lost, and the write-behind uses its spool
BATCH_MAX_WRITES = 500  # in one transaction; this bounds how long a write waits for its commit

CLOSE_S = 10.0  # how long a disk that hangs can delay the end of the process
# Errors that SQLite or Python raise because of the written values, and not because of the file.
OF_ONE_WRITE = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    ValueError,
    TypeError,
    OverflowError,
)

log = logging.getLogger("patchbay.state")
T = TypeVar("T")
Work: TypeAlias = Callable[[sqlite3.Connection], T]


@dataclass(frozen=True, slots=True)
class _Job(Generic[T]):
    """A write with the future of its result. `scrubs`: the write-ahead log must not keep what the write removed."""

    work: Work[T]
    scrubs: bool
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[T]

    def settle(self, outcome: T | VoiceError) -> None:
        """Resolve the future on its own loop; does nothing if that loop is closed."""
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._settle, outcome)

    def _settle(self, outcome: T | VoiceError) -> None:
        if self.done.done():
            return
        if isinstance(outcome, VoiceError):
            self.done.set_exception(outcome)
        else:
            self.done.set_result(outcome)


def run_batch(link: Link, path: str, works: Sequence[Work[T]]) -> list[T | VoiceError]:
    """Run writes in one transaction; returns each write's result or its error. Raises StoreFailed if all fail."""
    connection = link.for_writing()
    try:
        if connection.in_transaction:  # an earlier transaction that the disk did not let end
            connection.execute("ROLLBACK")
        connection.execute("BEGIN IMMEDIATE")
        outcomes = [_run_one(connection, path, work) for work in works]
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise table.failure(path, error) from error
    link.committed()
    return outcomes


def _run_one(connection: sqlite3.Connection, path: str, work: Work[T]) -> T | VoiceError:
    """Run one write in the transaction; returns its result or its error. Raises sqlite3.Error for file faults."""
    connection.execute("SAVEPOINT one")
    try:
        outcome: T | VoiceError = work(connection)
    except VoiceError as error:
        outcome = error
    except OF_ONE_WRITE as error:
        outcome = BadDocument(f"{path} does not take a document: {type(error).__name__}")
    except sqlite3.Error:
        raise
    except BaseException as error:  # any other fault must not stop the thread or the other writes
        outcome = StoreFailed(f"{path}: a write failed with {type(error).__name__}")
    if isinstance(outcome, VoiceError):
        connection.execute("ROLLBACK TO one")
    connection.execute("RELEASE one")
    return outcome


def scrub(link: Link) -> None:
    """Empty the write-ahead log, which still holds what was deleted. A reader can delay this until the next scrub."""
    with suppress(sqlite3.Error, StoreFailed):
        link.for_writing().execute("PRAGMA wal_checkpoint(TRUNCATE)")


class _Writer:
    """Runs the thread that writes: it takes all waiting writes, commits them together and resolves their futures."""

    def __init__(self, link: Link, path: str) -> None:
        self._link = link
        self._path = path
        self._jobs: queue.SimpleQueue[_Job[object] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="patchbay-store-writer", daemon=True)
        self._thread.start()

    async def submit(self, work: Work[T], *, scrubs: bool) -> T:
        """Queue a write and wait for its commit."""
        if not self._thread.is_alive() or self._jobs.qsize() >= QUEUE_MAX_WRITES:
            raise StoreFailed(f"{self._path} does not take writes: {self._jobs.qsize()} wait")
        loop = asyncio.get_running_loop()
        job: _Job[T] = _Job(work, scrubs, loop, loop.create_future())
        self._jobs.put(job)  # type: ignore[arg-type]  # only the job itself knows the type of its result
        return await job.done

    @property
    def ended(self) -> bool:
        """Whether the thread has ended; until then its connection is in use."""
        return not self._thread.is_alive()

    def stop(self) -> None:
        """Write what is queued, then end the thread. Blocks until then, at most CLOSE_S if the disk hangs."""
        self._jobs.put(None)
        self._thread.join(CLOSE_S)
        if self._thread.is_alive():
            log.error("the store's disk hangs; what waits for it is not written", extra={"writes": self._jobs.qsize()})

    def _run(self) -> None:
        running = True
        while running:
            batch, running = self._next()
            try:
                works = [job.work for job in batch]
                outcomes = run_batch(self._link, self._path, works) if batch else []
                if any(job.scrubs for job in batch):
                    scrub(self._link)
                for job, outcome in zip(batch, outcomes, strict=True):
                    job.settle(outcome)
            except BaseException as error:  # no fault of SQLite or the disk may end this thread
                reason = str(error) if isinstance(error, StoreFailed) else f"{self._path}: {type(error).__name__}"
                for job in batch:
                    job.settle(StoreFailed(reason))

    def _next(self) -> tuple[list[_Job[object]], bool]:
        """Wait for a job and take all others that wait; the flag is False if the thread is to end after them."""
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
    """Holds the connections to one file: one writes and one reads, each in its own thread; inline, one does both."""

    def __init__(self, path: str, *, inline: bool, busy_ms: int, now_ms: Callable[[], int]) -> None:
        self._path = path
        self._inline = inline
        self._link = Link(path, busy_ms, now_ms)  # of the writer; the only one if inline
        self._reading = self._link if inline else Link(path, busy_ms, now_ms)
        self._writer: _Writer | None = None
        self._read_thread: ThreadPoolExecutor | None = None

    @property
    def replaced(self) -> int:
        """How often the file was gone, and another one was opened in its place."""
        return self._link.replaced

    async def open(self) -> None:
        """Open the file, or create it. Raises StoreFailed, which names it."""
        if self._inline:
            self._link.open()
            return
        await asyncio.to_thread(self._link.open)
        await asyncio.to_thread(self._reading.open)
        self._read_thread = ThreadPoolExecutor(1, "patchbay-store-reader")
        self._writer = _Writer(self._link, self._path)

    async def close(self) -> None:
        """Write what is queued and close the file; harmless if it is closed already."""
        writer, self._writer = self._writer, None
        read_thread, self._read_thread = self._read_thread, None
        if writer is not None:
            await asyncio.to_thread(writer.stop)
        if read_thread is not None:
            await asyncio.to_thread(read_thread.shutdown)
        self._reading.close()
        if writer is None or writer.ended:
            self._link.close()

    async def write(self, work: Work[T], *, scrubs: bool = False) -> T:
        """Run `work` in a transaction and return after the commit. `scrubs`: the log must not keep what it removed."""
        if self._writer is not None:
            return await self._writer.submit(work, scrubs=scrubs)
        if not self._inline:
            raise StoreFailed(f"{self._path} is not open")
        (outcome,) = run_batch(self._link, self._path, [work])
        if scrubs:
            scrub(self._link)
        if isinstance(outcome, VoiceError):
            raise outcome
        return outcome

    async def read(self, work: Work[T]) -> T:
        """Run `work`, which only reads. Raises StoreFailed, and what `work` raises."""
        if self._inline:
            return self._read(work)
        if self._read_thread is None:
            raise StoreFailed(f"{self._path} is not open")
        return await asyncio.get_running_loop().run_in_executor(self._read_thread, self._read, work)

    def _read(self, work: Work[T]) -> T:
        try:
            return work(self._reading.for_reading(self._link.opened))
        except sqlite3.Error as error:
            raise table.failure(self._path, error) from error
