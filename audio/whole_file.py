"""Reads a whole file that a person has written or recorded: only a regular file, and only up to a maximum size.

Anything else could block the reader: a named pipe waits for a writer, a device may never end. This module is in
`audio/` because recordings are read here; the readers of text files in `gateway/` use it too.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Final, TypeAlias

MAX_TEXT_BYTES: Final = 1 << 20  # for agent files, scripts and settings
MAX_SOUND_BYTES: Final = 1 << 28  # for a recording: one and a half hours of PCM16 at 24 kHz

_PIECE_BYTES = 1 << 20
# O_NONBLOCK: a pipe that replaced the file after the first check must not block. O_NOCTTY: a terminal must not become
# our controlling terminal. Windows has neither flag.
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
    """The path is not a regular file, or the file is too large; `strerror` says which, and what to do."""

    def __init__(self, path: Path, code: int, reason: str) -> None:
        super().__init__(code, reason, str(path))

    def __str__(self) -> str:
        return f"{self.filename} {self.strerror}"


def read_whole(path: Path, most_bytes: int) -> bytes:
    """Read the bytes of a regular file; links are followed. Raises UnfitFile or another OSError.

    It waits only for the disk. Raises ValueError for a name that no file can have.
    """
    # Checked before it is opened because opening some devices has effects, and after because it may have been replaced.
    _check(path, path.stat(), most_bytes)
    descriptor = os.open(path, _FLAGS)
    try:
        _check(path, os.fstat(descriptor), most_bytes)
        pieces: list[bytes] = []
        left_bytes = most_bytes + 1  # the file may grow meanwhile, and some file systems report no size
        while left_bytes > 0 and (piece := os.read(descriptor, min(left_bytes, _PIECE_BYTES))):
            pieces.append(piece)
            left_bytes -= len(piece)
    finally:
        os.close(descriptor)
    if left_bytes <= 0:
        raise UnfitFile(path, errno.EFBIG, f"has more than {most_bytes} bytes, which is the maximum")
    return b"".join(pieces)


def stamp_of(path: Path) -> Stamp | None:
    """A value that changes when the file is written or replaced; None if it is missing or cannot be checked."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_mode, found.st_ino, found.st_dev


def _check(path: Path, found: os.stat_result, most_bytes: int) -> None:
    if not stat.S_ISREG(found.st_mode):
        kind = next((words for is_kind, words in _KINDS if is_kind(found.st_mode)), "is not a plain file")
        code = errno.EISDIR if stat.S_ISDIR(found.st_mode) else errno.EINVAL
        raise UnfitFile(path, code, f"{kind}; put a plain file there")
    if found.st_size > most_bytes:
        raise UnfitFile(path, errno.EFBIG, f"has {found.st_size} bytes; at most {most_bytes} are read")
