"""How long a busy store is left alone, and when it has been busy for so long that it counts as lost."""

from __future__ import annotations

import logging

from sessions.ports import Clock
from sessions.stores.contract import StoreBusy

BUSY_MAX_MS = 30_000  # without one successful write; after that the store counts as lost
LOG_EVERY_MS = 60_000

log = logging.getLogger("patchbay.state")


class BusyStore:
    """Knows until when the store asked not to be written, and since when it has refused every write."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.answer: StoreBusy | None = None  # the last refusal
        self._since_ms: int | None = None  # the first refusal after the last success
        self._retry_at_ms = 0
        self._log_at_ms = 0

    @property
    def wait_ms(self) -> int:
        """How long the store is still to be left alone; 0 if it may be written now."""
        return max(0, self._retry_at_ms - self._clock.now_ms())

    @property
    def is_busy(self) -> bool:
        """Whether the store has refused its last write, or has asked for time."""
        return self._since_ms is not None or self.wait_ms > 0

    @property
    def too_long(self) -> bool:
        """Whether the store has refused every write for so long that it counts as lost."""
        return self._since_ms is not None and self._clock.now_ms() - self._since_ms >= BUSY_MAX_MS

    def refused(self, answer: StoreBusy) -> None:
        """Note that the store was busy. It is tried again when it said, and in any case before it counts as lost."""
        self.answer = answer
        now_ms = self._clock.now_ms()
        if self._since_ms is None:
            self._since_ms = now_ms
        told_ms = now_ms + answer.retry_after_ms
        self._retry_at_ms = max(self._retry_at_ms, min(told_ms, max(now_ms, self._since_ms + BUSY_MAX_MS)))
        if now_ms >= self._log_at_ms:
            self._log_at_ms = now_ms + LOG_EVERY_MS
            log.warning("the store is busy; session documents wait for it", extra={"reason": str(answer)})

    def succeeded(self) -> None:
        """Note that the store took a write. A wait that it asked for still holds."""
        self._since_ms = None

    def ended(self) -> None:
        """Start anew, because the store counts as lost from now on."""
        self.answer = None
        self._since_ms = None
        self._retry_at_ms = 0
