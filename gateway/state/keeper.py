"""The documents that wait beside a lost store: in a file, or in memory if the disk refuses them too.

Work on the file runs in a thread, one job at a time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias, TypeVar

from gateway.guard import Boundary, kind_and_place
from gateway.state.kept import Kept, key_of
from gateway.state.replay import BATCH_BYTES, BATCH_DOCUMENTS
from gateway.state.spool import SpoolSize, StateSpool
from gateway.state.waiting import OverflowBuffer
from gateway.state.writer import WriteCounts
from sessions.errors import VoiceError
from sessions.ports import Clock
from sessions.stores.contract import SessionKey, StoreFailed

DISK_RETRY_MS = 2_000  # how long a disk that has refused is left alone
DISK_TIMEOUT_S = 10.0  # for work on the file; a disk that hangs longer counts as one that refuses
# How often a file that cannot be read is tried. After that, the store is used without the documents in the file.
UNREAD_MAX_TRIES = 5
WAITING_MAX_BYTES = 64 * 1024 * 1024

log = logging.getLogger("patchbay.state")
T = TypeVar("T")
# Documents with errors outside the contract of a store, by session and document id.
Odd: TypeAlias = "dict[SessionKey, dict[str, BaseException]]"


class SpoolUnread(VoiceError):
    """The file cannot be read now. Memory may hold newer versions, so it waits for the file."""


class DocumentKeeper:
    """Keeps documents until the store takes them, the newest version of each, and gives them back by session."""

    def __init__(
        self,
        spool: StateSpool,
        counts: WriteCounts,
        clock: Clock,
        *,
        inline: bool,
        waiting_max_bytes: int = WAITING_MAX_BYTES,
    ) -> None:
        self._spool = spool
        self._counts = counts
        self._clock = clock
        self._inline = inline
        self._overflow = OverflowBuffer(waiting_max_bytes)
        self._disk_retry_at_ms = 0  # when to try the file again after the disk refused it
        self._unread_tries = 0
        self._without_file = False  # True while the file is left alone because it cannot be read
        self._alarmed = False  # whether the log says that documents wait in memory
        self._disk_work: asyncio.Future[Any] | None = None  # in a thread, which cannot be stopped if the disk hangs

    @property
    def waiting(self) -> int:
        """How many documents wait in memory. A crash loses them."""
        return len(self._overflow)

    @property
    def waiting_bytes(self) -> int:
        """About how much memory they take."""
        return self._overflow.waiting_bytes

    @property
    def spooled(self) -> SpoolSize:
        """What waits in the file."""
        return self._spool.size

    @property
    def age_s(self) -> float:
        """How long the oldest document has been kept, in seconds; 0 if none is."""
        kept_ms = [since for since in (self._spool.size.since_ms, self._overflow.since_ms) if since is not None]
        return max(0, self._clock.now_ms() - min(kept_ms)) / 1000 if kept_ms else 0.0

    @property
    def disk_retry_in_ms(self) -> int | None:
        """How long until a disk that refuses is to be tried again; None if nothing waits for it."""
        return max(0, self._disk_retry_at_ms - self._clock.now_ms()) if self.waiting else None

    def holds(self, key: SessionKey) -> bool:
        """Whether documents of this session are kept; newer ones must not reach the store before them."""
        return self._spool.holds(key) or self._overflow.holds(key)

    async def keep(self, kept: Sequence[Kept], *, at_once: bool = False) -> None:
        """Write documents to the file, then those that wait in memory; or keep them in memory if the disk refuses.

        `at_once` also tries a disk that has just refused.
        """
        if at_once or self._clock.now_ms() >= self._disk_retry_at_ms:
            kept = await self._spool_documents(kept)
            while not kept and len(self._overflow):
                if not await self._move_to_file():
                    break
        dropped = self._overflow.add(kept)
        if dropped:
            self._counts.lose(dropped, "neither the store nor the disk takes them, and memory for them is full")
        self.log_waiting()

    async def _move_to_file(self) -> bool:
        """Move a batch from memory to the file; False if the disk refuses any of it."""
        batch = self._overflow.take(BATCH_DOCUMENTS, BATCH_BYTES)
        refused: Sequence[Kept] = batch  # all of them, if this task is cancelled
        try:
            refused = await self._spool_documents(batch)
        finally:
            self._overflow.put_back(refused)
        return not refused

    async def _spool_documents(self, kept: Sequence[Kept]) -> Sequence[Kept]:
        """Write documents to the file; return those that it does not take."""
        if not kept:
            return kept
        refusals: list[BaseException] = []
        with Boundary(refusals.append):
            await self._offload(partial(self._spool.append, kept))
            self._counts.spooled += len(kept)
            for one in kept:  # an older version in memory must not be written after this one
                self._overflow.drop((key_of(one.document), one.id))
            return ()
        if isinstance(refusals[0], TypeError):  # one of them is no document, or no JSON
            return await self._spool_singly(kept, refusals[0])
        self._disk_retry_at_ms = self._clock.now_ms() + DISK_RETRY_MS
        return kept

    async def _spool_singly(self, kept: Sequence[Kept], fault: TypeError) -> Sequence[Kept]:
        if len(kept) == 1:
            self._counts.lose(1, f"it cannot be spooled: {fault}")
            return ()
        return [refused for one in kept for refused in await self._spool_documents([one])]

    async def next_batch(self, first: Sequence[SessionKey], odd: Odd) -> dict[SessionKey, list[Kept]]:
        """The documents of the next sessions, from the file and from memory, without those in `odd`.

        Those in `first` come before others. Raises SpoolUnread.
        """
        batch: dict[SessionKey, list[Kept]] = {}
        if not self._without_file:
            load = partial(self._spool.load, max_documents=BATCH_DOCUMENTS, max_bytes=BATCH_BYTES)
            with Boundary(self._unread):
                batch = await self._offload(partial(load, first=first, skip=odd))
                self._unread_tries = 0
        more = [*first, *batch] if batch else [*first, *self._overflow.sessions()]
        documents = sum(map(len, batch.values()))
        for key in dict.fromkeys(more):
            left_out = odd.get(key, {})
            newer = {one.id: one for one in self._overflow.of(key) if one.id not in left_out}
            if newer and documents >= BATCH_DOCUMENTS and key not in batch and key not in first:
                break
            documents += len(newer)
            if newer:  # what waits in memory came after what is in the file
                batch[key] = list({**{one.id: one for one in batch.get(key, ())}, **newer}.values())
        return batch

    async def done(self, documents: Mapping[SessionKey, set[str]]) -> None:
        """Forget documents, by session and id, because the store has them or nobody will take them."""
        for key, ids in documents.items():
            for document_id in ids:
                self._overflow.drop((key, document_id))
        if documents and not self._without_file:
            with Boundary(_log_fault):
                await self._offload(partial(self._spool.done, documents))

    def has_more(self, odd: Odd) -> bool:
        """Whether anything is kept that is not in `odd`."""
        return (not self._without_file and self._spool.has_more(odd)) or any(
            one.id not in odd.get(key, {}) for key in self._overflow.sessions() for one in self._overflow.of(key)
        )

    async def finish(self) -> None:
        """Remove the file, because nothing waits any more."""
        if not self._without_file:
            with Boundary(_log_fault):
                await self._offload(self._spool.clear)

    def try_file_again(self) -> None:
        """Use a file again that could not be read before, because the store is lost anew."""
        self._without_file = False

    def _unread(self, fault: BaseException) -> None:
        _log_fault(fault)
        self._unread_tries += 1
        if self._unread_tries < UNREAD_MAX_TRIES:
            raise SpoolUnread(f"the spool of session state cannot be used: {reason_of(fault)}") from fault
        self._without_file = True
        log.error("what was spooled stays in its file, and the store is used without it")

    async def forget(self, key: SessionKey) -> None:
        """Drop the documents of a deleted session from the file and from memory. Raises OSError and TimeoutError."""
        self._overflow.forget(key)
        await self._offload(lambda: self._spool.forget(key))

    def give_up(self) -> None:
        """Count what is still in memory as lost, because the server ends."""
        if len(self._overflow):
            self._counts.lose(len(self._overflow), "the server ends, and neither the store nor the disk takes them")

    def log_waiting(self) -> None:
        """Log once when documents begin to wait in memory, and once when none waits any more."""
        if self._alarmed == bool(len(self._overflow)):
            return
        self._alarmed = not self._alarmed
        if self._alarmed:
            fields = {"documents": len(self._overflow), "payload_bytes": self._overflow.waiting_bytes}
            log.error("neither the store nor the disk takes session documents; they wait in memory", extra=fields)
        else:
            log.warning("no session document waits in memory any more")

    async def _offload(self, work: Callable[[], T]) -> T:
        """Work on the file, one job at a time, also if a disk that hangs keeps a job longer than we wait for it."""
        if self._inline:
            return work()
        async with asyncio.timeout(DISK_TIMEOUT_S):
            if self._disk_work is not None:
                await asyncio.wait({self._disk_work})
            self._disk_work = running = asyncio.get_running_loop().run_in_executor(None, work)
            running.add_done_callback(lambda done: done.cancelled() or done.exception())
            return await asyncio.shield(running)


def _log_fault(fault: BaseException) -> None:
    log.error("the spool of session state cannot be used", extra={"reason": reason_of(fault)})


def reason_of(fault: BaseException) -> str:
    """A fault as text for the log: the message of our own errors; of others, their type and place in the code."""
    if isinstance(fault, TimeoutError):
        return "timed out"
    if isinstance(fault, OSError):
        return fault.strerror or type(fault).__name__
    if isinstance(fault, StoreFailed):
        return str(fault)
    return kind_and_place(fault)
