"""Whether one destination takes what it is sent: one figure, and one line in the log, for all its signals."""

from __future__ import annotations

import logging

from gateway.telemetry.courier.outcome import Outcome, Result
from gateway.telemetry.link.wire import TelemetryFigures

log = logging.getLogger("patchbay.telemetry")


class Standing:
    """Remembers why a destination does not take its signals. It is up while it takes all of them."""

    def __init__(self, destination: str, counts: TelemetryFigures) -> None:
        self._destination = destination
        self._counts = counts
        self._why: dict[str, str] = {}  # by signal

    def failed(self, signal: str, outcome: Outcome) -> None:
        """A request of this signal has failed; what is known of another signal, or of this one, is not logged again."""
        known = outcome.reason in self._why.values()
        self._why[signal] = outcome.reason
        self._counts.telemetry_up(self._destination, False)
        if known:
            return
        message = "a destination of telemetry does not take what it is sent"
        if outcome.result is Result.DENIED:
            message = "a destination of telemetry does not accept the key; it is tried again in 5 minutes"
        fields = {"destination": self._destination, "signal": signal, "reason": outcome.reason}
        log.error(message, extra=fields)

    def taken(self, signal: str) -> None:
        """A request of this signal was taken."""
        failing = self._why.pop(signal, None) is not None
        if self._why:
            return
        self._counts.telemetry_up(self._destination, True)
        if failing:
            fields = {"destination": self._destination, "signal": signal}
            log.warning("a destination of telemetry takes it again", extra=fields)
