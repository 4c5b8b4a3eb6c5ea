"""A file for documents that the store refuses, until it takes them: one a line, oldest first, bounded in bytes.

The documents are read by session. Once those of a session are stored, its lines are marked in place as void, which
needs no space on the disk, so that neither this process nor the next start writes them again.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from gateway.state.kept import Kept, decode, encode, key_of
from sessions.errors import Overloaded
from sessions.stores.contract import SessionKey
from sessions.stores.documents import SESSION_ID

NAME = "state.jsonl"
_NONE: Mapping[SessionKey, Collection[str]] = {}
VOID = b"#"  # replaces the first byte of a line that is not needed any more

log = logging.getLogger("patchbay.state")


@dataclass(frozen=True, slots=True)
class SpoolSize:
    """How much waits in a spool, counting only the newest version of each document.

    `since_ms` is when the oldest of them was spooled (monotonic); None if this process spooled none of them.
    """

    documents: int = 0
    payload_bytes: int = 0  # of the whole file
    since_ms: int | None = None


@dataclass(slots=True)
class _Lines:
    """Where the documents of one session are in the file."""

    since_ms: int  # when its oldest document was spooled
    newest: dict[str, tuple[int, int]] = field(default_factory=dict)  # by document id: offset and length, in bytes
    offsets: list[int] = field(default_factory=list)  # of all lines, also those of older versions


class StateSpool:
    """Keeps documents that wait for the store in one file. The methods block and may raise OSError."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._path = folder / NAME
        self._max_bytes = max_bytes
        self._sessions: dict[SessionKey, _Lines] = {}  # in the order in which their first documents came
        self._end = 0  # the size of the file as this object left it
        self._has_void = False
        self.size = SpoolSize()

    @property
    def place(self) -> str:
        """The file's path, for log messages."""
        return str(self._path)

    @property
    def has_documents(self) -> bool:
        """Whether there is a file."""
        return self._path.exists()

    def holds(self, key: SessionKey) -> bool:
        """Whether documents of this session wait in the file. Does not block."""
        return key in self._sessions

    def has_more(self, skip: Mapping[SessionKey, Collection[str]]) -> bool:
        """Whether documents wait in the file that are not in `skip`. Does not block."""
        return any(lines.newest.keys() - skip.get(key, ()) for key, lines in self._sessions.items())

    def append(self, kept: Iterable[Kept]) -> None:
        """Add documents. Raises Overloaded, and adds nothing, if the file would grow past its bound.

        Raises TypeError, and adds nothing, if one of them cannot be written as JSON.
        """
        self._look()
        encoded = [(one, encode(one)) for one in kept]
        # Each document is preceded by a line break, because an earlier attempt may have left half a line behind.
        lines = b"".join(b"\n" + line for _, line in encoded) + b"\n"
        if self._end + len(lines) > self._max_bytes and self._waste_bytes() * 2 >= self._end:
            self._rewrite()
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
        offset = before_bytes
        for one, line in encoded:
            self._add(one, offset + 1, len(line), one.since_ms)
            offset += 1 + len(line)
        self._end = offset + 1
        self._measure()

    def load(
        self,
        *,
        max_documents: int,
        max_bytes: int,
        first: Iterable[SessionKey] = (),
        skip: Mapping[SessionKey, Collection[str]] = _NONE,
    ) -> dict[SessionKey, list[Kept]]:
        """Read the newest versions of the documents of some sessions: those in `first`, then the oldest ones.

        At least one session is read if any waits; documents in `skip`, by session and id, are left out. Of a session
        that has more documents than the bounds allow, a part is read; each part contains the session's own document, if
        that waits too.
        """
        self._look()
        found: dict[SessionKey, list[Kept]] = {}
        if not self._sessions:
            return found
        documents = size_bytes = 0
        with self._path.open("rb") as file:
            for key in dict.fromkeys([*(key for key in first if key in self._sessions), *self._sessions]):
                lines = self._sessions[key]
                places = self._part(lines, skip.get(key, ()), max_documents, max_bytes)
                documents += len(places)
                size_bytes += sum(length for _, length in places.values())
                if found and (documents > max_documents or size_bytes > max_bytes):
                    break
                kept = [one for one in (self._read(file, key, name, lines) for name in places) if one is not None]
                if kept:
                    found[key] = kept
        return found

    def done(self, documents: Mapping[SessionKey, Collection[str]]) -> None:
        """Note documents, by session and id, that need not be written any more. Without any left, the file goes.

        A session's own document stays until the others are done, because it is written together with them.
        """
        void: list[int] = []
        for key, ids in documents.items():
            lines = self._sessions.get(key)
            if lines is None:
                continue
            if lines.newest.keys() - ids:
                for document_id in ids:
                    if document_id != SESSION_ID:
                        lines.newest.pop(document_id, None)
            else:
                void += lines.offsets
                del self._sessions[key]
        self._measure()
        if not self._sessions:
            self.clear()
        elif void:
            self._has_void = True
            with self._path.open("r+b", buffering=0) as file:
                for offset in void:
                    file.seek(offset)
                    file.write(VOID)

    def clear(self) -> None:
        """Remove the file."""
        self._path.unlink(missing_ok=True)
        self._forget_all()

    def forget(self, key: SessionKey) -> None:
        """Remove one session's documents, also those marked as void. A crash meanwhile loses no others."""
        self._look()
        if self._sessions.pop(key, None) is not None or self._has_void:
            self._rewrite()

    def _look(self) -> None:
        """Read where the documents are, if the file is not as this object left it."""
        try:
            size_bytes = self._path.stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            size_bytes = 0
        if size_bytes == self._end:
            return
        if self._end:
            log.error("the spool of session state was changed by another program", extra={"place": self.place})
        self._forget_all()
        if size_bytes:
            self._read_all()
        self._measure()

    def _read_all(self) -> None:
        offset = 0
        with self._path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                kept = None if line.startswith(VOID) else decode(line)
                if kept is not None:
                    self._add(kept, offset, len(line), 0)
                elif line.startswith(VOID):
                    self._has_void = True
                elif line.strip():  # half a line after a crash, or text that another program wrote
                    log.error("a line of spooled state cannot be read", extra={"place": f"{self._path}:{number}"})
                offset += len(line)
        self._end = offset

    def _add(self, kept: Kept, offset: int, length: int, since_ms: int) -> None:
        lines = self._sessions.setdefault(key_of(kept.document), _Lines(since_ms))
        lines.newest[kept.id] = offset, length
        lines.offsets.append(offset)

    def _read(self, file: BinaryIO, key: SessionKey, document_id: str, lines: _Lines) -> Kept | None:
        """Read one document; None, and it is left out from now on, if another program has changed its line."""
        offset, length = lines.newest[document_id]
        file.seek(offset)
        kept = decode(file.read(length))
        if kept is not None and key_of(kept.document) == key and kept.id == document_id:
            return kept
        log.error("a line of spooled state cannot be read", extra={"place": f"{self._path}, byte {offset}"})
        del lines.newest[document_id]
        return None

    @staticmethod
    def _part(lines: _Lines, skip: Collection[str], max_documents: int, max_bytes: int) -> dict[str, tuple[int, int]]:
        """The places of a session's own document and as many others as fit, at least one if there are any."""
        others = {document_id: place for document_id, place in lines.newest.items() if document_id not in skip}
        session = others.pop(SESSION_ID, None)
        found = {} if session is None else {SESSION_ID: session}
        size_bytes = sum(length for _, length in found.values())
        for number, (document_id, (offset, length)) in enumerate(others.items()):
            size_bytes += length
            if number and (len(found) >= max_documents or size_bytes > max_bytes):
                break
            found[document_id] = offset, length
        return found

    def _waste_bytes(self) -> int:
        """How much of the file is void, or holds older versions."""
        return self._end - sum(length + 1 for lines in self._sessions.values() for _, length in lines.newest.values())

    def _rewrite(self) -> None:
        """Write the newest version of each document into a new file, and put it in the place of the old one."""
        if not self._sessions:
            self.clear()
            return
        with self._path.open("rb") as file:
            content = b"".join(_line_at(file, *place) for place in self._places())
        beside = self._path.with_name(f".{NAME}.part")
        try:
            _write(beside, content)
            os.replace(beside, self._path)
        except OSError:
            beside.unlink(missing_ok=True)
            _write(self._path, content)  # shorter than the present content, so it needs no free space
        offset = 0
        for lines in self._sessions.values():
            for document_id, (_, length) in lines.newest.items():
                lines.newest[document_id] = offset, length
                offset += length + 1
            lines.offsets = [start for start, _ in lines.newest.values()]
        self._end, self._has_void = offset, False
        self._measure()

    def _places(self) -> Iterator[tuple[int, int]]:
        return (place for lines in self._sessions.values() for place in lines.newest.values())

    def _forget_all(self) -> None:
        self._sessions.clear()
        self._end, self._has_void = 0, False
        self.size = SpoolSize()

    def _measure(self) -> None:
        documents = sum(len(lines.newest) for lines in self._sessions.values())
        since_ms = next((lines.since_ms for lines in self._sessions.values() if lines.since_ms), None)
        self.size = SpoolSize(documents, self._end, since_ms)


def _line_at(file: BinaryIO, offset: int, length: int) -> bytes:
    """A line with its line break. Raises OSError if the file is shorter than it was."""
    file.seek(offset)
    line = file.read(length)
    if len(line) < length:
        raise OSError(errno.EIO, "the spool of session state was changed by another program")
    return line + b"\n"


def _write(path: Path, content: bytes) -> None:
    """Replace the content of a file."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
        file.write(content)
        file.truncate()
