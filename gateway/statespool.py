"""Documents that the store would not take, kept in a file until it does: JSON lines, oldest first, bounded in bytes."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson

from sessions.errors import Overloaded
from sessions.stores.contract import Document, SessionKey

NAME = "state.jsonl"

log = logging.getLogger("patchbay.state")


def key_of(document: Document) -> SessionKey:
    """The partition of a document."""
    return SessionKey(str(document["tenant"]), str(document["session_id"]))


class StateSpool:
    """One file of documents that wait for the store; all its methods block, and may raise OSError."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._path = folder / NAME
        self._max_bytes = max_bytes

    @property
    def place(self) -> str:
        """The file's path, for people."""
        return str(self._path)

    @property
    def waits(self) -> bool:
        """Whether anything is in it."""
        return self._path.exists()

    def append(self, documents: Iterable[Document]) -> None:
        """Add documents. Raises Overloaded, and adds nothing, where the file would grow past its bound."""
        # Each line has its own begin, should half a line of an earlier try be left behind.
        lines = b"".join(b"\n" + orjson.dumps(document) for document in documents) + b"\n"
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            before_bytes = os.fstat(descriptor).st_size
            if before_bytes + len(lines) > self._max_bytes:
                raise Overloaded("the spool of session state is full")
            written = os.write(descriptor, lines)
            if written < len(lines):  # the disk filled up
                os.ftruncate(descriptor, before_bytes)
                raise OSError(errno.ENOSPC, "no space left for the spool of session state")
        finally:
            os.close(descriptor)

    def read(self) -> list[Document]:
        """What waits, oldest first, each document in its newest version; what cannot be read is skipped, and told."""
        return _newest(self._lines()) if self.waits else []

    def read_some(self, offset: int, max_documents: int) -> tuple[list[Document], int]:
        """As `read`, but of a piece of the file from a place on; with the place of the next, which is 0 at the end."""
        if not self.waits:
            return [], 0
        found: list[Document] = []
        with self._path.open("rb") as file:
            file.seek(offset)
            for line in file:
                offset += len(line)
                document = _read(line)
                if document is not None:
                    found.append(document)
                elif line.strip():
                    log.error("a line of spooled state cannot be read", extra={"place": f"{self._path}, byte {offset}"})
                if len(found) >= max_documents:
                    return _newest(found), offset
        return _newest(found), 0

    def _lines(self) -> Iterator[Document]:
        with self._path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                document = _read(line)
                if document is not None:
                    yield document
                elif line.strip():  # half a line, of a crash or of somebody else
                    log.error("a line of spooled state cannot be read", extra={"place": f"{self._path}:{number}"})

    def clear(self) -> None:
        """Forget all of it."""
        if self.waits:
            self._path.unlink(missing_ok=True)

    def forget(self, key: SessionKey) -> None:
        """Drop one session's documents. A crash meanwhile costs none of the others, unless the disk is full."""
        if not self.waits:
            return
        kept = [document for document in self.read() if key_of(document) != key]
        if not kept:
            self.clear()
            return
        lines = b"".join(orjson.dumps(document) + b"\n" for document in kept)
        beside = self._path.with_name(f".{NAME}.part")
        try:
            _write(beside, lines)
            os.replace(beside, self._path)
        except OSError:
            beside.unlink(missing_ok=True)
            _write(self._path, lines)  # it is shorter than what is there, and takes no room


def _write(path: Path, content: bytes) -> None:
    """Make this the content of a file, over what it held."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
        file.write(content)
        file.truncate()


def _newest(documents: Iterable[Document]) -> list[Document]:
    """Each document once."""
    return list({(key_of(document), document["id"]): document for document in documents}.values())


def _read(line: bytes) -> Document | None:
    """One line's document, if it is one: with names that say where it belongs."""
    try:
        found: Any = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(found, dict) or not all(isinstance(found.get(name), str) for name in ("tenant", "session_id")):
        return None
    return found if isinstance(found.get("id"), str) else None
