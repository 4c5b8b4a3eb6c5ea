"""A connection to one SQLite file that notices when the file was deleted, moved or replaced.

SQLite goes on writing to a file that was deleted, without an error. Therefore each write first checks whether the path
still names the opened file. If it does not (a folder was made again, a volume was mounted again), the store counts as
lost at once. After REOPEN_MS the file that is there now is opened, or a new one is created.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress

from sessions.stores import sqlite_schema as table
from sessions.stores.contract import StoreFailed

WAL, SHM = "-wal", "-shm"  # the suffixes of SQLite's files beside the database. Source: sqlite.org/wal.html
LEFT = ".left"
REOPEN_MS = 1_000  # a file that is moved only for a moment is back by then

log = logging.getLogger("patchbay.state")


def identity_of(path: str) -> tuple[int, int] | None:
    """The file that a path names now, as device and inode; None if there is none."""
    with suppress(OSError):
        found = os.stat(path)
        return found.st_dev, found.st_ino
    return None


class Link:
    """Holds one connection. All methods block; one thread uses them, except for `close`."""

    def __init__(self, path: str, busy_ms: int, now_ms: Callable[[], int]) -> None:
        self._path = path
        self._busy_ms = busy_ms
        self._now_ms = now_ms
        self._connection: sqlite3.Connection | None = None
        # Connections to files that are gone. They stay open, because closing one would remove the log of the new file.
        self._stale: list[sqlite3.Connection] = []
        self._lost_ms: int | None = None
        self._log: tuple[int, int] | None = None  # the identity of its write-ahead log
        self.opened: tuple[int, int] | None = None  # the identity of the opened file
        self.replaced = 0  # how often another file was opened, because the former one was gone

    def open(self) -> None:
        """Open the file, or create it. Raises StoreFailed, which names it."""
        connection = table.connect(self._path, busy_ms=self._busy_ms)
        if self._connection is not None:
            self._stale.append(self._connection)
        self._connection = connection
        self.opened = identity_of(self._path)
        self._lost_ms = None
        self.committed()

    def committed(self) -> None:
        """Note the identity of the write-ahead log, which exists at the latest after the first write."""
        self._log = identity_of(self._path + WAL)

    def for_writing(self) -> sqlite3.Connection:
        """The connection for writing, after a check that the path still names its file. Raises StoreFailed."""
        if self.opened is not None and identity_of(self._path) != self.opened:
            now_ms = self._now_ms()
            if self._lost_ms is None:
                self._lost_ms = now_ms
            if now_ms - self._lost_ms < REOPEN_MS:
                raise StoreFailed(f"{self._path} was deleted or moved while in use")
            self._put_log_aside()
            self.open()
            self.replaced += 1
            log.warning("the store's file was deleted or replaced; the one that is there now is used")
        self._lost_ms = None
        return self._open_connection()

    def _put_log_aside(self) -> None:
        """Rename the log of the lost file; otherwise SQLite would apply it to the new file. Raises StoreFailed."""
        if self._log is None or identity_of(self._path + WAL) != self._log:
            return
        try:
            os.replace(self._path + WAL, self._path + WAL + LEFT)
            with suppress(FileNotFoundError):
                os.remove(self._path + SHM)
        except OSError as error:
            raise StoreFailed(f"{self._path}{WAL} cannot be put aside: {error.strerror}") from error
        log.warning("the log of the store's lost file is put aside", extra={"place": self._path + WAL + LEFT})

    def for_reading(self, written: tuple[int, int] | None) -> sqlite3.Connection:
        """The connection for reading the file that the writer has opened, `written`. Raises StoreFailed."""
        if written != self.opened and identity_of(self._path) == written:
            self.open()
        return self._open_connection()

    def close(self) -> None:
        """Close the file; harmless if it is closed already."""
        for connection in (self._connection, *self._stale):
            if connection is not None:
                with suppress(sqlite3.Error):
                    connection.close()
        self._connection = None
        self._stale.clear()

    def _open_connection(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StoreFailed(f"{self._path} is not open")
        return self._connection
