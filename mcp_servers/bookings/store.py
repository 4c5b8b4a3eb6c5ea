"""Keeps bookings in an SQLite file. Each decision is one transaction, so that two guests never get the same table.

Several processes may share the file; a write waits for another process at most `busy_ms`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, time
from pathlib import Path

from mcp_servers.bookings.bookings import Booking

_SCHEMA = """
CREATE TABLE IF NOT EXISTS bookings (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    day TEXT NOT NULL,
    at TEXT NOT NULL,
    party_size INTEGER NOT NULL,
    name TEXT NOT NULL,
    phone TEXT NOT NULL,
    table_number INTEGER NOT NULL,
    cancelled INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS bookings_by_day ON bookings (day);
"""
_SELECT = "SELECT id, day, at, party_size, name, phone, table_number, cancelled FROM bookings"
_Row = tuple[int, str, str, int, str, str, int, int]


class BookingStore:
    """Stores all bookings, including cancelled ones; methods raise sqlite3.Error if the file cannot be used."""

    def __init__(self, path: str | Path, *, busy_ms: int = 2000) -> None:
        """Open the file, or create it with its folder; `:memory:` keeps everything in memory."""
        if str(path) != ":memory:":
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        # Autocommit: transactions are begun explicitly, because only BEGIN IMMEDIATE locks before the first read.
        self._db = sqlite3.connect(path, timeout=busy_ms / 1000, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def add(self, day: date, decide: Callable[[tuple[Booking, ...]], Booking]) -> Booking:
        """Store the booking that `decide` makes from the day's bookings. One that has an id is stored already.

        No other process can write between the reading and the storing. If `decide` raises, nothing is stored.
        """
        with self._writing():
            booking = decide(self.on(day))
            if booking.id:
                return booking
            cursor = self._db.execute(
                "INSERT INTO bookings (day, at, party_size, name, phone, table_number) VALUES (?, ?, ?, ?, ?, ?)",
                (
                    booking.day.isoformat(),
                    booking.at.isoformat("minutes"),
                    booking.party_size,
                    booking.name,
                    booking.phone,
                    booking.table,
                ),
            )
            return replace(booking, id=cursor.lastrowid or 0)

    def cancel(self, booking_id: int) -> None:
        """Mark a booking as cancelled; doing so again changes nothing."""
        with self._writing():
            self._db.execute("UPDATE bookings SET cancelled = 1 WHERE id = ?", (booking_id,))

    def get(self, booking_id: int) -> Booking | None:
        """The booking with this number, cancelled or not; None if there is none."""
        rows = self._db.execute(f"{_SELECT} WHERE id = ?", (booking_id,)).fetchall()
        return _booking(rows[0]) if rows else None

    def on(self, day: date) -> tuple[Booking, ...]:
        """All bookings of that day, including cancelled ones, in order of their times."""
        rows = self._db.execute(f"{_SELECT} WHERE day = ? ORDER BY at, id", (day.isoformat(),))
        return tuple(map(_booking, rows))

    def since(self, day: date) -> tuple[Booking, ...]:
        """All bookings from that day on that are not cancelled, in order."""
        rows = self._db.execute(f"{_SELECT} WHERE day >= ? AND cancelled = 0 ORDER BY day, at, id", (day.isoformat(),))
        return tuple(map(_booking, rows))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._db:  # commits, or rolls back after an exception
            self._db.execute("BEGIN IMMEDIATE")
            yield


def _booking(row: _Row) -> Booking:
    number, day, at, party_size, name, phone, table, cancelled = row
    return Booking(
        number, date.fromisoformat(day), time.fromisoformat(at), party_size, name, phone, table, bool(cancelled)
    )
