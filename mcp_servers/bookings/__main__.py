"""Run the booking server: over stdio, or with `--http` over streamable HTTP at /mcp."""

from __future__ import annotations

import argparse
import os
import sqlite3
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from zoneinfo import ZoneInfoNotFoundError

from mcp_servers.bookings.clock import stopped_clock, wall_clock
from mcp_servers.bookings.server import build_server
from mcp_servers.bookings.store import BookingStore
from mcp_servers.tracing import export_traces


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until the client leaves (stdio) or a signal arrives (HTTP); returns 2 for options that cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m mcp_servers.bookings", description=__doc__)
    parser.add_argument("--db", default=os.environ.get("BOOKINGS_DB", "./data/bookings.db"), help="SQLite file")
    parser.add_argument(
        "--timezone", default=os.environ.get("BOOKINGS_TIMEZONE", ""), help="IANA name, e.g. Asia/Tokyo"
    )
    parser.add_argument(
        "--now", default=os.environ.get("BOOKINGS_NOW", ""), help="fixed ISO date and time instead of the clock"
    )
    parser.add_argument("--http", action="store_true", help="serve streamable HTTP instead of stdio")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8091)
    options = parser.parse_args(arguments)
    if not 0 <= options.port <= 65535:
        parser.error(f"argument --port: a port is a number from 0 to 65535, not {options.port}")
    try:
        now: Callable[[], datetime] = stopped_clock(options.now) if options.now else wall_clock(options.timezone)
        server = build_server(BookingStore(options.db), now)
    except (ValueError, ZoneInfoNotFoundError, OSError, sqlite3.Error) as error:
        print(f"bookings: cannot start: {error}", file=sys.stderr)  # noqa: T201 - stdout belongs to the protocol
        return 2
    export_traces("bookings")
    if options.http:
        server.run("streamable-http", host=options.host, port=options.port)
    else:
        server.run("stdio")
    return 0


if __name__ == "__main__":
    sys.exit(main())
