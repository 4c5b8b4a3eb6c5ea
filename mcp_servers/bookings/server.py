"""The tools of the booking server: they read what the guest said, apply the rules, store bookings and answer.

Each result has a sentence that a voice agent can say as it is, and the same facts as structured output. A refusal is a
result with `is_error` and the reason as a sentence; if ToolError were raised, the SDK would put "Error executing tool
..." in front of it. Tools are coroutines, because the SDK runs plain functions in worker threads, and the database
answers within a millisecond.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime, time
from typing import Annotated, Any

from mcp.server.mcpserver import MCPServer
from mcp_types import CallToolResult, TextContent, ToolAnnotations
from pydantic import BaseModel, BeforeValidator, Field

from mcp_servers.bookings import bookings as rules
from mcp_servers.bookings.bookings import HARBOUR, Booking, BookingRequest, Refused, Restaurant
from mcp_servers.bookings.spoken import NotUnderstood, read_date, read_number, read_time, say_date, say_time
from mcp_servers.bookings.store import BookingStore

MAX_LISTED = 20
INSTRUCTIONS = "Table bookings. Confirm day, time, party size and name with the guest before booking or cancelling."


class FreeTable(BaseModel):
    """A table that is free at the wanted time."""

    table: int
    seats: int


class Availability(BaseModel):
    """The result of `find_tables`."""

    date: str
    time: str
    party_size: int
    free: bool
    tables: list[FreeTable]
    alternatives: list[str]


class BookingOut(BaseModel):
    """A booking as clients see it, without the phone number."""

    booking_id: int
    date: str
    time: str
    party_size: int
    name: str
    table: int
    cancelled: bool


class BookingList(BaseModel):
    """The result of `list_bookings`; `total` also counts the bookings after the first twenty."""

    total: int
    bookings: list[BookingOut]


def _number_said(value: Any) -> Any:
    """Read a number in words, because models sometimes send a number as the guest said it."""
    number = read_number(value) if isinstance(value, str) else None
    return value if number is None else number


Day = Annotated[str, Field(description="An ISO date, or: today, tomorrow, a weekday, 'next friday', '27 November'")]
Time = Annotated[str, Field(description="A time such as 19:00, 7 pm, half past seven")]
PartySize = Annotated[int, BeforeValidator(_number_said), Field(description="How many guests")]
BookingId = Annotated[int, BeforeValidator(_number_said), Field(description="The booking's number; 0 if not known")]
SomeDay = Annotated[
    str, Field(description="Only this day, in the same form as `date` of the other tools; empty for all future days")
]

READS = ToolAnnotations(read_only_hint=True, idempotent_hint=True, destructive_hint=False, open_world_hint=False)
ADDS = ToolAnnotations(read_only_hint=False, idempotent_hint=True, destructive_hint=False, open_world_hint=False)
REMOVES = ToolAnnotations(read_only_hint=False, idempotent_hint=True, destructive_hint=True, open_world_hint=False)


class BookingDesk:
    """Does the work of the four tools that the MCP server offers."""

    def __init__(self, store: BookingStore, now: Callable[[], datetime], restaurant: Restaurant = HARBOUR) -> None:
        self._store = store
        self._now = now
        self._restaurant = restaurant

    def find(self, date: str, time: str, party_size: int) -> CallToolResult:
        now = self._now()
        day, at = read_date(date, now.date()), read_time(time)
        rules.check(self._restaurant, now, day, at, party_size)
        taken = self._store.on(day)
        tables = rules.free_tables(self._restaurant, taken, at, party_size)
        others = () if tables else rules.alternatives(self._restaurant, taken, now, day, at, party_size)
        sentence = (
            f"Yes, there is a table for {party_size} on {say_date(day)} at {say_time(at)}."
            if tables
            else rules.no_table(day, at, party_size, others)
        )
        facts = Availability(
            date=day.isoformat(),
            time=at.isoformat("minutes"),
            party_size=party_size,
            free=bool(tables),
            tables=[FreeTable(table=table.number, seats=table.seats) for table in tables],
            alternatives=_times(others),
        )
        return _said(sentence, facts)

    def book(self, date: str, time: str, party_size: int, name: str, phone: str) -> CallToolResult:
        now = self._now()
        request = BookingRequest(read_date(date, now.date()), read_time(time), party_size, name, phone.strip())
        booking = self._store.add(request.day, lambda taken: rules.place(self._restaurant, taken, now, request))
        return _said(f"Booked: {_phrase(booking)}. The booking number is {booking.id}.", _out(booking))

    def listing(self, date: str, name: str) -> CallToolResult:
        now = self._now()
        if date.strip():
            day = read_date(date, now.date())
            found = [booking for booking in self._store.on(day) if not booking.cancelled]
            when = f"on {say_date(day)}"
        else:
            found = list(self._store.since(now.date()))
            when = "from today on"
        matching = rules.named(found, name)
        whose = f" for {' '.join(name.split())}" if name.strip() else ""
        facts = BookingList(total=len(matching), bookings=[_out(booking) for booking in matching[:MAX_LISTED]])
        if not matching:
            return _said(f"There are no bookings{whose} {when}.", facts)
        count = "is 1 booking" if len(matching) == 1 else f"are {len(matching)} bookings"
        lines = "; ".join(f"number {booking.id}, {_phrase(booking)}" for booking in matching[:MAX_LISTED])
        more = f"; and {len(matching) - MAX_LISTED} more" if len(matching) > MAX_LISTED else ""
        return _said(f"There {count}{whose} {when}: {lines}{more}.", facts)

    def cancel(self, booking_id: int, name: str, date: str) -> CallToolResult:
        booking = self._to_cancel(booking_id, name, date)
        if booking.cancelled:
            return _said(f"Booking number {booking.id} was cancelled already.", _out(booking))
        if (booking.day, booking.at) < (self._now().date(), self._now().time()):
            raise Refused(f"Booking number {booking.id} is over, so it cannot be cancelled.")
        self._store.cancel(booking.id)
        out = _out(booking).model_copy(update={"cancelled": True})
        return _said(f"Cancelled: {_phrase(booking)}, booking number {booking.id}.", out)

    def _to_cancel(self, booking_id: int, name: str, date: str) -> Booking:
        if booking_id:
            booking = self._store.get(booking_id)
            # If a name is given too, it must match, because nothing else shows that the guest means this booking.
            if booking is None or not rules.named([booking], name):
                raise Refused(f"There is no booking number {booking_id}{f' for {name}' if name.strip() else ''}.")
            return booking
        if not name.strip() or not date.strip():
            raise Refused("To cancel, give the booking number, or the name and the day.")
        day = read_date(date, self._now().date())
        return rules.one_to_cancel(rules.named(self._store.on(day), name), name, day)


def build_server(store: BookingStore, now: Callable[[], datetime], restaurant: Restaurant = HARBOUR) -> MCPServer[Any]:
    """Build the MCP server on one store; `now` returns the restaurant's local time."""
    desk = BookingDesk(store, now, restaurant)
    server: MCPServer[Any] = MCPServer("bookings", instructions=INSTRUCTIONS, version="1", log_level="WARNING")

    @server.tool(annotations=READS)
    async def find_tables(date: Day, time: Time, party_size: PartySize) -> Annotated[CallToolResult, Availability]:
        """Look for a free table at a day and time; names other times that day if there is none."""
        return _answer(lambda: desk.find(date, time, party_size))

    @server.tool(annotations=ADDS)
    async def book_table(
        date: Day,
        time: Time,
        party_size: PartySize,
        name: Annotated[str, Field(description="The guest's name")],
        phone: Annotated[str, Field(description="The guest's phone number, if given")] = "",
    ) -> Annotated[CallToolResult, BookingOut]:
        """Book a table. Repeating the same booking returns the existing one."""
        return _answer(lambda: desk.book(date, time, party_size, name, phone))

    @server.tool(annotations=READS)
    async def list_bookings(
        date: SomeDay = "",
        name: Annotated[str, Field(description="Only bookings under this name; empty for all")] = "",
    ) -> Annotated[CallToolResult, BookingList]:
        """List bookings that are not cancelled."""
        return _answer(lambda: desk.listing(date, name))

    @server.tool(annotations=REMOVES)
    async def cancel_booking(
        booking_id: BookingId = 0,
        name: Annotated[str, Field(description="The guest's name; with `date`, instead of the number")] = "",
        date: Annotated[str, Field(description="The booking's day; with `name`, instead of the number")] = "",
    ) -> Annotated[CallToolResult, BookingOut]:
        """Cancel one booking, by its number, or by name and date."""
        return _answer(lambda: desk.cancel(booking_id, name, date))

    return server


