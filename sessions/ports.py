"""What calls need from outside: time, ids and JSON. `gateway/` supplies the first two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias

Json: TypeAlias = "str | int | float | bool | Sequence[Json] | Mapping[str, Json] | None"
JsonObject: TypeAlias = "Mapping[str, Json]"


class Clock(Protocol):
    """One monotonic clock for durations, and wall time for labels only."""

    def now_ms(self) -> int:
        """Monotonic milliseconds; only differences mean anything."""
        ...

    def now_ns(self) -> int:
        """The same clock in nanoseconds, for what is asked at every frame: there is nothing to divide."""
        ...

    def wall_s(self) -> float:
        """Unix seconds, for people and documents."""
        ...


class Ids(Protocol):
    """A source of names that nobody can guess in production and everybody can predict in a test."""

    def new(self, prefix: str) -> str:
        """A fresh id that starts with `prefix` and an underscore."""
        ...
