"""The write-behind of session state: a call hands over its documents at once, and a task writes them to the store.

A newer version of a document replaces an older one that still waits. A store that is busy is left alone for as long as
it asks, and the documents wait for it here. Documents that a lost store refuses go into a file, and those that the file
cannot take wait in memory. From both they are written to the store once it answers again. So a lost store or a full
disk causes an error in the log, but ends no call and loses no document.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from gateway.guard import Boundary, cause_of, innermost, place_of
from gateway.state.busy import BusyStore
from gateway.state.keeper import WAITING_MAX_BYTES, DocumentKeeper
from gateway.state.kept import key_of
from gateway.state.outage import StoreOutage
from gateway.state.replay import BATCH_DOCUMENTS, for_each
from gateway.state.report import StoreReport
from gateway.state.spool import StateSpool
from gateway.state.waiting import Batch, Outbox
from gateway.state.writer import StateWriter, WriteCounts
from sessions.ports import Clock
from sessions.stores.contract import BadDocument, Document, SessionKey, Store, StoreBusy

GATHER_S = 0.05  # how long documents are gathered before a write; gathering and writing take less than 100 ms
WRITE_TIMEOUT_S = 10.0
PENDING_MAX_DOCUMENTS = 20_000
# Each request takes about a millisecond of the loop. A store that takes 100 ms for a write still takes 160 in a second.
SESSIONS_AT_ONCE = 16
SPOOL_MAX_BYTES = 64 * 1024 * 1024
CLOSE_WAIT_MS = 2_000  # for a busy store, before the documents that wait for it are spooled
CLOSE_RESTORE_S = 10.0  # how long a server that ends goes on writing what was kept
FLUSH_POLL_MS = 250  # how often a flush looks whether the session that waits for a busy store was written

log = logging.getLogger("patchbay.state")


class WriteBehind:
    """Writes session documents to the store, in order, and never makes a call wait."""

    def __init__(
        self,
        store: Store,
        spool_folder: Path,
        clock: Clock,
        *,
        inline: bool = False,
        write_timeout_s: float = WRITE_TIMEOUT_S,
        spool_max_bytes: int = SPOOL_MAX_BYTES,
        waiting_max_bytes: int = WAITING_MAX_BYTES,
        boot: str | None = None,
        on_fenced: Callable[[SessionKey], None] | None = None,
        on_deleted: Callable[[SessionKey], None] | None = None,
        on_written: Callable[[float, str], None] | None = None,
    ) -> None:
        """`boot` is this instance; `on_fenced`, `on_deleted` and `on_written` are called as `StateWriter` says."""
        self.counts = WriteCounts()
        self._outbox = Outbox(PENDING_MAX_DOCUMENTS)
        self._clock = clock
        self._writer = StateWriter(
            store,
            self.counts,
            write_timeout_s,
            boot=boot,
            on_fenced=on_fenced,
            on_deleted=on_deleted,
            on_written=on_written,
        )
        self._busy = BusyStore(clock)
        self._kept = DocumentKeeper(
            StateSpool(spool_folder, spool_max_bytes),
            self.counts,
            clock,
            inline=inline,
            waiting_max_bytes=waiting_max_bytes,
        )
        self._outage = StoreOutage(self._kept, self.counts, clock, self._busy)
        self.report = StoreReport(self._outage, self._busy, self.counts)
        self._wake = asyncio.Event()
        self._lock = asyncio.Lock()  # one round of writing at a time
        self._closing = False

    def not_opened(self, fault: BaseException) -> None:
        """Spool what comes, without a try to write it: the server starts without its store. Ends with `opened`."""
        self._outage.not_opened(fault)

    def opened(self) -> None:
        """Begin to write what was spooled, because the store has been opened."""
        self._outage.opened()
        self._wake.set()

    def save(self, document: Document) -> None:
        """Accept a document's newest version, which a healthy store has about 60 ms later. Never blocks or raises."""
        with Boundary(self._not_a_document):
            if self._writer.refuses(key_of(document)):
                return
            if self._outbox.add(document):
                self._wake.set()
            else:
                self.counts.lose(1, "too many documents wait for the store")

    def hold(self, session: Document) -> None:
        """Note a session that this process has taken: its document as stored, with its `etag`. Raises BadDocument."""
        self._writer.hold(session)

    async def run(self) -> None:
        """Write until `close`. The application runs this as a task for its whole life."""
        while not self._closing:
            await self._wait(self._outage.wake_in_ms)
            while self._pause_ms:
                self._wake.clear()
                await self._wait(self._pause_ms)
            await asyncio.sleep(GATHER_S)
            if self._closing:
                return  # `close` writes the rest
            self._wake.clear()
            with Boundary(_log_faulty):
                async with self._lock:
                    await self._round(self._outbox.sessions())

    async def _wait(self, limit_ms: int | None) -> None:
        """Wait until a document comes or the server ends; at most `limit_ms`, or without a limit if it is None."""
        with suppress(TimeoutError):
            async with asyncio.timeout(None if limit_ms is None else limit_ms / 1000):
                await self._wake.wait()

    @property
    def _pause_ms(self) -> int:
        """How long a busy store is still to be left alone; 0 if it is to be tried now, or if it counts as lost."""
        hurry = self._closing or self._outbox.crowded or self._outage.lost
        return 0 if hurry else self._busy.wait_ms

    async def flush(self, tenant: str, session_id: str) -> None:
        """Return once all saved documents of a session are in the store, or in the spool while the store is lost.

        It waits for a busy store, until that counts as lost.
        """
        key = SessionKey(tenant, session_id)
        while True:
            async with self._lock:
                await self._round([key])
            if not self._outbox.holds(key):
                return
            await asyncio.sleep(min(max(self._pause_ms, 1), FLUSH_POLL_MS) / 1000)

    async def close(self) -> None:
        """Write what waits, and end `run`. Documents that neither store nor disk takes now are lost and logged."""
        pause_ms = min(self._pause_ms, CLOSE_WAIT_MS)
        self._closing = True
        self._wake.set()
        await asyncio.sleep(pause_ms / 1000)
        async with self._lock:
            with Boundary(_log_faulty):
                await self._round(self._outbox.sessions())
            with Boundary(_log_faulty):
                await self._kept.keep([], at_once=True)
                if self._kept.waiting or (self._outage.open and not self._outage.lost):
                    with suppress(TimeoutError):
                        async with asyncio.timeout(CLOSE_RESTORE_S):
                            await self._outage.restore(self._writer)
            self._kept.give_up()

    async def forget(self, tenant: str, session_id: str) -> None:
        """Drop the waiting documents of a session that is being deleted, and refuse later ones."""
        key = SessionKey(tenant, session_id)
        self._outbox.take([key])
        self._writer.refuse(key)
        async with self._lock:
            await self._outage.forget(key)

    async def _round(self, keys: list[SessionKey]) -> None:
        """Write the waiting documents of these sessions: to the store, or to the spool while the store is lost.

        What a busy store refuses goes back to the outbox, and a store that asked for time is not tried before. Once a
        lost store is back, one batch of what was kept is written too.
        """
        if self._pause_ms:
            self._wake.set()
            return
        urgent = self._closing or self._outbox.crowded
        batch = self._outbox.take(keys)
        try:
            if self._outage.retry_due:
                await self._restore_some(batch)
                if self._pause_ms:
                    return
            refused = await self._store_all(batch)
            refused = {key: documents for key, documents in refused.items() if not self._writer.refuses(key)}
            if refused and not self._outage.lost and not self._counts_as_lost(urgent=urgent):
                batch = refused
                return
            await self._keep(refused)
            batch = {}
        finally:
            self._outbox.put_back(batch)  # empty, unless the store is busy or this task was cancelled
            if batch:
                self._wake.set()

    async def _restore_some(self, batch: Batch) -> None:
        """Write one batch of what was kept, together with the newer documents of the same sessions in `batch`.

        These go through the spool: so it holds the newest version of all that it holds, also for the next start.
        """
        newer = {key: documents for key, documents in batch.items() if self._outage.holds(key)}
        await self._keep(newer)
        for key in newer:
            del batch[key]
        await self._outage.restore_some(self._writer, newer)

    async def _keep(self, batch: Batch) -> None:
        """Keep documents beside the store; also those that wait in memory, if the disk takes them now."""
        now_ms = self._clock.now_ms()
        kept = [one for key, documents in batch.items() for one in self._writer.keep(key, documents, now_ms)]
        if self._kept.waiting and not kept:
            await self._kept.keep([])
        for first in range(0, len(kept), BATCH_DOCUMENTS):
            await self._kept.keep(kept[first : first + BATCH_DOCUMENTS])

    def _counts_as_lost(self, *, urgent: bool) -> bool:
        """Decide whether a store that is busy counts as lost: if it has been busy for too long, or nothing can wait."""
        if self._busy.answer is None or not (urgent or self._busy.too_long):
            return False
        self._outage.store_lost(self._busy.answer)
        self._busy.ended()
        return True

    async def _store_all(self, batch: Batch) -> Batch:
        """Write some sessions at once, so that the store can commit them together; return the refused documents."""
        refused: Batch = {}

        async def store(key: SessionKey, documents: dict[str, Document]) -> None:
            if self._outage.lost:
                refused[key] = documents
            else:
                await self._store_session(key, documents, refused)

        await for_each(batch, SESSIONS_AT_ONCE, store)
        return refused

    async def _store_session(self, key: SessionKey, documents: dict[str, Document], refused: Batch) -> None:
        faults: list[BaseException] = []
        with Boundary(faults.append):
            await self._writer.write(key, documents)
            self._busy.succeeded()
            return
        if isinstance(faults[0], BadDocument):
            for document in documents.values():  # one of them is at fault; the others are written alone
                with Boundary(partial(self._not_stored, key, document, refused)):
                    await self._writer.write_one(document)
                    self._busy.succeeded()
        else:
            refused[key] = documents
            self._refused(faults[0])

    def _not_stored(self, key: SessionKey, document: Document, refused: Batch, fault: BaseException) -> None:
        if isinstance(fault, BadDocument):
            self.counts.lose(1, str(fault))
            return
        refused.setdefault(key, {})[str(document["id"])] = document
        self._refused(fault)

    def _refused(self, fault: BaseException) -> None:
        if isinstance(fault, StoreBusy):
            self._busy.refused(fault)
        else:
            self._outage.store_lost(fault)

    def _not_a_document(self, fault: BaseException) -> None:
        self.counts.lose(1, f"it is not a document: {type(innermost(fault)).__name__} {place_of(fault)}")


def _log_faulty(fault: BaseException) -> None:
    log.error("a round of writing session documents failed", extra=cause_of(fault))
