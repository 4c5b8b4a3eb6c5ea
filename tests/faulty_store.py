"""A real store in memory that a test can break, and that tells when it was written to."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from sessions.ports import Clock
from sessions.stores.contract import Document, StoreFailed, Write
from sessions.stores.sqlite import SqliteStore


class FaultyStore(SqliteStore):
    """Fails every write while `broken`, hangs in every write while `hanging`."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(":memory:", clock, inline=True)
        self.broken = False
        self.hanging = False
        self.transactions = 0
        self.written = asyncio.Event()

    async def put_many(self, writes: Sequence[Write]) -> list[str]:
        if self.hanging:
            await asyncio.Event().wait()
        if self.broken:
            raise StoreFailed("the disk is gone")
        etags = await super().put_many(writes)
        self.transactions += 1
        self.written.set()
        return etags

    async def put(self, document: Document, if_match: str | None) -> str:
        return (await self.put_many([Write(document, if_match)]))[0]
