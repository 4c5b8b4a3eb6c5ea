"""The write-behind of session state: documents are taken at once and written to the store beside the calls.

Newer versions of a document replace older ones that still wait. What the store refuses goes into a file and from there
into the store once it answers again, so a lost store costs an alarm and no call.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, TypeVar

import orjson

from gateway.statespool import Outbox, StateSpool, key_of
from sessions.documents import SESSION_ID, SessionState
from sessions.errors import Overloaded
from sessions.ports import Clock
from sessions.stores.contract import BadDocument, Conflict, Document, Missing, SessionKey, Store, StoreFailed, Write

GATHER_S = 0.05  # how long a document waits for company; with the write itself well inside 100 ms
RETRY_MS = 5_000
WRITE_TIMEOUT_S = 10.0
PENDING_MAX_DOCUMENTS = 20_000
SPOOL_MAX_BYTES = 64 * 1024 * 1024
FORGOTTEN_MAX_SESSIONS = 10_000  # how many deleted sessions are remembered, to refuse late writes

log = logging.getLogger("patchbay.state")
T = TypeVar("T")
Batch: TypeAlias = "dict[SessionKey, dict[str, Document]]"


@dataclass(slots=True)
class KeeperCounts:
    """What went wrong so far, in documents: for metrics and the alarm."""

    spooled: int = 0
    lost: int = 0
    conflicts: int = 0


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
        self._store = store
        self._clock = clock
        self._inline = inline
        self._write_timeout_s = write_timeout_s
        self._spool = StateSpool(spool_folder, spool_max_bytes)
        self._outbox = Outbox(PENDING_MAX_DOCUMENTS)
        self._etags: dict[SessionKey, dict[str, str]] = {}
        self._forgotten: OrderedDict[SessionKey, None] = OrderedDict()
        self._wake = asyncio.Event()
        self._lock = asyncio.Lock()  # one round of writing at a time
        self._retry_at_ms: int | None = None  # while the store is lost
        self._closing = False
        self.counts = KeeperCounts()

    @property
    def healthy(self) -> bool:
        """False while the store does not take what it is given."""
        return self._retry_at_ms is None

    def save(self, document: Document) -> None:
        """Take a document's newest version; it is in the store some 60 ms later. Never blocks, never fails."""
        key = key_of(document)
        if key in self._forgotten:
            return
        if self._outbox.add(document):
            self._wake.set()
        else:
            self._lose(1, "too many documents wait for the store")

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
            await self._offload(lambda: self._spool.forget(key))

    async def _round(self, keys: list[SessionKey]) -> None:
        """Write what waits of these sessions: to the store, or while that is lost to the spool."""
        if not self.healthy and self._clock.now_ms() >= (self._retry_at_ms or 0):
            await self._drain()
        batch = self._outbox.take(keys)
        try:
            for key, refused in (await self._store_all(batch)).items():
                await self._keep_for_later(key, refused)
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
                async with asyncio.timeout(self._write_timeout_s):
                    await self._store_session(key, documents)
            except (StoreFailed, TimeoutError) as error:
                refused[key] = documents
                self._store_lost(error)

        async with asyncio.TaskGroup() as writes:
            for key, documents in batch.items():
                writes.create_task(write(key, documents))
        return refused

    async def _store_session(self, key: SessionKey, documents: dict[str, Document]) -> None:
        session = documents.get(SESSION_ID)
        known = self._etags.get(key, {})
        try:
            try:
                new = await self._store.put_many([Write(doc, known.get(name)) for name, doc in documents.items()])
            except Conflict:
                self.counts.conflicts += 1
                log.warning("a session document was changed by somebody else")
                if SESSION_ID in known:
                    await self._store.get(key.tenant, key.session_id, SESSION_ID)
                # We run the call, so ours is the truth.
                new = await self._store.put_many([Write(doc, None) for doc in documents.values()])
        except Missing:
            self._refuse(key)  # the session was deleted by another process, and stays so
            return
        except BadDocument as error:
            self._lose(len(documents), str(error))
            return
        if session is not None and session.get("state") == SessionState.ENDED:
            self._etags.pop(key, None)
        elif known or session is not None:  # a straggler after the end leaves no trace here
            self._etags[key] = {**known, **dict(zip(documents, new, strict=True))}

    async def _drain(self) -> None:
        """Try to bring the spool into the store; on success the store counts as found."""
        try:
            await self._put_unconditionally(await self._offload(self._spool.read))
            await self._offload(self._spool.clear)
        except (StoreFailed, TimeoutError) as error:
            self._store_lost(error)
        except OSError as error:
            log.error("the spool of session state cannot be read", extra={"reason": error.strerror})
            self._retry_at_ms = self._clock.now_ms() + RETRY_MS
        else:
            self._retry_at_ms = None
            log.warning("the store is back")

    async def _put_unconditionally(self, documents: Iterable[Document]) -> None:
        for document in documents:
            try:
                async with asyncio.timeout(self._write_timeout_s):
                    etag = await self._store.put(document, None)
            except BadDocument as error:
                self._lose(1, str(error))
                continue
            if etags := self._etags.get(key_of(document)):
                etags[str(document["id"])] = etag

    async def _keep_for_later(self, key: SessionKey, documents: dict[str, Document]) -> None:
        kept = list(documents.values())
        if key in self._forgotten:
            return
        try:
            await self._offload(lambda: self._spool.append(kept))
        except (OSError, Overloaded, orjson.JSONEncodeError) as error:
            self._lose(len(kept), str(error))
        else:
            self.counts.spooled += len(kept)

    def _store_lost(self, error: Exception) -> None:
        if self.healthy:
            log.error("the store is lost; state is spooled", extra={"reason": str(error) or "timed out"})
        self._retry_at_ms = self._clock.now_ms() + RETRY_MS

    def _lose(self, documents: int, reason: str) -> None:
        self.counts.lost += documents
        log.error("session documents were lost", extra={"documents": documents, "reason": reason})

    def _refuse(self, key: SessionKey) -> None:
        self._outbox.take([key])
        self._etags.pop(key, None)
        self._forgotten[key] = None
        if len(self._forgotten) > FORGOTTEN_MAX_SESSIONS:
            self._forgotten.popitem(last=False)

    async def _offload(self, work: Callable[[], T]) -> T:
        return work() if self._inline else await asyncio.to_thread(work)
