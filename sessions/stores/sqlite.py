"""The store of a single machine: one SQLite file in WAL mode, written by one thread, read by another.

`inline` runs everything on the caller's own thread, for loops whose time is not the clock's.
"""

from __future__ import annotations

from collections.abc import Sequence

from sessions.ports import Clock
from sessions.stores import sqlite_file as table
from sessions.stores.contract import PAGE_MAX, BadDocument, Document, Page, SessionKey, StoreFailed, Write
from sessions.stores.sqlite_connections import SqliteConnections


class SqliteStore:
    """Keeps documents in one SQLite file; meets `contract.Store`."""

    def __init__(self, path: str, clock: Clock, *, inline: bool = False, busy_ms: int = table.BUSY_MS) -> None:
        if path == ":memory:" and not inline:
            raise StoreFailed("a store in memory has one connection: it needs inline")
        self._clock = clock
        self._connections = SqliteConnections(path, inline=inline, busy_ms=busy_ms, now_ms=clock.now_ms)

    async def open(self) -> None:
        """Open or make the file. Raises StoreFailed, which names it."""
        await self._connections.open()

    async def put(self, document: Document, if_match: str | None) -> str:
        """Write one document; its new ETag."""
        return (await self.put_many([Write(document, if_match)]))[0]

    async def put_many(self, writes: Sequence[Write]) -> list[str]:
        """Write documents of one partition, all or none."""
        now_s = self._clock.wall_s()
        rows = [table.row_of(write.document, write.if_match, now_s) for write in writes]
        if len({(row.tenant, row.session_id) for row in rows}) > 1:
            raise BadDocument("documents written together must be of one partition")
        return await self._connections.write(lambda connection: table.write_rows(connection, rows))

    async def get(self, tenant: str, session_id: str, document_id: str) -> Document:
        """One document."""
        return await self._connections.read(
            lambda connection: table.read_one(connection, tenant, session_id, document_id)
        )

    async def query(self, tenant: str, session_id: str, document_type: str) -> list[Document]:
        """All documents of a type in a partition, by id."""
        return await self._connections.read(
            lambda connection: table.read_type(connection, tenant, session_id, document_type)
        )

    async def sessions(
        self, tenant: str, *, limit: int, after: str | None, agent: str | None = None, state: str | None = None
    ) -> Page:
        """A tenant's sessions, newest first."""
        bounded = max(1, min(limit, PAGE_MAX))
        return await self._connections.read(
            lambda connection: table.read_page(connection, tenant, bounded, after, agent, state)
        )

    async def left_live(self) -> list[Document]:
        """Sessions of every tenant that are marked live."""
        return await self._connections.read(table.read_live)

    async def delete_session(self, tenant: str, session_id: str) -> int:
        """Remove a partition."""
        return await self._connections.write(
            lambda connection: table.delete_partition(connection, tenant, session_id), scrubs=True
        )

    async def expired(self, now_s: float) -> list[SessionKey]:
        """Partitions to be forgotten."""
        return await self._connections.read(lambda connection: table.expired_partitions(connection, now_s))

    async def purge(self, now_s: float) -> int:
        """Forget what is expired."""
        return await self._connections.write(lambda connection: table.purge_expired(connection, now_s), scrubs=True)

    async def close(self) -> None:
        """Write what is queued and close the file."""
        await self._connections.close()
