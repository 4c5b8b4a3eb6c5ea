"""Which line of the outbox may be what ends couriers: one that hangs or kills a courier does so to each next one."""

from __future__ import annotations

ENDS = 2  # of couriers that had the same oldest line, before it is dropped


class Suspect:
    """Counts the couriers that ended with the same oldest line in hand. Needs no clock and no loop."""

    def __init__(self) -> None:
        self._number: int | None = None
        self._ends = 0

    def ended(self, oldest: int | None, *, lived: bool) -> bool:
        """Note a courier's end, and the oldest line that it had not acknowledged; True if that line is to be dropped.

        `lived`: it ran for long. It got that line at its beginning, if another courier had ended with it, so that its
        end has another cause.
        """
        again = oldest is not None and oldest == self._number and not lived
        self._ends = self._ends + 1 if again else 1
        self._number = oldest
        return oldest is not None and self._ends >= ENDS
