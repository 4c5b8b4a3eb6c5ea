"""How often the requests and calls of a carrier came to what end, for the metrics."""

from __future__ import annotations

from collections import Counter


class CarrierCounts:
    """Counts events of one carrier. Their names are words of ours, so that there are few of them."""

    def __init__(self, carrier: str) -> None:
        self.carrier = carrier
        self._events: Counter[str] = Counter()

    def note(self, event: str, times: int = 1) -> None:
        """Count an event, such as `signature_refused`."""
        if times:
            self._events[event] += times

    def of(self, event: str) -> int:
        """How often an event was counted."""
        return self._events[event]

    def items(self) -> list[tuple[tuple[str, str], int]]:
        """How often each event was counted, by carrier and event."""
        return [((self.carrier, event), count) for event, count in sorted(self._events.items())]
