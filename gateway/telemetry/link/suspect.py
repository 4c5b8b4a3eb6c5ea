"""Which line of the outbox may be what hangs couriers: one that hangs a courier does so to each next one."""

from __future__ import annotations

ENDS = 2  # of couriers that had the same oldest line, before it is dropped


class Suspect:
    """Counts the couriers that hung with the same oldest line in hand. Needs no clock and no loop."""

    def __init__(self) -> None:
        self._number: int | None = None
        self._ends = 0

    def clear(self) -> None:
        """A courier has ended for another reason."""
        self._number, self._ends = None, 0

    def ended(self, oldest: int | None, *, lived: bool) -> bool:
        """Note that a courier has hung, and the oldest line it had not acknowledged; True if that is to be dropped.

        `lived`: it ran for long. It got that line at its beginning, if another courier had hung with it, so that it
        hangs for another reason.
        """
        again = oldest is not None and oldest == self._number and not lived
        self._ends = self._ends + 1 if again else 1
        self._number = oldest
        return oldest is not None and self._ends >= ENDS
