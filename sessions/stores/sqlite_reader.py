"""Reads the changes in a SQLite file beside the server that writes it.

The file is opened with `mode=ro`, so SQLite neither creates nor changes it, and does not remove the write-ahead log
when the connection is closed. It may make the empty files of the log, which the next server uses.
Source: sqlite.org/wal.html
"""

from __future__ import annotations

import sqlite3
from contextlib import suppress

from sessions.stores import sqlite_file, sqlite_schema
from sessions.stores.contract import PAGE_MAX, Changes
from sessions.stores.sqlite_link import identity_of


class SqliteReader:
    """Reads one SQLite file that another process writes; implements `contract.ChangeReader`. Each read blocks."""

    def __init__(self, path: str, *, busy_ms: int = sqlite_schema.BUSY_MS) -> None:
        self._path = path
        self._busy_ms = busy_ms
        self._connection: sqlite3.Connection | None = None
        self._opened: tuple[int, int] | None = None  # the identity of the opened file

    async def open(self) -> None:
        """Open the file. Raises StoreFailed if it does not exist, or was written by another version."""
        self._connected()

    async def changes(self, after: str | None, limit: int) -> Changes:
        """Read the documents that changed after a position, from the file that the path names now."""
        bounded = max(1, min(limit, PAGE_MAX))
        connection = self._connected()
        try:
            return sqlite_file.read_changes(connection, after, bounded)
        except sqlite3.Error as error:
            raise sqlite_schema.failure(self._path, error) from error

    async def close(self) -> None:
        """Close the file; harmless if it is closed already."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _connected(self) -> sqlite3.Connection:
        """The connection to the file that the path names now. Raises StoreFailed."""
        found = identity_of(self._path)
        if self._connection is None or found != self._opened:
            connection = sqlite_schema.connect_for_reading(self._path, busy_ms=self._busy_ms)
            if self._connection is not None:
                self._connection.close()
            self._connection, self._opened = connection, found
        return self._connection
