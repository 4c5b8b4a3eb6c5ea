"""The figures of the telephone rows, as plain values that can be written as JSON and read back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.figures import Spread
from bench.phone_sound import FRAME_MS


@dataclass(frozen=True, slots=True)
class PhoneStep:
    """What was measured while `calls` telephones spoke for `seconds`.

    `sent` are frames. `bursts` are the loud ones among them, `bursts_back` those that came back. `back_ms` is the sound
    that the telephones received, and `messages` the messages that it came in. `late_ms` is of frames that are due every
    20 ms, where the protocol is so; without any for the others. `cpu_s`, `rss_mb` and `core_s` are as in `Step`.
    """

    calls: int
    seconds: float
    sent: int
    bursts: int
    bursts_back: int
    back_ms: float
    messages: int
    failed: tuple[str, ...]
    round_trip_ms: Spread
    late_ms: Spread
    slip_ms: Spread
    set_up_ms: Spread
    cpu_s: dict[str, float]
    rss_mb: dict[str, float]
    core_s: dict[str, float]

    def busy(self, *names: str) -> float:
        """The share of one core that these processes used together."""
        return sum(self.cpu_s.get(name, 0.0) for name in names) / self.seconds

    def others(self, core: str, *names: str) -> float:
        """The share of a named core that other processes used."""
        return max(0.0, self.core_s.get(core, 0.0) / self.seconds - self.busy(*names))

    @property
    def missing_ms(self) -> float:
        """How much less sound than was sent has come back, for all calls together; sound on its way is not missing."""
        on_its_way_ms = self.calls * 2 * FRAME_MS
        return max(0.0, self.sent * FRAME_MS - self.back_ms - on_its_way_ms)


_SPREADS = ("round_trip_ms", "late_ms", "slip_ms", "set_up_ms")


def phone_step_from_json(value: dict[str, Any]) -> PhoneStep:
    """A step as `phone_load.py` printed it."""
    fields: dict[str, Any] = {name: Spread(**part) if name in _SPREADS else part for name, part in value.items()}
    fields["failed"] = tuple(value["failed"])
    return PhoneStep(**fields)


def lateness(arrivals_s: Sequence[float]) -> list[float]:
    """How late each frame of a call came, in ms, on a grid of 20 ms; the earliest frame of all is on time.

    A frame that never left makes all that follow it late, since a telephone hears that gap.
    """
    if not arrivals_s:
        return []
    ahead = [arrival_s * 1000 - place * FRAME_MS for place, arrival_s in enumerate(arrivals_s)]
    first = min(ahead)
    return [each - first for each in ahead]
