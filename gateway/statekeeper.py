"""The write-behind of session state: documents are taken at once and written to the store beside the calls.

Newer versions of a document replace older ones that still wait. What the store refuses goes into a file, and what that
cannot take waits in memory; from both it goes into the store once that answers again. So a lost store, or a disk that
is full, costs an alarm, and no call and no document.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from contextlib import suppress
from functools import partial
from pathlib import Path

from gateway.guard import Boundary, innermost, place_of
from gateway.statedetour import PIECE_DOCUMENTS, WAITING_MAX_BYTES, StateDetour
from gateway.statespool import StateSpool, key_of
from gateway.statewaiting import Batch, Outbox
from gateway.statewriter import KeeperCounts, StateWriter
from sessions.ports import Clock
from sessions.stores.contract import BadDocument, Document, Missing, SessionKey, Store

GATHER_S = 0.05  # how long a document waits for company; with the write itself well inside 100 ms
WRITE_TIMEOUT_S = 10.0
PENDING_MAX_DOCUMENTS = 20_000
SPOOL_MAX_BYTES = 64 * 1024 * 1024
FORGOTTEN_MAX_SESSIONS = 10_000  # how many deleted sessions are remembered, to refuse late writes

log = logging.getLogger("patchbay.state")


class StateKeeper:
    """Writes session documents beside the calls, in order, and never makes a call wait."""

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
    ) -> None:
        self.counts = KeeperCounts()
        self._outbox = Outbox(PENDING_MAX_DOCUMENTS)
        self._writer = StateWriter(store, self.counts, write_timeout_s)
        spool = StateSpool(spool_folder, spool_max_bytes)
        self._detour = StateDetour(spool, self.counts, clock, inline=inline, waiting_max_bytes=waiting_max_bytes)
        self._forgotten: OrderedDict[SessionKey, None] = OrderedDict()
        self._wake = asyncio.Event()
        self._lock = asyncio.Lock()  # one round of writing at a time
        self._closing = False

    @property
    def healthy(self) -> bool:
        """False while the store does not take what it is given."""
        return not self._detour.open

    @property
    def waiting(self) -> int:
        """How many documents wait in memory for a store and a disk that refuse them."""
        return self._detour.waiting

    def save(self, document: Document) -> None:
        """Take a document's newest version; it is in the store some 60 ms later. Never blocks, never fails."""
        with Boundary(self._no_document):
            if key_of(document) in self._forgotten:
                return
            if self._outbox.add(document):
                self._wake.set()
            else:
                self.counts.lose(1, "too many documents wait for the store")

    async def run(self) -> None:
        """Write until closed; one long task of the application's group."""
        while not self._closing:
            retry_in_ms = self._detour.retry_in_ms
            with suppress(TimeoutError):
                async with asyncio.timeout(None if retry_in_ms is None else retry_in_ms / 1000):
                    await self._wake.wait()
            await asyncio.sleep(GATHER_S)
            self._wake.clear()
            with Boundary(self._faulty):
                async with self._lock:
                    await self._round(self._outbox.sessions())

    async def flush(self, tenant: str, session_id: str) -> None:
        """Return once all that was saved of a session is in the store, or in the spool while the store is lost."""
        async with self._lock:
            await self._round([SessionKey(tenant, session_id)])

    async def close(self) -> None:
        """Write what waits, and end `run`; what neither store nor disk takes now is lost, and the log says so."""
        self._closing = True
        self._wake.set()
        async with self._lock:
            with Boundary(self._faulty):
                await self._round(self._outbox.sessions())
            with Boundary(self._faulty):
                await self._detour.keep([], at_once=True)
                if self._detour.waiting:
                    await self._detour.bring_back(self._writer)
            self._detour.give_up()

    async def forget(self, tenant: str, session_id: str) -> None:
        """Drop what waits of a session that is being deleted, and whatever still comes of it."""
        key = SessionKey(tenant, session_id)
        self._refuse(key)
        async with self._lock:
            await self._detour.forget(key)

    async def _round(self, keys: list[SessionKey]) -> None:
        """Write what waits of these sessions: to the store, or while that is lost round it."""
        if self._detour.retry_due:
            await self._detour.bring_back(self._writer)
        batch = self._outbox.take(keys)
        try:
            refused = await self._store_all(batch)
            kept = [document for key in refused if key not in self._forgotten for document in refused[key].values()]
            for first in range(0, len(kept), PIECE_DOCUMENTS):
                await self._detour.keep(kept[first : first + PIECE_DOCUMENTS])
            batch.clear()
        finally:
            self._outbox.put_back(batch)  # not empty only if this task is cancelled meanwhile

    async def _store_all(self, batch: Batch) -> Batch:
        """Write sessions side by side, which lets the store commit them together; what it refused."""
        if not self.healthy:
            return dict(batch)
        refused: Batch = {}
        async with asyncio.TaskGroup() as writes:
            for key, documents in batch.items():
                writes.create_task(self._store_session(key, documents, refused))
        return refused

    async def _store_session(self, key: SessionKey, documents: dict[str, Document], refused: Batch) -> None:
        faults: list[BaseException] = []
        with Boundary(faults.append):
            await self._writer.write(key, documents)
            return
        if isinstance(faults[0], Missing):
            self._refuse(key)  # the session was deleted by another process, and stays so
        elif isinstance(faults[0], BadDocument):
            for document in documents.values():  # one of them, and the others need not go with it
                with Boundary(partial(self._not_stored, key, document, refused)):
                    await self._writer.overwrite(document)
        else:
            refused[key] = documents
            self._detour.store_lost(faults[0])

    def _not_stored(self, key: SessionKey, document: Document, refused: Batch, fault: BaseException) -> None:
        if isinstance(fault, BadDocument):
            self.counts.lose(1, str(fault))
            return
        refused.setdefault(key, {})[str(document["id"])] = document
        self._detour.store_lost(fault)

    def _no_document(self, fault: BaseException) -> None:
        self.counts.lose(1, f"it is none: {type(innermost(fault)).__name__} {place_of(fault)}")

    def _faulty(self, fault: BaseException) -> None:
        fields = {"kind": type(innermost(fault)).__name__, "place": place_of(fault)}
        log.error("a round of writing session documents failed", extra=fields)

    def _refuse(self, key: SessionKey) -> None:
        self._outbox.take([key])
        self._writer.forget(key)
        self._forgotten[key] = None
        if len(self._forgotten) > FORGOTTEN_MAX_SESSIONS:
            self._forgotten.popitem(last=False)
