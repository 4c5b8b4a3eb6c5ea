"""How often the requests and calls of a carrier came to what end, for the figures in /metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping


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

    def lines(self) -> list[str]:
        """The figures in Prometheus' text form."""
        return event_lines(self.carrier, self._events)


def event_lines(carrier: str, events: Mapping[str, int]) -> list[str]:
    """The figures of one carrier in Prometheus' text form, by event."""
    return [
        f'patchbay_carrier_events_total{{carrier="{carrier}",event="{event}"}} {count}\n'
        for event, count in sorted(events.items())
    ]
