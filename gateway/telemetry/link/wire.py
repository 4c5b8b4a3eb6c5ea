"""What server and courier write to each other: one JSON object a line, in both directions.

The server begins with `hello`, the courier's whole configuration. Each later line has a number `n`, which the courier
returns once every destination has what was in the line, or has given it up. A courier whose input ends without `end`
knows that its server has died.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson

MAX_LINE_BYTES = 32 * 1024 * 1024  # a document has 1.8 MB at most, the figures of a large server a few
MAX_REPORT_NUMBERS = 2_000  # in one line, which the server reads with a limit of 64 KiB
REPORT_EVERY_S = 0.5
ALIVE_EVERY_S = 2.0  # a report at least so often, so that the server sees a courier that hangs
# How long the courier has to empty its queues once its input has ended, and how long the server waits for that.
EMPTY_S = 5.0
LEAVE_S = EMPTY_S + 2.0

HELLO, DOCUMENT, SENT, LOG, FIGURES, END = "hello", "doc", "sent", "log", "figures", "end"
SCORE, SOUND = "score", "sound"


class TelemetryFigures(Protocol):
    """Counts what becomes of telemetry."""

    def telemetry_items(self, signal: str, destination: str, outcome: str, n: int, /) -> None:
        """Count items (spans, log lines, sets of figures) with which a destination is done."""
        ...

    def telemetry_dropped(self, signal: str, why: str, n: int, /) -> None:
        """Count items that no destination will get."""
        ...

    def telemetry_up(self, destination: str, up: bool, /) -> None:
        """Note whether a destination takes what it is sent."""
        ...


class NoFigures:
    """Counts nothing."""

    def telemetry_items(self, signal: str, destination: str, outcome: str, n: int, /) -> None:
        """Count nothing."""

    def telemetry_dropped(self, signal: str, why: str, n: int, /) -> None:
        """Count nothing."""

    def telemetry_up(self, destination: str, up: bool, /) -> None:
        """Note nothing."""


def line(kind: str, number: int, value: object, **more: object) -> bytes:
    """One line for the courier."""
    return orjson.dumps({"k": kind, "n": number, "d": value, **more}, default=str) + b"\n"


def read_line(raw: bytes) -> dict[str, Any] | None:
    """A line as an object; None if it is none, as the last line of a server that was killed may be."""
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None


@dataclass(slots=True)
class Report:
    """What the courier tells the server: acknowledged numbers, counts since the last report, and who is up."""

    done: list[int] = field(default_factory=list)
    items: dict[tuple[str, str, str], int] = field(default_factory=dict)  # by signal, destination and outcome
    dropped: dict[tuple[str, str], int] = field(default_factory=dict)  # by signal and cause
    up: dict[str, bool] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.done or self.items or self.dropped or self.up)

    def telemetry_items(self, signal: str, destination: str, outcome: str, n: int, /) -> None:
        """Count items with which a destination is done."""
        key = (signal, destination, outcome)
        self.items[key] = self.items.get(key, 0) + n

    def telemetry_dropped(self, signal: str, why: str, n: int, /) -> None:
        """Count items that no destination will get."""
        self.dropped[signal, why] = self.dropped.get((signal, why), 0) + n

    def telemetry_up(self, destination: str, up: bool, /) -> None:
        """Note whether a destination takes what it is sent."""
        self.up[destination] = up

    def lines(self) -> Iterator[bytes]:
        """It as lines for the server; one at least, as a sign of life."""
        first: dict[str, object] = {
            "items": [[*key, count] for key, count in self.items.items()],
            "dropped": [[*key, count] for key, count in self.dropped.items()],
            "up": self.up,
        }
        yield orjson.dumps({"done": self.done[:MAX_REPORT_NUMBERS], **first}) + b"\n"
        for start in range(MAX_REPORT_NUMBERS, len(self.done), MAX_REPORT_NUMBERS):
            yield orjson.dumps({"done": self.done[start : start + MAX_REPORT_NUMBERS]}) + b"\n"


def count(report: Mapping[str, Any], figures: TelemetryFigures) -> None:
    """Add the counts of a report to the figures. Raises what a report of another shape causes."""
    for signal, destination, outcome, n in _rows(report, "items"):
        figures.telemetry_items(signal, destination, outcome, n)
    for signal, why, n in _rows(report, "dropped"):
        figures.telemetry_dropped(signal, why, n)
    for destination, up in report.get("up", {}).items():
        figures.telemetry_up(destination, up)


def _rows(report: Mapping[str, Any], name: str) -> Iterable[Sequence[Any]]:
    found: Iterable[Sequence[Any]] = report.get(name, ())
    return found
