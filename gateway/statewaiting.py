"""Documents that wait in memory: for company on their way to the store, or until the store or a disk takes them again.

There is only one version of each, the newest.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from gateway.statespool import key_of
from sessions.documents import SESSION_ID, SessionState
from sessions.stores.contract import SESSION, Document, SessionKey

Batch: TypeAlias = "dict[SessionKey, dict[str, Document]]"
Place: TypeAlias = "tuple[SessionKey, str]"  # a document's session, and its id

VALUE_BYTES = 64  # what a value takes beside its words


class Outbox:
    """Documents on their way, by session, each in its newest version."""

    def __init__(self, max_documents: int) -> None:
        self._waiting: Batch = {}
        self._max_documents = max_documents
        self._documents = 0

    def add(self, document: Document) -> bool:
        """Take a document, in the place of an older version; False where that would be one too many."""
        waiting = self._waiting.setdefault(key_of(document), {})
        document_id = str(document["id"])
        if document_id not in waiting:
            if self._documents >= self._max_documents:
                return False
            self._documents += 1
        waiting[document_id] = document
        return True

    def sessions(self) -> list[SessionKey]:
        """Whose documents wait."""
        return list(self._waiting)

    def take(self, keys: Iterable[SessionKey]) -> Batch:
        """Hand out what waits of these sessions."""
        taken = {key: self._waiting.pop(key) for key in keys if key in self._waiting}
        self._documents -= sum(map(len, taken.values()))
        return taken

    def put_back(self, batch: Mapping[SessionKey, Mapping[str, Document]]) -> None:
        """Take back what could not be written, where nothing newer has come meanwhile."""
        for key, documents in batch.items():
            newer = self._waiting.setdefault(key, {})
            older = {name: document for name, document in documents.items() if name not in newer}
            self._documents += len(older)
            newer.update(older)


class WaitingRoom:
    """Documents that neither the store nor the spool takes, bounded in bytes of memory.

    Past the bound the oldest go first, and of these first what its call will save again anyway: a live session's own
    document. What says that a session has ended goes last: without it a call would seem to go on for ever.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._ranks: tuple[OrderedDict[Place, tuple[Document, int]], ...] = (
            OrderedDict(),
            OrderedDict(),
            OrderedDict(),
        )
        self.waiting_bytes = 0

    def __len__(self) -> int:
        return sum(map(len, self._ranks))

    def add(self, documents: Iterable[Document]) -> int:
        """Take newest versions, in the place of older ones; how many documents had to go for them."""
        for document in documents:
            place = key_of(document), str(document["id"])
            self.drop(place)
            size = weight_bytes(document)
            self._ranks[_rank(document)][place] = document, size
            self.waiting_bytes += size
        gone = 0
        while self.waiting_bytes > self._max_bytes:
            self._take_oldest()
            gone += 1
        return gone

    def put_back(self, documents: Sequence[Document]) -> None:
        """Take back what `take` gave: the oldest still."""
        self.add(documents)
        for document in reversed(documents):
            rank = self._ranks[_rank(document)]
            place = key_of(document), str(document["id"])
            if place in rank:
                rank.move_to_end(place, last=False)

    def drop(self, place: Place) -> None:
        """Let go of a document: a newer version is elsewhere, or nobody wants it any more."""
        for rank in self._ranks:
            found = rank.pop(place, None)
            if found is not None:
                self.waiting_bytes -= found[1]

    def forget(self, key: SessionKey) -> None:
        """Let go of a session's documents."""
        for place in [place for rank in self._ranks for place in rank if place[0] == key]:
            self.drop(place)

    def take(self, max_documents: int, max_bytes: int) -> list[Document]:
        """Hand out some of them, but one at least while there is any; a session's end comes after its turns."""
        taken: list[Document] = []
        size = 0
        for rank in self._ranks:
            while rank and len(taken) < max_documents and (not taken or size < max_bytes):
                _, (document, document_bytes) = rank.popitem(last=False)
                self.waiting_bytes -= document_bytes
                size += document_bytes
                taken.append(document)
        return taken

    def _take_oldest(self) -> None:
        rank = next(rank for rank in self._ranks if rank)
        _, (_, size) = rank.popitem(last=False)
        self.waiting_bytes -= size


def _rank(document: Document) -> int:
    """Which goes first when there is no room: the smaller."""
    if document.get("type") == SESSION and document["id"] == SESSION_ID:
        return 2 if document.get("state") == SessionState.ENDED else 0
    return 1


def weight_bytes(value: Any) -> int:
    """About how much memory a document takes."""
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
