"""The write-behind of session state: documents are taken at once and written to the store beside the calls.

Newer versions of a document replace older ones that still wait. What the store refuses goes into a file and from there
into the store once it answers again, so a lost store costs an alarm and no call.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from gateway.statedetour import RETRY_MS, StateDetour
from gateway.statespool import Outbox, StateSpool, key_of
from gateway.statewriter import KeeperCounts, StateWriter
from sessions.ports import Clock
from sessions.stores.contract import BadDocument, Document, Missing, SessionKey, Store, StoreFailed

GATHER_S = 0.05  # how long a document waits for company; with the write itself well inside 100 ms
WRITE_TIMEOUT_S = 10.0
PENDING_MAX_DOCUMENTS = 20_000
SPOOL_MAX_BYTES = 64 * 1024 * 1024
FORGOTTEN_MAX_SESSIONS = 10_000  # how many deleted sessions are remembered, to refuse late writes

Batch: TypeAlias = "dict[SessionKey, dict[str, Document]]"


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
    ) -> None:
        self.counts = KeeperCounts()
        self._outbox = Outbox(PENDING_MAX_DOCUMENTS)
        self._writer = StateWriter(store, self.counts, write_timeout_s)
        self._detour = StateDetour(StateSpool(spool_folder, spool_max_bytes), self.counts, clock, inline=inline)
        self._forgotten: OrderedDict[SessionKey, None] = OrderedDict()
        self._wake = asyncio.Event()
        self._lock = asyncio.Lock()  # one round of writing at a time
        self._closing = False

    @property
    def healthy(self) -> bool:
        """False while the store does not take what it is given."""
        return not self._detour.open

    def save(self, document: Document) -> None:
        """Take a document's newest version; it is in the store some 60 ms later. Never blocks, never fails."""
        key = key_of(document)
        if key in self._forgotten:
            return
        if self._outbox.add(document):
            self._wake.set()
        else:
            self.counts.lose(1, "too many documents wait for the store")

    async def run(self) -> None:
        """Write until closed; one long task of the application's group."""
        while not self._closing:
            with suppress(TimeoutError):
                async with asyncio.timeout(None if self.healthy else RETRY_MS / 1000):
                    await self._wake.wait()
            await asyncio.sleep(GATHER_S)
            self._wake.clear()
            async with self._lock:
                await self._round(self._outbox.sessions())

    async def flush(self, tenant: str, session_id: str) -> None:
        """Return once all that was saved of a session is in the store, or in the spool while the store is lost."""
        async with self._lock:
            await self._round([SessionKey(tenant, session_id)])

    async def close(self) -> None:
        """Write what waits, and end `run`."""
        self._closing = True
        self._wake.set()
        async with self._lock:
            await self._round(self._outbox.sessions())

    async def forget(self, tenant: str, session_id: str) -> None:
        """Drop what waits of a session that is being deleted, and whatever still comes of it."""
        key = SessionKey(tenant, session_id)
        self._refuse(key)
        async with self._lock:
            await self._detour.forget(key)

    async def _round(self, keys: list[SessionKey]) -> None:
        """Write what waits of these sessions: to the store, or while that is lost to the spool."""
        if self._detour.retry_due:
            await self._detour.bring_back(self._writer)
        batch = self._outbox.take(keys)
        try:
            for key, refused in (await self._store_all(batch)).items():
                if key not in self._forgotten:
                    await self._detour.keep(list(refused.values()))
                del batch[key]
            batch.clear()
        finally:
            self._outbox.put_back(batch)  # not empty only if this task is cancelled meanwhile

    async def _store_all(self, batch: Batch) -> Batch:
        """Write sessions side by side, which lets the store commit them together; what it refused."""
        if not self.healthy:
            return dict(batch)
        refused: Batch = {}

        async def write(key: SessionKey, documents: dict[str, Document]) -> None:
            try:
                await self._writer.write(key, documents)
            except Missing:
                self._refuse(key)  # the session was deleted by another process, and stays so
            except BadDocument as error:
                self.counts.lose(len(documents), str(error))
            except (StoreFailed, TimeoutError) as error:
                refused[key] = documents
                self._detour.store_lost(error)

        async with asyncio.TaskGroup() as writes:
            for key, documents in batch.items():
                writes.create_task(write(key, documents))
        return refused

    def _refuse(self, key: SessionKey) -> None:
        self._outbox.take([key])
        self._writer.forget(key)
        self._forgotten[key] = None
        if len(self._forgotten) > FORGOTTEN_MAX_SESSIONS:
            self._forgotten.popitem(last=False)
