"""The booking rules: which table a party gets, or why it gets none."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_servers.bookings.bookings import (
    HARBOUR,
    Booking,
    BookingRequest,
    Hours,
    Refused,
    Restaurant,
    Table,
    alternatives,
    check,
    free_tables,
    named,
    one_to_cancel,
    place,
)

NOW = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)
DAY = date(2026, 11, 21)
SMALL = Restaurant((Table(1, 2), Table(2, 4)), (Hours(time(12), time(22)),) * 6 + (None,))


def request(
    at: time = time(19), size: int = 2, name: str = "Ada Lovelace", day: date = DAY, phone: str = ""
) -> BookingRequest:
    return BookingRequest(day, at, size, name, phone)


def booked(table: int, at: time, number: int = 1, name: str = "Bob", cancelled: bool = False) -> Booking:
    return Booking(number, DAY, at, 2, name, "", table, cancelled)


def test_a_party_gets_the_smallest_table_that_fits() -> None:
    assert place(SMALL, [], NOW, request()) == Booking(0, DAY, time(19), 2, "Ada Lovelace", "", 1)
    assert place(SMALL, [], NOW, request(size=3)).table == 2
    assert place(SMALL, [booked(1, time(19))], NOW, request()).table == 2


def test_seatings_of_one_table_may_touch_but_not_overlap() -> None:
    taken = [booked(2, time(19))]
    assert free_tables(SMALL, taken, time(17, 30), 4) == (Table(2, 4),)
    assert free_tables(SMALL, taken, time(17, 31), 4) == ()
    assert free_tables(SMALL, taken, time(20, 29), 4) == ()
    assert free_tables(SMALL, taken, time(20, 30), 4) == (Table(2, 4),)


def test_a_cancelled_booking_blocks_nothing() -> None:
    assert free_tables(SMALL, [booked(2, time(19), cancelled=True)], time(19), 4) == (Table(2, 4),)


def test_if_no_table_is_free_the_nearest_free_times_are_offered() -> None:
    with pytest.raises(Refused) as refused:
        place(SMALL, [booked(2, time(19))], NOW, request(size=4))
    assert refused.value.alternatives == (time(17), time(17, 30), time(20, 30))
    assert "no table for 4 on Saturday, 21 November at 7 pm" in refused.value.reason
    assert "5 pm, 5:30 pm or 8:30 pm" in refused.value.reason


def test_a_day_without_any_free_time_says_so() -> None:
    taken = [booked(2, time(hour, minute)) for hour in range(12, 21) for minute in (0, 30)]
    with pytest.raises(Refused, match="Nothing else is free that day") as refused:
        place(SMALL, taken, NOW, request(size=4))
    assert refused.value.alternatives == ()


def test_times_already_past_are_not_offered() -> None:
    taken = [replace(booked(2, time(18)), day=NOW.date())]
    assert alternatives(SMALL, taken, NOW, NOW.date(), time(16, 45), 4) == (time(15, 30), time(16), time(16, 30))
    assert alternatives(SMALL, [], NOW, date(2026, 11, 22), time(19), 2) == ()


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (request(size=0), "at least one guest"),
        (request(size=5), "largest table seats 4"),
        (request(at=time(11, 59)), "from noon to 8:30 pm"),
        (request(at=time(20, 31)), "from noon to 8:30 pm"),
        (request(day=date(2026, 11, 22)), "closed on Sunday"),
        (request(day=NOW.date(), at=time(14)), "2 pm today is already past"),
        (request(day=date(2026, 11, 19)), "already past"),
        (request(day=DAY + timedelta(days=181)), "180 days ahead"),
        (request(name="  "), "needs a name"),
        (request(name="x" * 81), "too long"),
        (request(phone="1" * 31), "too long"),
    ],
)
def test_a_request_against_the_rules_is_refused_with_a_reason(asked: BookingRequest, reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        place(SMALL, [], NOW, asked)


def test_the_first_and_the_last_seating_are_allowed() -> None:
    for at in (time(12), time(20, 30)):
        check(SMALL, NOW, DAY, at, 2)


def test_a_repeated_request_returns_the_existing_booking() -> None:
    first = replace(place(SMALL, [], NOW, request()), id=7)
    assert place(SMALL, [first], NOW, request(name="ada  lovelace")) is first
    assert place(SMALL, [first], NOW, request(phone="555")).id == 0
    assert place(SMALL, [replace(first, cancelled=True)], NOW, request()).id == 0


def test_bookings_are_found_by_any_word_of_a_name() -> None:
    bookings = [booked(1, time(19), 1, "Ada Lovelace"), booked(2, time(19), 2, "Adam Bell")]
    assert [one.id for one in named(bookings, "lovelace")] == [1]
    assert [one.id for one in named(bookings, "ADA")] == [1]
    assert [one.id for one in named(bookings, " ")] == [1, 2]
    assert named(bookings, "Ada Bell") == ()


def test_a_cancellation_needs_exactly_one_booking() -> None:
    first, second = booked(1, time(19), 1), booked(2, time(20), 2)
    assert one_to_cancel([first], "Bob", DAY) is first
    gone = replace(first, cancelled=True)
    assert one_to_cancel([gone, second], "Bob", DAY) is second
    assert one_to_cancel([gone], "Bob", DAY) is gone
    with pytest.raises(Refused, match="number 1 at 7 pm and number 2 at 8 pm"):
        one_to_cancel([first, second], "Bob", DAY)
    with pytest.raises(Refused, match="no booking for Bob"):
        one_to_cancel([], "Bob", DAY)


@given(st.lists(st.tuples(st.integers(0, 17 * 4), st.integers(1, 8), st.integers(0, 9)), max_size=40))
def test_no_table_is_ever_given_twice(asked: list[tuple[int, int, int]]) -> None:
    book: list[Booking] = []
    for number, (quarter, size, who) in enumerate(asked, 1):
        at = time(12 + quarter // 8, quarter % 4 * 15)
        try:
            booking = place(HARBOUR, book, NOW, request(at, size, f"guest {who}"))
        except Refused as refused:
            for free in refused.alternatives:
                assert free_tables(HARBOUR, book, free, size)
            continue
        if not booking.id:
            book.append(replace(booking, id=number))
    for one in book:
        for other in book:
            if one is not other and one.table == other.table:
                minutes = abs((one.at.hour - other.at.hour) * 60 + one.at.minute - other.at.minute)
                assert minutes >= HARBOUR.seating_min
        assert HARBOUR.tables[one.table - 1].seats >= one.party_size
