"""Reads a whole file that a person has written or recorded: only a plain one, and only up to a bound.

Whatever else can stand under a file's name would hold up its reader: a named pipe waits for a writer, a device may
never end. This stands in `audio/` since recordings are read here; the readers of texts in `gateway/` use it too.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Final, TypeAlias

MAX_TEXT_BYTES: Final = 1 << 20  # of agents' files, scripts and settings
MAX_SOUND_BYTES: Final = 1 << 28  # of a recording; an hour and a half of PCM16 at 24 kHz

_PIECE_BYTES = 1 << 20
# Not to wait for a pipe that came between two looks, nor become the owner of a terminal. Windows has neither flag.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)
_KINDS = (
    (stat.S_ISDIR, "is a folder"),
    (stat.S_ISFIFO, "is a named pipe"),
    (stat.S_ISSOCK, "is a socket"),
    (stat.S_ISCHR, "is a device"),
    (stat.S_ISBLK, "is a device"),
)

Stamp: TypeAlias = "tuple[int, ...]"


class UnfitFile(OSError):
    """What stands there is not a plain file, or is too large; `strerror` says which, and what to do."""

    def __init__(self, path: Path, code: int, reason: str) -> None:
        super().__init__(code, reason, str(path))

    def __str__(self) -> str:
        return f"{self.filename} {self.strerror}"


def read_whole(path: Path, most_bytes: int) -> bytes:
    """The bytes of a plain file, or of one that a link leads to. Raises UnfitFile, or another OSError.

    It waits for nothing but the disk. Raises ValueError for a name that no file can have.
    """
    # Looked at before it is opened, since the opening of some devices has effects; and after, as it may be another.
    _check(path, path.stat(), most_bytes)
    descriptor = os.open(path, _FLAGS)
    try:
        _check(path, os.fstat(descriptor), most_bytes)
        pieces: list[bytes] = []
        left_bytes = most_bytes + 1  # it may grow while it is read, and some file systems tell no size
        while left_bytes > 0 and (piece := os.read(descriptor, min(left_bytes, _PIECE_BYTES))):
            pieces.append(piece)
            left_bytes -= len(piece)
    finally:
        os.close(descriptor)
    if left_bytes <= 0:
        raise UnfitFile(path, errno.EFBIG, f"has more than {most_bytes} bytes, which is the most that is read")
    return b"".join(pieces)


def stamp_of(path: Path) -> Stamp | None:
    """What changes when a file is written to or replaced; None where there is none, or it cannot be looked at."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_mode, found.st_ino, found.st_dev


def _check(path: Path, found: os.stat_result, most_bytes: int) -> None:
    if not stat.S_ISREG(found.st_mode):
        kind = next((words for is_kind, words in _KINDS if is_kind(found.st_mode)), "is no plain file")
        code = errno.EISDIR if stat.S_ISDIR(found.st_mode) else errno.EINVAL
        raise UnfitFile(path, code, f"{kind}; put a plain file there")
    if found.st_size > most_bytes:
        raise UnfitFile(path, errno.EFBIG, f"has {found.st_size} bytes; at most {most_bytes} are read")
