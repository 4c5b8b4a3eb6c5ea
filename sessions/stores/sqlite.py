"""The store of a single machine: one SQLite file in WAL mode, written by one thread, read by another.

Whatever writes are waiting when the writer comes round go into one transaction, so that a burst of turns costs one
commit. `inline` runs everything on the caller's own thread, for loops whose time is not the clock's.
"""

from __future__ import annotations

import asyncio
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
from sessions.ports import Clock
from sessions.stores import sqlite_file as table
from sessions.stores.contract import PAGE_MAX, BadDocument, Document, Page, SessionKey, StoreFailed, Write

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


def run_batch(connection: sqlite3.Connection, path: str, works: Sequence[Work[T]]) -> list[T | VoiceError]:
    """Run writes in one transaction: each one's result, or the error that is its own. Raises StoreFailed for all."""
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


def scrub(connection: sqlite3.Connection) -> None:
    """Empty the write-ahead log, which still holds what was deleted; with a reader in the way it waits for the next."""
    with suppress(sqlite3.Error):
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


class _Writer:
    """The one thread that writes: takes all that waits, commits it together, tells everybody."""

    def __init__(self, connection: sqlite3.Connection, path: str) -> None:
        self._connection = connection
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
                outcomes = run_batch(self._connection, self._path, [job.work for job in batch]) if batch else []
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


class SqliteStore:
    """Keeps documents in one SQLite file; meets `contract.Store`."""

    def __init__(self, path: str, clock: Clock, *, inline: bool = False, busy_ms: int = table.BUSY_MS) -> None:
        if path == ":memory:" and not inline:
            raise StoreFailed("a store in memory has one connection: it needs inline")
        self._path = path
        self._clock = clock
        self._inline = inline
        self._busy_ms = busy_ms
        self._connection: sqlite3.Connection | None = None  # the writer's; the only one when inline
        self._writer: _Writer | None = None
        self._reader: sqlite3.Connection | None = None
        self._read_thread: ThreadPoolExecutor | None = None

    async def open(self) -> None:
        """Open or make the file. Raises StoreFailed, which names it."""
        connect = partial(table.connect, self._path, busy_ms=self._busy_ms)
        if self._inline:
            self._connection = connect()
            return
        self._connection = await asyncio.to_thread(connect)
        self._reader = await asyncio.to_thread(connect)
        self._read_thread = ThreadPoolExecutor(1, "patchbay-store-reader")
        self._writer = _Writer(self._connection, self._path)

    async def put(self, document: Document, if_match: str | None) -> str:
        """Write one document; its new ETag."""
        return (await self.put_many([Write(document, if_match)]))[0]

    async def put_many(self, writes: Sequence[Write]) -> list[str]:
        """Write documents of one partition, all or none."""
        now_s = self._clock.wall_s()
        rows = [table.row_of(write.document, write.if_match, now_s) for write in writes]
        if len({(row.tenant, row.session_id) for row in rows}) > 1:
            raise BadDocument("documents written together must be of one partition")
        return await self._write(lambda connection: table.write_rows(connection, rows))

    async def get(self, tenant: str, session_id: str, document_id: str) -> Document:
        """One document."""
        return await self._read(lambda connection: table.read_one(connection, tenant, session_id, document_id))

    async def query(self, tenant: str, session_id: str, document_type: str) -> list[Document]:
        """All documents of a type in a partition, by id."""
        return await self._read(lambda connection: table.read_type(connection, tenant, session_id, document_type))

    async def sessions(
        self, tenant: str, *, limit: int, after: str | None, agent: str | None = None, state: str | None = None
    ) -> Page:
        """A tenant's sessions, newest first."""
        bounded = max(1, min(limit, PAGE_MAX))
        return await self._read(lambda connection: table.read_page(connection, tenant, bounded, after, agent, state))

    async def left_live(self) -> list[Document]:
        """Sessions of every tenant that are marked live."""
        return await self._read(table.read_live)

    async def delete_session(self, tenant: str, session_id: str) -> int:
        """Remove a partition."""
        return await self._write(lambda connection: table.delete_partition(connection, tenant, session_id), scrubs=True)

    async def expired(self, now_s: float) -> list[SessionKey]:
        """Partitions to be forgotten."""
        return await self._read(lambda connection: table.expired_partitions(connection, now_s))

    async def purge(self, now_s: float) -> int:
        """Forget what is expired."""
        return await self._write(lambda connection: table.purge_expired(connection, now_s), scrubs=True)

    async def close(self) -> None:
        """Write what is queued and close the file."""
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

    async def _write(self, work: Work[T], *, scrubs: bool = False) -> T:
        if self._writer is not None:
            return await self._writer.submit(work, scrubs=scrubs)
        connection = self._open_connection()
        (outcome,) = run_batch(connection, self._path, [work])
        if scrubs:
            scrub(connection)
        if isinstance(outcome, VoiceError):
            raise outcome
        return outcome

    async def _read(self, work: Work[T]) -> T:
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
