"""The restaurant's wall clock: the only module of this server that reads the time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo


def wall_clock(timezone: str = "") -> Callable[[], datetime]:
    """Local time in an IANA zone, or in the machine's zone for `""`. Raises ZoneInfoNotFoundError."""
    zone = ZoneInfo(timezone) if timezone else None
    return lambda: datetime.now(tz=UTC).astimezone(zone)


def stopped_clock(text: str) -> Callable[[], datetime]:
    """A clock that always returns the given ISO date and time, for demonstrations and tests. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    return lambda: moment
