"""The courier's ledger: which parts of a session a destination has, in a file, so that nothing is sent twice.

A courier that follows one that was killed reads it, and so does the next server after a server was killed. It is locked
by the courier that writes it, so that a reader can wait for its last line. One JSON array a line: `[session, part,
destination]`, and `[session]` once nothing more of a session will come. A line that was cut off is skipped.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import orjson

if sys.platform != "win32":
    import fcntl

REWRITE_BYTES = 1024 * 1024
MAX_OVER = 10_000  # sessions of which it is remembered that they are over
MAX_READ_BYTES = 64 * 1024 * 1024

SentPart = tuple[str, str, str]  # session, part, destination


class Ledger:
    """What has been sent of each session, in memory and in a file. A file that fails costs only its contents."""

    def __init__(self, path: Path | None, rewrite_bytes: int = REWRITE_BYTES) -> None:
        """Read what the file has already; `path` None keeps it in memory. Raises OSError if it cannot be opened."""
        self._path = path
        self._rewrite_bytes = rewrite_bytes
        self._rewrite_at_bytes = rewrite_bytes
        self._sent: dict[str, set[tuple[str, str]]] = {}
        self._over: dict[str, None] = {}
        self._descriptor = -1
        self._size_bytes = 0
        if path is not None:
            for line in read_lines(path):
                self._take(line)
            self._open(path)

    def has(self, session: str, part: str, destination: str) -> bool:
        """Whether a destination has this part of a session, or will get no more of it."""
        return session in self._over or (part, destination) in self._sent.get(session, ())

    def is_over(self, session: str) -> bool:
        """Whether nothing more of a session is to be sent."""
        return session in self._over

    def note(self, parts: Iterable[SentPart]) -> None:
        """Note that destinations have parts of sessions. Raises OSError if the file does not take it."""
        self._append([list(part) for part in parts])

    def over(self, session: str) -> None:
        """Note that nothing more of a session will be sent. Raises OSError if the file does not take it."""
        self._append([[session]])

    def close(self, *, remove: bool) -> None:
        """Release the file, and remove it if no other process needs it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        if remove and self._path is not None:
            self._path.unlink(missing_ok=True)

    def _append(self, lines: list[list[str]]) -> None:
        new = [line for line in lines if self._take(line)]
        if not new or self._descriptor < 0:
            return
        self._size_bytes += os.write(self._descriptor, _encoded(new))
        if self._size_bytes > self._rewrite_at_bytes:
            self._rewrite()

    def _take(self, line: list[str]) -> bool:
        """Take a line into memory; False if it is known already."""
        if line[0] in self._over:
            return False
        if len(line) == 1:
            self._sent.pop(line[0], None)
            self._over[line[0]] = None
            if len(self._over) > MAX_OVER:
                del self._over[next(iter(self._over))]
            return True
        known = self._sent.setdefault(line[0], set())
        if (line[1], line[2]) in known:
            return False
        known.add((line[1], line[2]))
        return True

    def _open(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        if sys.platform != "win32":
            fcntl.flock(self._descriptor, fcntl.LOCK_SH)  # the courier before may still hold it for a moment
        self._size_bytes = os.fstat(self._descriptor).st_size

    def _rewrite(self) -> None:
        """Write the file anew without what is no longer needed; it grows again by as much before the next time."""
        assert self._path is not None
        lines = [[session] for session in self._over]
        lines += [[session, *part] for session, parts in self._sent.items() for part in sorted(parts)]
        fresh = self._path.with_suffix(".new")
        fresh.write_bytes(_encoded(lines))
        old = self._descriptor
        fresh.replace(self._path)
        self._open(self._path)
        os.close(old)
        self._rewrite_at_bytes = self._rewrite_bytes + 2 * self._size_bytes


def in_use(path: Path) -> bool:
    """Whether a courier still writes this ledger; False if there is no such file."""
    if sys.platform == "win32":
        return False
    try:
        descriptor = os.open(path, os.O_WRONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def read_lines(path: Path) -> Iterator[list[str]]:
    """The lines of a ledger; none if it cannot be read, and none past 64 MiB."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_READ_BYTES)
    except OSError:
        return
    for line in raw.splitlines():
        try:
            found = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if isinstance(found, list) and len(found) in (1, 3) and all(isinstance(part, str) for part in found):
            yield found


def _encoded(lines: list[list[str]]) -> bytes:
    return b"".join(orjson.dumps(line) + b"\n" for line in lines)
