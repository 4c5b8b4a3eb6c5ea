"""Documents that wait in memory: to be written to the store together, or until the store or the disk works again.

Only the newest version of each document is kept.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from gateway.state.kept import Kept, key_of
from sessions.stores.contract import SESSION, Document, SessionKey
from sessions.stores.documents import SESSION_ID, SessionState

Batch: TypeAlias = "dict[SessionKey, dict[str, Document]]"
DocumentKey: TypeAlias = "tuple[SessionKey, str]"  # the document's session and its id

VALUE_BYTES = 64  # about what a Python value takes in memory besides its text


class Outbox:
    """Holds the newest version of each document that is to be written, by session."""

    def __init__(self, max_documents: int) -> None:
        self._waiting: Batch = {}
        self._max_documents = max_documents
        self._documents = 0

    def add(self, document: Document) -> bool:
        """Add a document, or replace its older version; False if the outbox is full."""
        waiting = self._waiting.setdefault(key_of(document), {})
        document_id = str(document["id"])
        if document_id not in waiting:
            if self._documents >= self._max_documents:
                return False
            self._documents += 1
        waiting[document_id] = document
        return True

    @property
    def crowded(self) -> bool:
        """Whether half of the documents that fit in are waiting."""
        return 2 * self._documents >= self._max_documents

    def holds(self, key: SessionKey) -> bool:
        """Whether documents of this session are waiting."""
        return bool(self._waiting.get(key))

    def sessions(self) -> list[SessionKey]:
        """The sessions that have documents waiting."""
        return list(self._waiting)

    def take(self, keys: Iterable[SessionKey]) -> Batch:
        """Remove and return the waiting documents of these sessions."""
        taken = {key: self._waiting.pop(key) for key in keys if key in self._waiting}
        self._documents -= sum(map(len, taken.values()))
        return taken

    def put_back(self, batch: Mapping[SessionKey, Mapping[str, Document]]) -> None:
        """Put back documents that could not be written, except those with a newer version here."""
        for key, documents in batch.items():
            newer = self._waiting.setdefault(key, {})
            older = {name: document for name, document in documents.items() if name not in newer}
            self._documents += len(older)
            newer.update(older)


class OverflowBuffer:
    """Keeps documents that neither the store nor the spool takes, bounded in bytes of memory.

    When the bound is exceeded, the oldest documents are dropped in this order: documents of live sessions, because
    their calls save them again; turns; documents of ended sessions, because without them a call would stay live.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._ranks: tuple[OrderedDict[DocumentKey, tuple[Kept, int]], ...] = (
            OrderedDict(),
            OrderedDict(),
            OrderedDict(),
        )
        self._sessions: dict[SessionKey, dict[str, Kept]] = {}
        self.waiting_bytes = 0

    def __len__(self) -> int:
        return sum(map(len, self._ranks))

    @property
    def since_ms(self) -> int | None:
        """When the oldest of these documents was kept (monotonic); None if there is none."""
        oldest = (next(iter(rank.values()), None) for rank in self._ranks)
        return min((found[0].since_ms for found in oldest if found is not None), default=None)

    def holds(self, key: SessionKey) -> bool:
        """Whether documents of this session are here."""
        return key in self._sessions

    def of(self, key: SessionKey) -> list[Kept]:
        """The documents of a session."""
        return list(self._sessions.get(key, {}).values())

    def sessions(self) -> list[SessionKey]:
        """The sessions that have documents here, oldest first."""
        return list(self._sessions)

    def add(self, kept: Iterable[Kept]) -> int:
        """Add documents, replacing older versions; return how many documents were dropped to make room."""
        for one in kept:
            key = key_of(one.document)
            self.drop((key, one.id))
            size = memory_bytes(one.document)
            self._ranks[_rank(one.document)][key, one.id] = one, size
            self._sessions.setdefault(key, {})[one.id] = one
            self.waiting_bytes += size
        dropped = 0
        while self.waiting_bytes > self._max_bytes:
            self._pop(next(rank for rank in self._ranks if rank))
            dropped += 1
        return dropped

    def put_back(self, kept: Sequence[Kept]) -> None:
        """Put back documents that `take` returned, as the oldest ones."""
        self.add(kept)
        for one in reversed(kept):
            rank = self._ranks[_rank(one.document)]
            key = key_of(one.document), one.id
            if key in rank:
                rank.move_to_end(key, last=False)

    def drop(self, key: DocumentKey) -> None:
        """Drop a document, because a newer version is elsewhere, it is stored, or its session was deleted."""
        for rank in self._ranks:
            found = rank.pop(key, None)
            if found is not None:
                self._removed(key, found[1])

    def forget(self, key: SessionKey) -> None:
        """Drop a session's documents."""
        for document_id in list(self._sessions.get(key, {})):
            self.drop((key, document_id))

    def take(self, max_documents: int, max_bytes: int) -> list[Kept]:
        """Remove and return a batch, at least one document if there is any; an ended session comes after its turns."""
        taken: list[Kept] = []
        size = 0
        for rank in self._ranks:
            while rank and len(taken) < max_documents and (not taken or size < max_bytes):
                kept, kept_bytes = self._pop(rank)
                size += kept_bytes
                taken.append(kept)
        return taken

    def _pop(self, rank: OrderedDict[DocumentKey, tuple[Kept, int]]) -> tuple[Kept, int]:
        """Remove the oldest document of a rank."""
        key, found = rank.popitem(last=False)
        self._removed(key, found[1])
        return found

    def _removed(self, key: DocumentKey, size: int) -> None:
        self.waiting_bytes -= size
        documents = self._sessions[key[0]]
        del documents[key[1]]
        if not documents:
            del self._sessions[key[0]]


def _rank(document: Document) -> int:
    """The order of dropping when the buffer is full: the smallest rank first."""
    if document.get("type") == SESSION and document["id"] == SESSION_ID:
        return 2 if document.get("state") == SessionState.ENDED else 0
    return 1


def memory_bytes(value: Any) -> int:
    """About how much memory a document takes, in bytes."""
    total = 0
    rest = [value]
    while rest:
        value = rest.pop()
        total += VALUE_BYTES
        if isinstance(value, str | bytes):
            total += len(value)
        elif isinstance(value, Mapping):
            rest.extend(value.values())
        elif isinstance(value, list | tuple):
            rest.extend(value)
    return total
