"""The way round a store that is lost: into a file, where the disk takes none into memory, and from both into the store.

What comes back goes in piece by piece, so that no call notices. Of a document that a store refuses in a way that no
store should, it is not known whether the document is at fault or the store: where other documents went in, it was the
document, and that is lost; where none did, the store is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from gateway.guard import Boundary, innermost, place_of
from gateway.statespool import StateSpool, key_of
from gateway.statewaiting import WaitingRoom
from gateway.statewriter import KeeperCounts, StateWriter
from sessions.ports import Clock
from sessions.stores.contract import BadDocument, Document, SessionKey, StoreFailed

RETRY_MS = 2_000
DISK_TIMEOUT_S = 10.0  # for the file; a disk that hangs longer counts as one that refuses
UNREAD_MAX_TRIES = 5  # of a file that cannot be read: then the store is used without what it holds
PIECE_DOCUMENTS = 100
PIECE_BYTES = 1024 * 1024
WAITING_MAX_BYTES = 64 * 1024 * 1024

log = logging.getLogger("patchbay.state")
T = TypeVar("T")


@dataclass(slots=True)
class _Back:
    """How it goes with bringing documents back."""

    stored: int = 0
    lost: Exception | None = None  # what the store said when it was lost again
    odd: list[tuple[Document, BaseException]] = field(default_factory=list)


class StateDetour:
    """Knows whether the store is lost, and keeps what it cannot take; the file's work is done off the loop."""

    def __init__(
        self,
        spool: StateSpool,
        counts: KeeperCounts,
        clock: Clock,
        *,
        inline: bool,
        waiting_max_bytes: int = WAITING_MAX_BYTES,
    ) -> None:
        self._spool = spool
        self._counts = counts
        self._clock = clock
        self._inline = inline
        self._room = WaitingRoom(waiting_max_bytes)
        self._retry_at_ms: int | None = None  # while the store is lost
        self._disk_retry_at_ms = 0  # for the file, once it was refused
        self._unread_tries = 0
        self._alarmed = False  # that documents wait in memory

    @property
    def open(self) -> bool:
        """True while the store is lost."""
        return self._retry_at_ms is not None

    @property
    def waiting(self) -> int:
        """How many documents wait in memory, where a crash would cost them."""
        return len(self._room)

    @property
    def retry_in_ms(self) -> int | None:
        """How long until a store that is lost should be tried again; None while it is not."""
        return None if self._retry_at_ms is None else max(0, self._retry_at_ms - self._clock.now_ms())

    @property
    def retry_due(self) -> bool:
        """Whether a store that is lost should be tried again now."""
        return self.retry_in_ms == 0

    def store_lost(self, error: BaseException) -> None:
        """The store refused a write, or let it wait too long."""
        if not self.open:
            log.error("the store is lost; state is spooled", extra={"reason": _reason(error)})
        self._retry_at_ms = self._clock.now_ms() + RETRY_MS

    async def keep(self, documents: Sequence[Document], *, at_once: bool = False) -> None:
        """Put documents into the file, or where the disk refuses into memory, and what waits there into the file too.

        `at_once` tries a disk that has just refused.
        """
        if at_once or self._clock.now_ms() >= self._disk_retry_at_ms:
            documents = await self._spooled(documents)
            while not documents and len(self._room):
                if not await self._move(self._spooled):
                    break
        gone = self._room.add(documents)
        if gone:
            self._counts.lose(gone, "neither the store nor the disk takes them, and memory for them is full")
        self._tell()

    async def _spooled(self, documents: Sequence[Document]) -> Sequence[Document]:
        """Put documents into the file; those that it does not take."""
        if not documents:
            return documents
        refusals: list[BaseException] = []
        with Boundary(refusals.append):
            await self._offload(partial(self._spool.append, documents))
            self._counts.spooled += len(documents)
            for document in documents:  # an older version must not come after this one
                self._room.drop((key_of(document), str(document["id"])))
            return ()
        if isinstance(refusals[0], TypeError):  # one of them is no JSON
            return await self._spooled_singly(documents, refusals[0])
        self._disk_retry_at_ms = self._clock.now_ms() + RETRY_MS
        return documents

    async def _spooled_singly(self, documents: Sequence[Document], fault: TypeError) -> Sequence[Document]:
        if len(documents) == 1:
            self._counts.lose(1, f"it cannot be written as JSON: {fault}")
            return ()
        return [refused for document in documents for refused in await self._spooled([document])]

    async def bring_back(self, writer: StateWriter) -> None:
        """Try to bring file and memory into the store; on success the store counts as found."""
        back = _Back()
        with Boundary(partial(self._unread, back)):
            await self._store_file(writer, back)
            if self._settled(back):
                await self._offload(self._spool.clear)
            self._unread_tries = 0
        while back.lost is None and len(self._room):
            await self._move(partial(self._returned, writer, back))
        if back.lost is None:
            self._retry_at_ms = None
            log.warning("the store is back")
        else:
            self.store_lost(back.lost)
        self._tell()

    async def _store_file(self, writer: StateWriter, back: _Back) -> None:
        """Write what is in the file, piece by piece: a store that is still lost costs one piece's reading."""
        place = 0
        while back.lost is None:
            documents, place = await self._offload(partial(self._spool.read_some, place, PIECE_DOCUMENTS))
            await self._store(writer, documents, back)
            if not place:
                return

    async def _move(self, out: Callable[[Sequence[Document]], Awaitable[Sequence[Document]]]) -> bool:
        """Move a piece of what waits in memory; what `out` gives back stays. False where it gives back any."""
        piece = self._room.take(PIECE_DOCUMENTS, PIECE_BYTES)
        refused: Sequence[Document] = piece  # all of it, where this is cut off
        try:
            refused = await out(piece)
        finally:
            self._room.put_back(refused)
        return not refused

    async def _returned(self, writer: StateWriter, back: _Back, piece: Sequence[Document]) -> Sequence[Document]:
        refused = await self._store(writer, piece, back)
        if back.odd and not self._settled(back):
            refused.extend(document for document, _ in back.odd)
        return refused

    def _unread(self, back: _Back, fault: BaseException) -> None:
        """The file cannot be read, or not removed after it. What is in memory may be newer, and waits for it."""
        log.error("the spool of session state cannot be used", extra={"reason": _reason(fault)})
        self._unread_tries += 1
        if self._unread_tries < UNREAD_MAX_TRIES:
            back.lost = StoreFailed(f"the spool of session state cannot be used: {_reason(fault)}")
        else:
            log.error("what was spooled stays in its file, and the store is used without it")

    async def _store(self, writer: StateWriter, documents: Sequence[Document], back: _Back) -> list[Document]:
        """Write some of them side by side, unless the store is lost again; those that must wait."""
        if back.lost is not None:
            return list(documents)
        refused: list[Document] = []

        async def write(document: Document) -> None:
            def odd(fault: BaseException) -> None:
                if isinstance(fault, BadDocument):
                    self._counts.lose(1, str(fault))
                elif isinstance(fault, StoreFailed | TimeoutError):
                    back.lost = fault
                    refused.append(document)
                else:
                    back.odd.append((document, fault))

            with Boundary(odd):
                await writer.overwrite(document)
                back.stored += 1

        async with asyncio.TaskGroup() as writes:
            for document in documents:
                writes.create_task(write(document))
        return refused

    def _settled(self, back: _Back) -> bool:
        """Whether all that was given to the store is in it, or is at fault itself; else the store is lost."""
        if back.odd and not back.stored and back.lost is None:
            back.lost = StoreFailed(f"it answers with {_reason(back.odd[0][1])}")
        if back.lost is not None:
            return False
        for _, fault in back.odd:
            self._counts.lose(1, f"the store refuses it alone, with {_reason(fault)}")
        back.odd.clear()
        return True

    async def forget(self, key: SessionKey) -> None:
        """Drop a deleted session's documents from file and memory. Raises OSError and TimeoutError."""
        self._room.forget(key)
        await self._offload(lambda: self._spool.forget(key))

    def give_up(self) -> None:
        """The server ends: what is in memory only is lost."""
        if len(self._room):
            self._counts.lose(len(self._room), "the server ends, and neither the store nor the disk takes them")

    def _tell(self) -> None:
        if self._alarmed == bool(len(self._room)):
            return
        self._alarmed = not self._alarmed
        if self._alarmed:
            fields = {"documents": len(self._room), "payload_bytes": self._room.waiting_bytes}
            log.error("neither the store nor the disk takes session documents; they wait in memory", extra=fields)
        else:
            log.warning("no session document waits in memory any more")

    async def _offload(self, work: Callable[[], T]) -> T:
        if self._inline:
            return work()
        async with asyncio.timeout(DISK_TIMEOUT_S):
            return await asyncio.to_thread(work)


def _reason(fault: BaseException) -> str:
    """What to tell of a fault: words of our own kinds, of others their kind and place."""
    if isinstance(fault, TimeoutError):
        return "timed out"
    if isinstance(fault, OSError):
        return fault.strerror or type(fault).__name__
    if isinstance(fault, StoreFailed):
        return str(fault)
    return f"{type(innermost(fault)).__name__} {place_of(fault)}"
