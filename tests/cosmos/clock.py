"""The server's clock: the machine's, until a test sets it."""

from __future__ import annotations

import time


class ServerClock:
    """The seconds by which `_ts` is written and ttl is counted."""

    def __init__(self) -> None:
        self._set_s: float | None = None

    def now_s(self) -> float:
        """Seconds since 1970."""
        return time.time() if self._set_s is None else self._set_s

    def set(self, now_s: float) -> None:
        """Stop the clock at a moment."""
        self._set_s = now_s

    def advance(self, seconds: float) -> None:
        """Move on from now, and stop there."""
        self._set_s = self.now_s() + seconds
