"""Knows whether the store is lost, and gives it what was kept meanwhile.

Once the store answers again, the documents are written to it in batches, session by session. Between the batches, the
documents of running calls go to the store; those of a session that still waits are written together with it.

If a store raises an exception that the contract does not allow, either the documents or the store may be at fault. If
others were stored meanwhile, these documents are at fault and are lost. If none was stored, the store counts as lost.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from enum import Enum

from gateway.state.busy import BusyStore
from gateway.state.keeper import DocumentKeeper, Odd, SpoolUnread, reason_of
from gateway.state.replay import Replayed, replay
from gateway.state.writer import StateWriter, WriteCounts
from sessions.ports import Clock
from sessions.stores.contract import SessionKey, StoreBusy, StoreFailed, StoreMisconfigured

RETRY_MS = 2_000
RETRY_MAX_MS = 30_000  # however long a busy store asks to wait, and for a store that is not configured rightly

log = logging.getLogger("patchbay.state")


class _Phase(Enum):
    NONE = "none"  # the store works, and nothing is kept beside it
    UNOPENED = "unopened"  # the store has not been opened yet
    LOST = "lost"  # the store refuses writes
    RESTORING = "restoring"  # the store takes writes, and what was kept is being written


class StoreOutage:
    """Knows whether the store is lost, and writes what was kept meanwhile once it answers again."""

    def __init__(self, kept: DocumentKeeper, counts: WriteCounts, clock: Clock, busy: BusyStore) -> None:
        self.kept = kept
        self._counts = counts
        self._clock = clock
        self._busy = busy
        self._phase = _Phase.NONE
        self._retry_at_ms = 0  # of a lost store
        self._tries = 0  # of a lost store
        self._stored = 0  # documents that were restored since the store was lost
        self._odd: Odd = {}  # documents with errors outside the contract; they are not tried again for now

    @property
    def open(self) -> bool:
        """True from the loss of the store until all that was kept meanwhile is stored."""
        return self._phase is not _Phase.NONE

    @property
    def lost(self) -> bool:
        """True while the store is not to be written, except for a try when `retry_due`."""
        return self._phase in (_Phase.UNOPENED, _Phase.LOST)

    @property
    def retry_in_ms(self) -> int | None:
        """How long until what is kept is to be tried again; None if there is nothing to be tried."""
        if self._phase is _Phase.LOST:
            return max(0, self._retry_at_ms - self._clock.now_ms())
        return 0 if self._phase is _Phase.RESTORING else None

    @property
    def wake_in_ms(self) -> int | None:
        """How long until the store or a disk that refused is to be tried again; None if neither is to be."""
        disk_ms = self.kept.disk_retry_in_ms if self.lost else None
        return min((found for found in (self.retry_in_ms, disk_ms) if found is not None), default=None)

    @property
    def retry_due(self) -> bool:
        """Whether what is kept is to be tried now."""
        return self.retry_in_ms == 0

    def store_lost(self, error: BaseException) -> None:
        """Note that the store refused a write, did not answer in time, or was busy for too long."""
        self._begin(_Phase.LOST, error)
        told_ms = error.retry_after_ms if isinstance(error, StoreBusy) else RETRY_MS
        if isinstance(error, StoreMisconfigured):  # somebody has to mend it
            told_ms = RETRY_MAX_MS
        self._retry_at_ms = self._clock.now_ms() + min(max(told_ms, RETRY_MS), RETRY_MAX_MS)

    def not_opened(self, error: BaseException) -> None:
        """Note that the server starts without its store. It is not tried before `opened`."""
        self._begin(_Phase.UNOPENED, error)

    def opened(self) -> None:
        """Note that a store that was not open now is."""
        if self._phase is _Phase.UNOPENED:
            self._phase = _Phase.LOST
            self._retry_at_ms = self._clock.now_ms()

    def _begin(self, phase: _Phase, error: BaseException) -> None:
        if not self.open:
            log.error("the store is lost; state is spooled", extra={"reason": reason_of(error)})
        self._phase = phase
        self._stored = 0
        self._odd.clear()
        self.kept.try_file_again()

    async def restore(self, writer: StateWriter) -> None:
        """Write what is kept until nothing is left, or until the store refuses it."""
        while await self.restore_some(writer):
            pass

    async def restore_some(self, writer: StateWriter, first: Iterable[SessionKey] = ()) -> bool:
        """Write one batch of what is kept, with the sessions in `first` before others.

        A lost store is tried with one session only, because requests that fail at the same time hold up the loop.
        After the last batch the outage is over. Returns whether another batch is to be written at once.
        """
        first = list(first)
        for key in first:
            self._odd.pop(key, None)
        try:
            batch = await self.kept.next_batch(first, self._odd)
        except SpoolUnread as unread:
            self.store_lost(StoreFailed(str(unread)))
            return False
        if self.lost and batch:
            # Another one at each try, because one session may be refused for a reason of its own.
            key = list(batch)[self._tries % len(batch)]
            batch = {key: batch[key]}
            self._tries += 1
        replayed = await replay(writer, self._counts, batch)
        self._stored += replayed.stored
        for key, odd in replayed.odd.items():
            self._odd.setdefault(key, {}).update(odd)
        await self.kept.done(replayed.done)
        if replayed.stored:
            self._busy.succeeded()
        self._note_answer(replayed)
        if replayed.refusal is None and not self.kept.has_more(self._odd):
            await self._finish()
        self.kept.log_waiting()
        return self._phase is _Phase.RESTORING and replayed.refusal is None

    def holds(self, key: SessionKey) -> bool:
        """Whether documents of this session are kept; newer ones must not reach the store before them."""
        return self.open and self.kept.holds(key)

    def _note_answer(self, replayed: Replayed) -> None:
        """Decide from the answers to one batch whether the store works."""
        refusal = replayed.refusal
        if refusal is None:
            self._phase = _Phase.RESTORING
            return
        works = self._phase is _Phase.RESTORING or replayed.stored
        if isinstance(refusal, StoreBusy) and works and not self._busy.too_long:
            self._phase = _Phase.RESTORING
            self._busy.refused(refusal)
        else:
            self.store_lost(refusal)
            self._busy.ended()

    async def _finish(self) -> None:
        """End the outage, after a decision about the documents with errors outside the contract."""
        faults = [fault for odd in self._odd.values() for fault in odd.values()]
        if faults and not self._stored:
            self.store_lost(StoreFailed(f"it answers with {reason_of(faults[0])}"))
            return
        for fault in faults:
            self._counts.lose(1, f"the store refuses only this document, with {reason_of(fault)}")
        await self.kept.done({key: set(odd) for key, odd in self._odd.items()})
        self._odd.clear()
        await self.kept.finish()
        self._phase = _Phase.NONE
        log.warning("the store is back")

    async def forget(self, key: SessionKey) -> None:
        """Drop the documents of a deleted session. Raises OSError and TimeoutError."""
        self._odd.pop(key, None)
        await self.kept.forget(key)
