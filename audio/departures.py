"""What a play-out tells the playback ledger: which sound has left, when it begins to be played, and what was echoed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(slots=True)
class Departure:
    """Sound of an item that has left, or with 0 samples sound that waits. Grows until it is taken.

    It begins to be played at `at_ms`, at the earliest, and goes on without a gap. `kept` says that the far end plays
    what it has got whatever follows: it holds no sound that a clear could drop.
    """

    item_id: str
    start_sample: int
    samples: int
    rate_hz: int
    at_ms: float
    kept: bool

    @property
    def position_ms(self) -> int:
        """Where it begins in its item."""
        return self.start_sample * 1000 // self.rate_hz

    @property
    def end_ms(self) -> int:
        """Where it ends in its item."""
        return (self.start_sample + self.samples) * 1000 // self.rate_hz


@dataclass(frozen=True, slots=True)
class Echo:
    """The far end has said at `at_ms` that it has played an item up to this position."""

    item_id: str
    position_ms: int
    at_ms: int


PlayedOut: TypeAlias = Departure | Echo
