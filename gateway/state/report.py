"""How the store does, for `/readyz` and `/metrics`."""

from __future__ import annotations

from enum import StrEnum

from gateway.state.busy import BusyStore
from gateway.state.outage import StoreOutage
from gateway.state.spool import SpoolSize
from gateway.state.writer import WriteCounts
from gateway.telemetry.names import (
    DOCUMENTS_DROPPED,
    DOCUMENTS_LOST,
    DOCUMENTS_OLDEST,
    DOCUMENTS_SPOOLED,
    DOCUMENTS_WAITING,
    DOCUMENTS_WAITING_BYTES,
    SESSIONS_FENCED,
    SPOOL_AGE,
    SPOOL_BYTES,
    SPOOL_DOCUMENTS,
    STORE_BUSY,
    STORE_HEALTHY,
    Family,
)


class StoreState(StrEnum):
    """How the store does."""

    OK = "ok"
    BUSY = "busy"  # it asks for time
    LOST = "lost"  # it refuses writes, or does not have all yet that was kept meanwhile


class StoreReport:
    """Tells how the store does, as the documents on their way to it find it."""

    def __init__(self, outage: StoreOutage, busy: BusyStore, counts: WriteCounts) -> None:
        self._outage = outage
        self._busy = busy
        self._counts = counts
        # What dead instances spooled, from a start without the store until their spools have been written.
        self.left_by_dead = SpoolSize()

    @property
    def healthy(self) -> bool:
        """False from the loss of the store until it has all that was kept meanwhile."""
        return not self._outage.open

    @property
    def state(self) -> StoreState:
        """The store's state."""
        if self._outage.open:
            return StoreState.LOST
        return StoreState.BUSY if self._busy.is_busy else StoreState.OK

    @property
    def waiting(self) -> int:
        """How many documents wait in memory because the store and the disk refuse them."""
        return self._outage.kept.waiting

    @property
    def beside(self) -> int:
        """How many documents wait beside the store, in memory and in the spools, also those of dead instances."""
        return self._outage.kept.spooled.documents + self.left_by_dead.documents + self.waiting

    def figures(self) -> dict[Family, float]:
        """What the metrics show."""
        kept, counts, left = self._outage.kept, self._counts, self.left_by_dead
        documents = kept.spooled.documents + left.documents
        return {
            STORE_HEALTHY: int(self.healthy),
            STORE_BUSY: int(self._busy.is_busy),
            SPOOL_DOCUMENTS: documents,
            SPOOL_BYTES: kept.spooled.payload_bytes + left.payload_bytes,
            SPOOL_AGE: kept.age_s if documents else 0,
            DOCUMENTS_WAITING: kept.waiting,
            DOCUMENTS_WAITING_BYTES: kept.waiting_bytes,
            DOCUMENTS_OLDEST: kept.age_s,
            DOCUMENTS_SPOOLED: counts.spooled,
            DOCUMENTS_LOST: counts.lost,
            DOCUMENTS_DROPPED: counts.dropped,
            SESSIONS_FENCED: counts.fenced,
        }
