"""The figures of a run, as plain values that can be written as JSON and read back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Spread:
    """The distribution of durations in ms; all values are zero if `count` is zero."""

    count: int
    p50: float
    p95: float
    p99: float
    max: float


def percentile(ordered: Sequence[float], share: float) -> float:
    """The nearest-rank percentile of sorted values, which is one of them. `share` is above 0 and up to 1."""
    if not ordered:
        raise ValueError("there is no percentile of no values")
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def spread(values_ms: Sequence[float]) -> Spread:
    """The spread of values, which may be in any order."""
    if not values_ms:
        return Spread(0, 0.0, 0.0, 0.0, 0.0)
    ordered = sorted(values_ms)
    p50, p95, p99 = (round(percentile(ordered, share), 3) for share in (0.50, 0.95, 0.99))
    return Spread(len(ordered), p50, p95, p99, round(ordered[-1], 3))


def median(values: Sequence[float]) -> float:
    """The middle value; of an even number of values, the mean of the two in the middle."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


@dataclass(frozen=True, slots=True)
class Step:
    """What was measured while `calls` calls spoke for `seconds`.

    `cpu_s` is the CPU time of the load and of each watched process in that time, `rss_mb` is their memory at its end,
    `core_s` is how long each named core was busy with any process, and `counted` is by how much the counters of a
    stand-in for Cosmos DB or of a collector have risen. In `cpu_s` and `rss_mb`, `server` has its children in it;
    `serving` is its own process alone, and `courier` the child that sends its telemetry, if there is one. The set-up
    spreads are of the calls that were opened for this step: from the dial to `session.created`, to `session.updated`,
    and to the first frame that came back.
    """

    calls: int
    seconds: float
    sent: int
    lost: int
    doubled: int
    crossed: int
    errors: int
    failed: tuple[str, ...]
    answers: int
    round_trip_ms: Spread
    slip_ms: Spread
    created_ms: Spread
    updated_ms: Spread
    first_sound_ms: Spread
    cpu_s: dict[str, float]
    rss_mb: dict[str, float]
    core_s: dict[str, float]
    counted: dict[str, float] = field(default_factory=dict)

    def busy(self, *names: str) -> float:
        """The share of one core that these processes used together."""
        return sum(self.cpu_s.get(name, 0.0) for name in names) / self.seconds

    def others(self, core: str, *names: str) -> float:
        """The share of a named core that other processes used."""
        return max(0.0, self.core_s.get(core, 0.0) / self.seconds - self.busy(*names))

    def whole(self) -> bool:
        """Whether every frame came back once, to the call that sent it, and no call failed."""
        return not (self.lost or self.doubled or self.crossed or self.failed)


@dataclass(frozen=True, slots=True)
class Churn:
    """What was measured while `workers` callers opened, configured and closed calls as fast as they could."""

    workers: int
    seconds: float
    set_ups: int
    failed: tuple[str, ...]
    updated_ms: Spread
    cpu_s: dict[str, float]

    @property
    def a_second(self) -> float:
        return self.set_ups / self.seconds


@dataclass(frozen=True, slots=True)
class Held:
    """Something that held a server's loop: in how many stalls, for how many ms in total, and at the longest."""

    name: str
    stalls: int
    total_ms: float
    worst_ms: float


@dataclass(frozen=True, slots=True)
class LoopLateness:
    """How late a tick of 1 ms was on a server's loop, and what held the loop for 5 ms or more, largest total first."""

    seconds: float
    late_ms: Spread
    held: tuple[Held, ...]


@dataclass(frozen=True, slots=True)
class Scrape:
    """What writing all figures of a process takes, with the loop free in between; the worst of several scrapes.

    `whole_ms` is the median time from the first piece to the last. A piece's CPU time is that of its thread alone, and
    what it held the loop is the time on the clock, which also has other work on the machine in it.
    """

    series: int
    pieces: int
    scrapes: int
    whole_ms: float
    longest_cpu_ms: float
    longest_held_ms: float


_SPREADS = ("round_trip_ms", "slip_ms", "created_ms", "updated_ms", "first_sound_ms")


def step_from_json(value: dict[str, Any]) -> Step:
    """A step as `load.py` printed it."""
    fields: dict[str, Any] = {name: Spread(**part) if name in _SPREADS else part for name, part in value.items()}
    fields["failed"] = tuple(value["failed"])
    return Step(**fields)


def churn_from_json(value: dict[str, Any]) -> Churn:
    """A churn as `load.py` printed it."""
    return Churn(**{**value, "failed": tuple(value["failed"]), "updated_ms": Spread(**value["updated_ms"])})


def lateness_from_json(value: dict[str, Any]) -> LoopLateness:
    """A lateness as `stalls.py` wrote it."""
    held = tuple(Held(**one) for one in value["held"])
    return LoopLateness(value["seconds"], Spread(**value["late_ms"]), held)


def to_json(value: Step | Churn | LoopLateness) -> dict[str, Any]:
    """The figures as plain dicts."""
    return asdict(value)
