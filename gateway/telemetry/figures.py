"""The figures of one process: what is counted as it happens, and what is read when somebody asks.

Counting needs no library, so that it works from the first moment and costs less than a microsecond. `writing.py` shows
the figures with prometheus_client.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from gateway.telemetry.labels import LabelBounds
from gateway.telemetry.names import FAMILIES, TELEMETRY_DROPPED, TELEMETRY_ITEMS, TELEMETRY_UP, Family, Kind

Labels: TypeAlias = tuple[str, ...]
# Gives the present values of a family by their labels.
Reader: TypeAlias = Callable[[], Iterable[tuple[Labels, float]]]


class Cell:
    """One series of a counter or a gauge."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0


class Distribution:
    """One series of a histogram: how many values fell into each bucket, and their sum."""

    __slots__ = ("_bounds", "_counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)  # the last holds what is past the last bound
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value; a bound belongs to the bucket below it."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    def buckets(self) -> list[tuple[str, float]]:
        """How many values there are up to each bound, with the bound as Prometheus writes it."""
        shown, total = [], 0
        for bound, count in zip((*map(float, self._bounds), "+Inf"), self._counts, strict=True):
            total += count
            shown.append((str(bound), float(total)))
        return shown


@dataclass(frozen=True, slots=True)
class Series:
    """One series as it is shown: its labels' values, and its value or its distribution."""

    labels: Labels
    value: float | Distribution


class Figures:
    """Counts what happens in one process, by the names of `names.py`."""

    def __init__(self) -> None:
        self._bounds = LabelBounds()
        self._cells: dict[Family, dict[Labels, Cell]] = {}
        self._distributions: dict[Family, dict[Labels, Distribution]] = {}
        self._readers: dict[Family, list[Reader]] = {}
        for family in FAMILIES:
            if family.kind is Kind.HISTOGRAM:
                # What has no labels is shown from the start, with the value 0.
                self._distributions[family] = {} if family.labels else {(): Distribution(family.buckets)}
            else:
                self._cells[family] = {}

    def add(self, family: Family, *labels: str, by: float = 1) -> None:
        """Add to a counter, or to a gauge."""
        self._cell(family, labels).value += by

    def set(self, family: Family, *labels: str, to: float) -> None:
        """Set a gauge."""
        self._cell(family, labels).value = to

    def observe(self, family: Family, value: float, *labels: str) -> None:
        """Count a value in a histogram."""
        kept = self._distributions[family]
        found = kept.get(labels)
        if found is None:
            bounded = self._bounds.bounded(family.labels, labels)
            found = kept.get(bounded)
            if found is None:
                found = kept[bounded] = Distribution(family.buckets)
        found.observe(value)

    def read(self, family: Family, reader: Reader) -> None:
        """Have a counter or gauge read whenever it is shown; several readers' values under one label are added."""
        self._readers.setdefault(family, []).append(reader)

    def read_one(self, family: Family, reader: Callable[[], float]) -> None:
        """Have a counter or gauge without labels read whenever it is shown."""
        self.read(family, lambda: [((), reader())])

    def series(self, family: Family) -> Iterator[Series]:
        """The series of one family as they are now, each complete at the moment at which it is taken."""
        if family.kind is Kind.HISTOGRAM:
            for labels, distribution in list(self._distributions[family].items()):
                yield Series(labels, distribution)
            return
        self._take_readings(family)
        kept = self._cells[family]
        if not kept and not family.labels:
            yield Series((), 0.0)
        for labels, cell in list(kept.items()):
            yield Series(labels, cell.value)

    def total(self, family: Family) -> float:
        """The sum over all series of a counter or gauge."""
        return sum(one.value for one in self.series(family) if not isinstance(one.value, Distribution))

    def _take_readings(self, family: Family) -> None:
        """Set the cells that are read; a series that the readers do not name any more is 0."""
        readers = self._readers.get(family)
        if readers is None:
            return
        sums: dict[Labels, float] = {}
        for reader in readers:
            for labels, value in reader():
                bounded = self._bounds.bounded(family.labels, labels)
                sums[bounded] = sums.get(bounded, 0.0) + value
        kept = self._cells[family]
        for labels in kept.keys() - sums.keys():
            kept[labels].value = 0.0
        for labels, value in sums.items():
            self._cell(family, labels).value = value

    def _cell(self, family: Family, labels: Labels) -> Cell:
        kept = self._cells[family]
        found = kept.get(labels)
        if found is None:
            bounded = self._bounds.bounded(family.labels, labels)
            found = kept.get(bounded)
            if found is None:
                found = kept[bounded] = Cell()
        return found

    # ---- of telemetry itself

    def telemetry_items(self, signal: str, destination: str, outcome: str, count: int) -> None:
        """Count what was sent on to a destination: `signal` is traces, metrics, logs, scores or audio."""
        self.add(TELEMETRY_ITEMS, signal, destination, outcome, by=count)

    def telemetry_dropped(self, signal: str, why: str, count: int) -> None:
        """Count what was dropped before it was sent."""
        self.add(TELEMETRY_DROPPED, signal, why, by=count)

    def telemetry_up(self, destination: str, up: bool) -> None:
        """Note whether a destination takes what it is sent."""
        self.set(TELEMETRY_UP, destination, to=int(up))
