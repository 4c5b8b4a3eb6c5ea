"""How long a far end usually takes to echo a mark, so that a mark which comes later shows that playback was held up.

The estimate of mean and deviation is that of RFC 6298, which TCP uses for its retransmission timer.
"""

from __future__ import annotations

DEVIATIONS = 4  # a mark counts as late beyond so many mean deviations
LEAST_MS = 10  # and never below this: frames and clocks are no finer


class RoundTrips:
    """The usual time from the moment at which a mark is reached, by our clock, to its echo."""

    __slots__ = ("_deviation_ms", "_usual_ms")

    def __init__(self) -> None:
        self._usual_ms: float | None = None
        self._deviation_ms = 0.0

    def late_ms(self, took_ms: float) -> float:
        """By how much a mark came later than usual; 0 for one within the usual spread.

        A late mark counts as one at the spread's edge, so that a lasting change of the network becomes usual in time.
        """
        usual_ms = self._usual_ms
        if usual_ms is None:
            self._usual_ms, self._deviation_ms = took_ms, abs(took_ms) / 2
            return 0.0
        edge_ms = usual_ms + max(LEAST_MS, DEVIATIONS * self._deviation_ms)
        seen_ms = min(took_ms, edge_ms)
        self._deviation_ms += (abs(seen_ms - usual_ms) - self._deviation_ms) / 4
        self._usual_ms = usual_ms + (seen_ms - usual_ms) / 8
        return took_ms - usual_ms if took_ms > edge_ms else 0.0
