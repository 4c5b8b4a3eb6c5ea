"""The way round a store that is lost: into a file, and from there into the store once it answers again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

import orjson

from gateway.statespool import StateSpool
from gateway.statewriter import KeeperCounts, StateWriter
from sessions.errors import Overloaded
from sessions.ports import Clock
from sessions.stores.contract import BadDocument, Document, SessionKey, StoreFailed

RETRY_MS = 5_000

log = logging.getLogger("patchbay.state")
T = TypeVar("T")


class StateDetour:
    """Knows whether the store is lost, and keeps what it cannot take; the file's work is done off the loop."""

    def __init__(self, spool: StateSpool, counts: KeeperCounts, clock: Clock, *, inline: bool) -> None:
        self._spool = spool
        self._counts = counts
        self._clock = clock
        self._inline = inline
        self._retry_at_ms: int | None = None  # while the store is lost

    @property
    def open(self) -> bool:
        """True while the store is lost."""
        return self._retry_at_ms is not None

    @property
    def retry_due(self) -> bool:
        """Whether a store that is lost should be tried again now."""
        return self._retry_at_ms is not None and self._clock.now_ms() >= self._retry_at_ms

    def store_lost(self, error: Exception) -> None:
        """The store refused a write, or let it wait too long."""
        if not self.open:
            log.error("the store is lost; state is spooled", extra={"reason": str(error) or "timed out"})
        self._retry_at_ms = self._clock.now_ms() + RETRY_MS

    async def keep(self, documents: Sequence[Document]) -> None:
        """Put documents into the file; what it cannot take is lost."""
        try:
            await self._offload(lambda: self._spool.append(documents))
        except (OSError, Overloaded, orjson.JSONEncodeError) as error:
            self._counts.lose(len(documents), str(error))
        else:
            self._counts.spooled += len(documents)

    async def bring_back(self, writer: StateWriter) -> None:
        """Try to bring the file into the store; on success the store counts as found."""
        try:
            for document in await self._offload(self._spool.read):
                try:
                    await writer.overwrite(document)
                except BadDocument as error:
                    self._counts.lose(1, str(error))
            await self._offload(self._spool.clear)
        except (StoreFailed, TimeoutError) as error:
            self.store_lost(error)
        except OSError as error:
            log.error("the spool of session state cannot be read", extra={"reason": error.strerror})
            self._retry_at_ms = self._clock.now_ms() + RETRY_MS
        else:
            self._retry_at_ms = None
            log.warning("the store is back")

    async def forget(self, key: SessionKey) -> None:
        """Drop a deleted session's documents from the file. Raises OSError."""
        await self._offload(lambda: self._spool.forget(key))

    async def _offload(self, work: Callable[[], T]) -> T:
        return work() if self._inline else await asyncio.to_thread(work)
