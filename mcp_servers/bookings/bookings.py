"""The booking rules of the restaurant: which table a party gets, or why it gets none. Pure; no MCP and no database.

A seating blocks its table for `seating_min`. Two seatings of one table may touch, but not overlap. No seating crosses
midnight, so the bookings of one day are all that a decision needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from mcp_servers.bookings.spoken import say_date, say_list, say_time

MAX_NAME_CHARS = 80
MAX_PHONE_CHARS = 30


class Refused(Exception):
    """A request was refused; `reason` may be said to the guest, `alternatives` are free times on the same day."""

    def __init__(self, reason: str, alternatives: Sequence[time] = ()) -> None:
        super().__init__(reason)
        self.reason = reason
        self.alternatives = tuple(alternatives)


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the restaurant."""

    number: int
    seats: int


@dataclass(frozen=True, slots=True)
class Hours:
    """The opening hours of a weekday; the restaurant closes before midnight."""

    opens: time
    closes: time


@dataclass(frozen=True, slots=True)
class Restaurant:
    """The tables, and the opening hours from Monday (0) to Sunday (6); None on a day when it is closed."""

    tables: tuple[Table, ...]
    week: tuple[Hours | None, ...]
    seating_min: int = 90
    horizon_days: int = 180
    step_min: int = 30  # alternatives are offered on this grid


@dataclass(frozen=True, slots=True)
class Booking:
    """One booking. `id` is 0 until it is stored."""

    id: int
    day: date
    at: time
    party_size: int
    name: str
    phone: str
    table: int
    cancelled: bool = False


@dataclass(frozen=True, slots=True)
class BookingRequest:
    """The booking that a guest asks for."""

    day: date
    at: time
    party_size: int
    name: str
    phone: str


HARBOUR = Restaurant(
    tables=tuple(Table(number, seats) for number, seats in enumerate((2, 2, 2, 4, 4, 4, 6, 8), 1)),
    week=(*(Hours(time(12), time(22)),) * 4, *(Hours(time(12), time(23)),) * 2, Hours(time(12), time(21))),
)


def _minutes(at: time) -> int:
    return at.hour * 60 + at.minute


def _at(minutes: int) -> time:
    return time(minutes // 60, minutes % 60)


def check(restaurant: Restaurant, now: datetime, day: date, at: time, party_size: int) -> None:
    """Refuse a request that fails whichever tables are free: a wrong time, too far ahead, or a wrong party size."""
    most = max(table.seats for table in restaurant.tables)
    if party_size < 1:
        raise Refused("A booking needs at least one guest. For how many people is it?")
    if party_size > most:
        raise Refused(f"Our largest table seats {most}. For {party_size} people, please ask for the manager.")
    if (day, at) < (now.date(), now.time()):
        when = "today" if day == now.date() else f"on {say_date(day)}"
        raise Refused(f"{say_time(at)} {when} is already past. Which later time would suit?")
    if day > now.date() + timedelta(days=restaurant.horizon_days):
        raise Refused(f"We take bookings up to {restaurant.horizon_days} days ahead.")
    hours = restaurant.week[day.weekday()]
    if hours is None:
        raise Refused(f"We are closed on {say_date(day)}. Which other day would suit?")
    last = _minutes(hours.closes) - restaurant.seating_min
    if not _minutes(hours.opens) <= _minutes(at) <= last:
        raise Refused(
            f"On {say_date(day)} we seat guests from {say_time(hours.opens)} to {say_time(_at(last))}, "
            f"so {say_time(at)} is not possible. Which time would suit?"
        )


def free_tables(restaurant: Restaurant, taken: Iterable[Booking], at: time, party_size: int) -> tuple[Table, ...]:
    """The tables that fit the party and are free for a whole seating, smallest first. `taken`: the day's bookings."""
    begin = _minutes(at)
    blocked = {
        booking.table
        for booking in taken
        if not booking.cancelled and abs(_minutes(booking.at) - begin) < restaurant.seating_min
    }
    fitting = (table for table in restaurant.tables if table.seats >= party_size and table.number not in blocked)
    return tuple(sorted(fitting, key=lambda table: (table.seats, table.number)))


def alternatives(
    restaurant: Restaurant, taken: Sequence[Booking], now: datetime, day: date, at: time, party_size: int, most: int = 3
) -> tuple[time, ...]:
    """The free times of that day that are nearest to the wanted time, in order; at most `most` of them."""
    hours = restaurant.week[day.weekday()]
    if hours is None:
        return ()
    last = _minutes(hours.closes) - restaurant.seating_min
    free = [
        candidate
        for candidate in map(_at, range(_minutes(hours.opens), last + 1, restaurant.step_min))
        if candidate != at
        and (day, candidate) >= (now.date(), now.time())
        and free_tables(restaurant, taken, candidate, party_size)
    ]
    nearest = sorted(free, key=lambda candidate: (abs(_minutes(candidate) - _minutes(at)), candidate))[:most]
    return tuple(sorted(nearest))


def no_table(day: date, at: time, party_size: int, others: Sequence[time]) -> str:
    """The sentence for a request without a free table."""
    full = f"We have no table for {party_size} on {say_date(day)} at {say_time(at)}."
    if not others:
        return f"{full} Nothing else is free that day; would another day suit?"
    return f"{full} Free that day: {say_list([say_time(other) for other in others], 'or')}."


def place(restaurant: Restaurant, taken: Sequence[Booking], now: datetime, request: BookingRequest) -> Booking:
    """Choose a table; returns a booking to be stored, or the existing booking if the request repeats it.

    Repeating a booking changes nothing, so a request whose answer was lost can safely be sent again. Raises Refused.
    """
    name = " ".join(request.name.split())
    if not name:
        raise Refused("A booking needs a name. Which name is it for?")
    if len(name) > MAX_NAME_CHARS or len(request.phone) > MAX_PHONE_CHARS:
        raise Refused("That name or phone number is too long.")
    check(restaurant, now, request.day, request.at, request.party_size)
    same = (request.at, request.party_size, name.casefold(), request.phone)
    for booking in taken:
        if not booking.cancelled and same == (
            booking.at,
            booking.party_size,
            booking.name.casefold(),
            booking.phone,
        ):
            return booking
    tables = free_tables(restaurant, taken, request.at, request.party_size)
    if not tables:
        others = alternatives(restaurant, taken, now, request.day, request.at, request.party_size)
        raise Refused(no_table(request.day, request.at, request.party_size, others), others)
    return Booking(0, request.day, request.at, request.party_size, name, request.phone, tables[0].number)


def named(bookings: Iterable[Booking], name: str) -> tuple[Booking, ...]:
    """The bookings whose name contains every word of `name`, in any case; all bookings for an empty name."""
    wanted = set(name.casefold().split())
    return tuple(booking for booking in bookings if wanted <= set(booking.name.casefold().split()))


def one_to_cancel(found: Sequence[Booking], name: str, day: date) -> Booking:
    """The booking to cancel; a cancelled one only if there is no other. Raises Refused for none or several."""
    live = [booking for booking in found if not booking.cancelled]
    if len(live) > 1:
        numbers = say_list([f"number {booking.id} at {say_time(booking.at)}" for booking in live])
        raise Refused(f"There are several bookings for {name} on {say_date(day)}: {numbers}. Which number is meant?")
    if live or found:
        return (live or list(found))[-1]
    raise Refused(f"There is no booking for {name} on {say_date(day)}.")
