"""A store for a single machine: one SQLite file in WAL mode, written by one thread and read by another.

`inline` runs everything in the thread of the caller, which tests in virtual time need.
"""

from __future__ import annotations

from collections.abc import Sequence

from sessions.ports import Clock
from sessions.stores import sqlite_file as table
from sessions.stores.checks import check_batch
from sessions.stores.contract import PAGE_MAX, Changes, Document, IfMatch, Page, SessionKey, StoreFailed, Write
from sessions.stores.sqlite_connections import SqliteConnections
from sessions.stores.sqlite_schema import BUSY_MS


class SqliteStore:
    """Keeps documents in one SQLite file; implements `contract.Store`."""

    def __init__(self, path: str, clock: Clock, *, inline: bool = False, busy_ms: int = BUSY_MS) -> None:
        if path == ":memory:" and not inline:
            raise StoreFailed("a store in memory can have only one connection, so it needs inline")
        self._clock = clock
        self._connections = SqliteConnections(path, inline=inline, busy_ms=busy_ms, now_ms=clock.now_ms)

    @property
    def generation(self) -> int:
        """How often the file was gone, and another one was opened in its place."""
        return self._connections.replaced

    async def open(self) -> None:
        """Open the file, or create it. Raises StoreFailed, which names it."""
        await self._connections.open()

    async def put(self, document: Document, if_match: IfMatch) -> str:
        """Write one document and return its new ETag."""
        return (await self.put_many([Write(document, if_match)]))[0]

    async def put_many(self, writes: Sequence[Write]) -> list[str]:
        """Write documents of one partition, all or none, and return their new ETags."""
        now_s = self._clock.wall_s()
        rows = [table.row_of(write.document, write.if_match, now_s) for write in writes]
        check_batch([row.document for row in rows])
        return await self._connections.write(lambda connection: table.write_rows(connection, rows))

    async def get(self, tenant: str, session_id: str, document_id: str) -> Document:
        """Read one document."""
        return await self._connections.read(
            lambda connection: table.read_one(connection, tenant, session_id, document_id)
        )

    async def query(self, tenant: str, session_id: str, document_type: str) -> list[Document]:
        """Read all documents of a type in a partition, in order of their ids."""
        return await self._connections.read(
            lambda connection: table.read_type(connection, tenant, session_id, document_type)
        )

    async def sessions(
        self, tenant: str, *, limit: int, after: str | None, agent: str | None = None, state: str | None = None
    ) -> Page:
        """Read a page of a tenant's sessions, newest first."""
        bounded = max(1, min(limit, PAGE_MAX))
        return await self._connections.read(
            lambda connection: table.read_page(connection, tenant, bounded, after, agent, state)
        )

    async def left_live(self, boot: str | None = None) -> list[Document]:
        """Read the sessions in state `live`, of all tenants, of one instance or of all."""
        return await self._connections.read(lambda connection: table.read_live(connection, boot))

    async def changes(self, after: str | None, limit: int) -> Changes:
        """Read the documents that changed after a position."""
        bounded = max(1, min(limit, PAGE_MAX))
        return await self._connections.read(lambda connection: table.read_changes(connection, after, bounded))

    async def delete_document(self, tenant: str, session_id: str, document_id: str) -> bool:
        """Remove one document; return whether there was one."""
        return await self._connections.write(
            lambda connection: table.delete_one(connection, tenant, session_id, document_id)
        )

    async def delete_session(self, tenant: str, session_id: str) -> int:
        """Remove a partition and return how many documents it held."""
        return await self._connections.write(
            lambda connection: table.delete_partition(connection, tenant, session_id), scrubs=True
        )

    async def expired(self, now_s: float) -> list[SessionKey]:
        """The partitions that have expired."""
        return await self._connections.read(lambda connection: table.expired_partitions(connection, now_s))

    async def close(self) -> None:
        """Write what is queued and close the file."""
        await self._connections.close()
