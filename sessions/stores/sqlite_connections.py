"""One SQLite file in use: a thread that writes, another that reads, and transactions shared by whoever waits.

Whatever writes are waiting when the writer comes round go into one transaction, so that a burst of turns costs one
commit; one that breaks takes back what it did, and the others go on. `inline` runs everything on the caller's own
thread, for loops whose time is not the clock's.
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
from sessions.stores import sqlite_file as table
from sessions.stores.contract import BadDocument, StoreFailed
from sessions.stores.sqlite_link import Link

QUEUE_MAX_WRITES = 10_000  # past that the disk is lost, and the write-behind has its own spool
BATCH_MAX_WRITES = 500  # in one transaction: bounds how long one write can wait for its commit

CLOSE_S = 10.0  # how long a disk that hangs can hold up the end of the process
# What SQLite or Python raise of what is written, and not of the file.
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


def run_batch(link: Link, path: str, works: Sequence[Work[T]]) -> list[T | VoiceError]:
    """Run writes in one transaction: each one's result, or the error that is its own. Raises StoreFailed for all."""
    connection = link.for_writing()
    try:
        if connection.in_transaction:  # one that the disk did not let end
            connection.execute("ROLLBACK")
        connection.execute("BEGIN IMMEDIATE")
        outcomes = [_alone(connection, path, work) for work in works]
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise table.failure(path, error) from error
    link.committed()
    return outcomes


def _alone(connection: sqlite3.Connection, path: str, work: Work[T]) -> T | VoiceError:
    """One write inside a transaction: its result, or the error that is its own. Raises sqlite3.Error for the file's."""
    connection.execute("SAVEPOINT alone")
    try:
        outcome: T | VoiceError = work(connection)
    except VoiceError as error:
        outcome = error
    except OF_ONE_WRITE as error:
        outcome = BadDocument(f"{path} does not take a document: {type(error).__name__}")
    except sqlite3.Error:
        raise
    except BaseException as error:  # whatever it is, the thread and the other writes live
        outcome = StoreFailed(f"{path}: a write broke: {type(error).__name__}")
    if isinstance(outcome, VoiceError):
        connection.execute("ROLLBACK TO alone")
    connection.execute("RELEASE alone")
    return outcome


def scrub(link: Link) -> None:
    """Empty the write-ahead log, which still holds what was deleted; with a reader in the way it waits for the next."""
    with suppress(sqlite3.Error, StoreFailed):
        link.for_writing().execute("PRAGMA wal_checkpoint(TRUNCATE)")


class _Writer:
    """The one thread that writes: takes all that waits, commits it together, tells everybody."""

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
        self._jobs.put(job)  # type: ignore[arg-type]  # a job's result concerns only the one who awaits it
        return await job.done

    @property
    def ended(self) -> bool:
        """Whether the thread has ended: before that its connection is in use."""
        return not self._thread.is_alive()

    def stop(self) -> None:
        """Write what is queued, then end the thread; blocks until then, but not for ever on a disk that hangs."""
        self._jobs.put(None)
        self._thread.join(CLOSE_S)
        if self._thread.is_alive():
            log.error("the store's disk hangs; what waits for it is not written", extra={"writes": self._jobs.qsize()})

    def _run(self) -> None:
        going = True
        while going:
            batch, going = self._next()
            try:
                works = [job.work for job in batch]
                outcomes = run_batch(self._link, self._path, works) if batch else []
                if any(job.scrubs for job in batch):
                    scrub(self._link)
                for job, outcome in zip(batch, outcomes, strict=True):
                    job.settle(outcome)
            except BaseException as error:  # this thread outlives whatever SQLite or the disk bring
                words = str(error) if isinstance(error, StoreFailed) else f"{self._path}: {type(error).__name__}"
                for job in batch:
                    job.settle(StoreFailed(words))

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

    def __init__(self, path: str, *, inline: bool, busy_ms: int, now_ms: Callable[[], int]) -> None:
        self._path = path
        self._inline = inline
        self._link = Link(path, busy_ms, now_ms)  # the writer's; the only one when inline
        self._reading = self._link if inline else Link(path, busy_ms, now_ms)
        self._writer: _Writer | None = None
        self._read_thread: ThreadPoolExecutor | None = None

    async def open(self) -> None:
        """Open or make the file. Raises StoreFailed, which names it."""
        if self._inline:
            self._link.open()
            return
        await asyncio.to_thread(self._link.open)
        await asyncio.to_thread(self._reading.open)
        self._read_thread = ThreadPoolExecutor(1, "patchbay-store-reader")
        self._writer = _Writer(self._link, self._path)

    async def close(self) -> None:
        """Write what is queued and close the file; harmless when closed already."""
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
        """Run `work` in a transaction and return after its commit. `scrubs`: the log must not keep what it removed."""
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
        """Run `work`, which changes nothing. Raises StoreFailed, and what `work` raises."""
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
