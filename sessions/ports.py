"""What a call needs from outside: time and ids, which `gateway/` supplies, and the types of JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias

Json: TypeAlias = "str | int | float | bool | Sequence[Json] | Mapping[str, Json] | None"
JsonObject: TypeAlias = "Mapping[str, Json]"

# The ids of all items and messages that the gateway itself sends to a model begin with this, so that replies and errors
# about them are recognised, and stay with the gateway.
OWN_PREFIX = "pb_"


class Clock(Protocol):
    """One monotonic clock for durations, and wall time for labels only."""

    def now_ms(self) -> int:
        """Monotonic milliseconds; only differences mean anything."""
        ...

    def now_ns(self) -> int:
        """The same clock in nanoseconds, for every frame: it needs no division."""
        ...

    def wall_s(self) -> float:
        """Unix seconds, for display and documents."""
        ...


class Ids(Protocol):
    """A source of ids: random in production, predictable in a test."""

    def new(self, prefix: str) -> str:
        """A fresh id that starts with `prefix` and an underscore."""
        ...
