"""Documents that the store would not take, kept in a file until it does: JSON lines, oldest first, bounded in bytes."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import orjson

from sessions.errors import Overloaded
from sessions.stores.contract import Document, SessionKey

NAME = "state.jsonl"


def key_of(document: Document) -> SessionKey:
    """The partition of a document."""
    return SessionKey(str(document["tenant"]), str(document["session_id"]))


class StateSpool:
    """One file of documents that wait for the store; all its methods block, and may raise OSError."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._path = folder / NAME
        self._max_bytes = max_bytes

    @property
    def waits(self) -> bool:
        """Whether anything is in it."""
        return self._path.exists()

    def append(self, documents: Iterable[Document]) -> None:
        """Add documents. Raises Overloaded, and adds nothing, where the file would grow past its bound."""
        lines = b"".join(orjson.dumps(document) + b"\n" for document in documents)
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            before_bytes = os.fstat(descriptor).st_size
            if before_bytes + len(lines) > self._max_bytes:
                raise Overloaded("the spool of session state is full")
            written = os.write(descriptor, lines)
            if written < len(lines):  # the disk filled up: half a line would spoil the next one
                os.ftruncate(descriptor, before_bytes)
                raise OSError(errno.ENOSPC, "no space left for the spool of session state")
        finally:
            os.close(descriptor)

    def read(self) -> list[Document]:
        """What waits, oldest first, each document in its newest version; a line cut short by a crash is skipped."""
        newest: dict[tuple[SessionKey, object], Document] = {}
        if not self.waits:
            return []
        for line in self._path.read_bytes().splitlines():
            try:
                document = orjson.loads(line)
            except orjson.JSONDecodeError:
                continue
            newest[key_of(document), document["id"]] = document
        return list(newest.values())

    def clear(self) -> None:
        """Forget all of it."""
        self._path.unlink(missing_ok=True)

    def forget(self, key: SessionKey) -> None:
        """Drop one session's documents."""
        if not self.waits:
            return
        kept = [document for document in self.read() if key_of(document) != key]
        self.clear()
        if kept:
            self.append(kept)


class Outbox:
    """Documents that wait to be written, by session, each in its newest version."""

    def __init__(self, max_documents: int) -> None:
        self._waiting: dict[SessionKey, dict[str, Document]] = {}
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

    def take(self, keys: Iterable[SessionKey]) -> dict[SessionKey, dict[str, Document]]:
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