def _answer(request: Callable[[], CallToolResult]) -> CallToolResult:
    try:
        return request()
    except Refused as refused:
        return _refusal(refused.reason, _times(refused.alternatives))
    except NotUnderstood as error:
        return _refusal(str(error), [])
    except sqlite3.OperationalError:  # locked for too long, disk full, file gone
        return _refusal("The booking book cannot be used at the moment. Please try again in a minute.", [])


def _refusal(reason: str, others: Sequence[str]) -> CallToolResult:
    facts = {"alternatives": list(others)}
    return CallToolResult(content=[TextContent(text=reason)], structured_content=facts, is_error=True)


def _said(sentence: str, facts: BaseModel) -> CallToolResult:
    return CallToolResult(content=[TextContent(text=sentence)], structured_content=facts.model_dump(mode="json"))


def _times(times: Sequence[time]) -> list[str]:
    return [at.isoformat("minutes") for at in times]


def _phrase(booking: Booking) -> str:
    guests = "1 guest" if booking.party_size == 1 else f"{booking.party_size} guests"
    return f"{booking.name}, {guests}, {say_date(booking.day)} at {say_time(booking.at)}"


def _out(booking: Booking) -> BookingOut:
    return BookingOut(
        booking_id=booking.id,
        date=booking.day.isoformat(),
        time=booking.at.isoformat("minutes"),
        party_size=booking.party_size,
        name=booking.name,
        table=booking.table,
        cancelled=booking.cancelled,
    )
