"""What became of one request to a receiver, and when the next may be made. Pure: times are arguments.

Source: OpenTelemetry protocol 1.9, "OTLP/HTTP response" (retryable: 429, 502, 503, 504); RFC 9110, 10.2.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum

RETRYABLE = frozenset({408, 425, 429, 500, 502, 503, 504})
DENIED_S = 300.0  # a receiver that does not know our key is not asked again for so long
RETRY_S = 1.0  # doubled after each failure
RETRY_MAX_S = 60.0
RETRY_AFTER_MAX_S = 300.0  # longer than a receiver may keep us waiting


class Result(StrEnum):
    """How a request ended."""

    TAKEN = "taken"
    LATER = "later"  # not now: the same again after a while
    DENIED = "denied"  # our key is wrong
    REFUSED = "refused"  # it does not take this, now or later


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of one request. `rejected` items of it were taken by nobody; `reason` is for the log, without words."""

    result: Result
    rejected: int = 0
    after_s: float | None = None  # the receiver's wish
    reason: str = ""


def outcome_of(status: int, headers: Mapping[str, str], now: datetime | None = None) -> Outcome:
    """The outcome of a request that was answered; what a body says is for the caller to add."""
    reason = f"HTTP {status}"
    if 200 <= status < 300:
        return Outcome(Result.TAKEN)
    if status in (401, 403):
        return Outcome(Result.DENIED, reason=reason)
    if status in RETRYABLE:
        return Outcome(Result.LATER, after_s=retry_after_s(headers.get("retry-after"), now), reason=reason)
    return Outcome(Result.REFUSED, reason=reason)


def retry_after_s(value: str | None, now: datetime | None = None) -> float | None:
    """The seconds that a `Retry-After` header asks for: a number or a date. None if there is none, or no such value."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), RETRY_AFTER_MAX_S)
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    wait_s = (date.replace(tzinfo=date.tzinfo or UTC) - (now or datetime.now(UTC))).total_seconds()
    return min(max(wait_s, 0.0), RETRY_AFTER_MAX_S)


class Pace:
    """When a receiver is tried again: after a pause that doubles, when it asks, or in five minutes if it denies us."""

    def __init__(self) -> None:
        self._pause_s = RETRY_S

    def succeeded(self) -> None:
        """The receiver has taken something."""
        self._pause_s = RETRY_S

    def wait_s(self, outcome: Outcome, jitter: float) -> float:
        """How long to wait after a request that is to be made again; `jitter` from 0 to 1 spreads the tries."""
        if outcome.result is Result.DENIED:
            return DENIED_S
        pause_s = self._pause_s
        self._pause_s = min(2 * pause_s, RETRY_MAX_S)
        if outcome.after_s is not None:
            return max(outcome.after_s, 0.1)
        return pause_s * (0.8 + 0.4 * jitter)
