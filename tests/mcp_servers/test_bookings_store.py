"""The store of bookings: what is stored is read back, and one table is given to one guest."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, time
from pathlib import Path
from threading import Barrier

import pytest

from mcp_servers.bookings.bookings import Booking, BookingRequest, Hours, Refused, Restaurant, Table, place
from mcp_servers.bookings.store import BookingStore

NOW = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)
DAY = date(2026, 11, 21)
ONE_TABLE = Restaurant((Table(1, 2),), (Hours(time(12), time(22)),) * 7)


def asks(name: str, at: time = time(19)) -> Callable[[tuple[Booking, ...]], Booking]:
    return lambda taken: place(ONE_TABLE, taken, NOW, BookingRequest(DAY, at, 2, name, "555"))


def test_a_booking_is_read_back_as_it_was_stored(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "bookings.db"
    store = BookingStore(path)
    booking = store.add(DAY, asks("Ada"))
    assert booking == Booking(1, DAY, time(19), 2, "Ada", "555", 1)
    store.close()
    again = BookingStore(path)
    assert again.get(1) == booking
    assert again.on(DAY) == (booking,)
    assert again.since(DAY) == (booking,)
    assert again.since(date(2026, 11, 22)) == again.on(NOW.date()) == ()
    assert again.get(2) is None
    again.close()


def test_a_refusal_stores_nothing_and_frees_the_file() -> None:
    store = BookingStore(":memory:")
    store.add(DAY, asks("Ada"))
    with pytest.raises(Refused):
        store.add(DAY, asks("Bob"))
    assert [one.name for one in store.on(DAY)] == ["Ada"]
    assert store.add(DAY, asks("Bob", time(12))).id == 2
    store.close()


def test_a_repeated_booking_is_not_stored_again() -> None:
    store = BookingStore(":memory:")
    assert store.add(DAY, asks("Ada")) == store.add(DAY, asks("Ada"))
    assert len(store.on(DAY)) == 1
    store.close()


def test_a_cancelled_booking_is_kept_and_frees_its_table() -> None:
    store = BookingStore(":memory:")
    number = store.add(DAY, asks("Ada")).id
    store.cancel(number)
    store.cancel(number)
    cancelled = store.get(number)
    assert cancelled is not None
    assert cancelled.cancelled
    assert store.since(DAY) == ()
    assert store.add(DAY, asks("Bob")).id == 2
    store.close()


def test_if_several_guests_ask_at_once_one_gets_the_table(tmp_path: Path) -> None:
    guests = 6
    path = tmp_path / "bookings.db"
    BookingStore(path).close()
    at_once = Barrier(guests)

    def ask(number: int) -> str:
        store = BookingStore(path, busy_ms=10_000)  # one connection for each guest, like separate processes
        at_once.wait(timeout=5)
        try:
            store.add(DAY, asks(f"Guest {number}"))
        except Refused:
            return "refused"
        finally:
            store.close()
        return "booked"

    with ThreadPoolExecutor(guests) as threads:
        answers = sorted(threads.map(ask, range(guests)))
    assert answers == ["booked"] + ["refused"] * (guests - 1)
    store = BookingStore(path)
    assert len(store.on(DAY)) == 1
    store.close()
