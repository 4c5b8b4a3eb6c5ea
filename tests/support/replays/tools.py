"""The tool servers of the replays, in this process: the bookings, and a kitchen in which things go wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from datetime import date, datetime, time
from typing import Any

from mcp.server.mcpserver import MCPServer
from mcp_types import CallToolResult, TextContent

import gateway.tools.mcp_sdk  # noqa: F401 - imported here, as the pool would import it in a thread
from gateway.tools.config import InProcessServer
from gateway.tools.link import LinkTimes
from gateway.tools.pool import McpPool
from mcp_servers.bookings.bookings import Booking
from mcp_servers.bookings.server import build_server
from mcp_servers.bookings.store import BookingStore

TIMES = LinkTimes(connect_ms=2000, goodbye_ms=200, first_retry_ms=1, settle_ms=1)
SLOW_S = 2.5


def kitchen() -> MCPServer[Any]:
    """Tools that refuse, hang, fail, or take their time."""
    server: MCPServer[Any] = MCPServer("kitchen", log_level="CRITICAL")

    @server.tool()
    async def todays_dish() -> CallToolResult:
        """The dish of the day."""
        return CallToolResult(content=[TextContent(text="The menu is not written yet.")], is_error=True)

    @server.tool()
    async def wine_cellar(wine: str) -> str:
        """Whether a wine is there."""
        await asyncio.Event().wait()
        return ""

    @server.tool()
    async def order_cake(name: str) -> str:
        """Order a birthday cake."""
        done: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(SLOW_S, done.set_result, f"A cake for {name} is ordered.")
        return await done

    @server.tool()
    async def oven() -> str:
        """How hot the oven is."""
        raise KeyError("not for anybody's ears")

    return server


def tool_pool(store: BookingStore, now: Callable[[], datetime]) -> McpPool:
    """A pool with both servers. `now` returns the restaurant's local time."""
    servers = {"bookings": build_server(store, now), "kitchen": kitchen()}
    return McpPool({label: InProcessServer(label, server) for label, server in servers.items()}, times=TIMES)


def fill(store: BookingStore, given: Iterable[Mapping[str, Any]]) -> None:
    """Add bookings that exist before the call, in order."""
    for number, wanted in enumerate(given, start=1):
        booking = Booking(
            id=0,
            day=date.fromisoformat(wanted["day"]),
            at=time.fromisoformat(wanted["at"]),
            party_size=wanted["party_size"],
            name=wanted["name"],
            phone=wanted.get("phone", ""),
            table=wanted["table"],
        )
        made = store.add(booking.day, lambda taken, booking=booking: booking)  # type: ignore[misc]
        assert made.id == number


def all_bookings(store: BookingStore) -> list[dict[str, Any]]:
    """Every booking as plain values, in the order of booking."""
    found = []
    number = 1
    while (booking := store.get(number)) is not None:
        plain = asdict(booking)
        plain["day"], plain["at"] = booking.day.isoformat(), booking.at.isoformat("minutes")
        found.append(plain)
        number += 1
    return found
