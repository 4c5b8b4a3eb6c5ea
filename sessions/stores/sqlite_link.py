"""A connection to one SQLite file that notices when the file is not the one any more that it has opened.

SQLite goes on writing into a file that was deleted, as if all were well. So each write looks first. A file that was
deleted, moved or replaced (a folder that was made anew, a volume that came back) counts as lost at once, and after a
moment what is there now is opened, or made.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress

from sessions.stores import sqlite_file as table
from sessions.stores.contract import StoreFailed

WAL, SHM = "-wal", "-shm"  # what SQLite puts beside its file. Source: sqlite.org/wal.html
LEFT = ".left"
REOPEN_MS = 1_000  # somebody who moves a file about has put it back by then

log = logging.getLogger("patchbay.state")


def identity_of(path: str) -> tuple[int, int] | None:
    """Which file a path names now, by device and inode; None for none."""
    with suppress(OSError):
        found = os.stat(path)
        return found.st_dev, found.st_ino
    return None


class Link:
    """One connection. All of it blocks; it is used by one thread, except for `close`."""

    def __init__(self, path: str, busy_ms: int, now_ms: Callable[[], int]) -> None:
        self._path = path
        self._busy_ms = busy_ms
        self._now_ms = now_ms
        self._connection: sqlite3.Connection | None = None
        self._left: list[sqlite3.Connection] = []  # to files that are gone: closing one would remove the new file's log
        self._lost_ms: int | None = None
        self._log: tuple[int, int] | None = None  # which file its write-ahead log is
        self.opened: tuple[int, int] | None = None  # which file this is

    def open(self) -> None:
        """Open or make the file. Raises StoreFailed, which names it."""
        connection = table.connect(self._path, busy_ms=self._busy_ms)
        if self._connection is not None:
            self._left.append(self._connection)
        self._connection = connection
        self.opened = identity_of(self._path)
        self._lost_ms = None
        self.committed()

    def committed(self) -> None:
        """Something was written: its log is there now, if it was not before."""
        self._log = identity_of(self._path + WAL)

    def for_writing(self) -> sqlite3.Connection:
        """The connection, to the file that is there. Raises StoreFailed."""
        if self.opened is not None and identity_of(self._path) != self.opened:
            now_ms = self._now_ms()
            if self._lost_ms is None:
                self._lost_ms = now_ms
            if now_ms - self._lost_ms < REOPEN_MS:
                raise StoreFailed(f"{self._path} was deleted or moved while in use")
            self._put_log_aside()
            self.open()
            log.warning("the store's file was deleted or replaced; the one that is there now is used")
        self._lost_ms = None
        return self._there()

    def _put_log_aside(self) -> None:
        """SQLite would lay the log of the file that is gone over the one that is there now. Raises StoreFailed."""
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
        """The connection, to the file that is `written` now. Raises StoreFailed."""
        if written != self.opened and identity_of(self._path) == written:
            self.open()
        return self._there()

    def close(self) -> None:
        """Close the file; harmless when closed already."""
        for connection in (self._connection, *self._left):
            if connection is not None:
                with suppress(sqlite3.Error):
                    connection.close()
        self._connection = None
        self._left.clear()

    def _there(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StoreFailed(f"{self._path} is not open")
        return self._connection
