"""A disk of a few megabytes that a test can fill. It is a tmpfs, so the test must have the right to mount one."""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

FILLER = "filler"
PIECE_BYTES = 4096


@dataclass(frozen=True)
class Disk:
    """A small disk that is mounted at `folder`."""

    folder: Path

    def fill(self, *, leave_bytes: int = 0) -> None:
        """Fill the disk until only `leave_bytes` are free."""
        filler = self.folder / FILLER
        with filler.open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(PIECE_BYTES))
            except OSError as full:
                if full.errno != errno.ENOSPC:
                    raise
            file.truncate(max(0, file.tell() - leave_bytes))

    def free(self) -> None:
        """Remove what `fill` wrote."""
        (self.folder / FILLER).unlink(missing_ok=True)

    @contextmanager
    def read_only(self) -> Iterator[None]:
        """Files opened in the block are read-only (EROFS). Files that are open already stay writable."""
        place = str(self.folder)
        subprocess.run(["mount", "--bind", place, place], check=True, capture_output=True)
        subprocess.run(["mount", "-o", "remount,bind,ro", place], check=True, capture_output=True)
        try:
            yield
        finally:
            subprocess.run(["umount", "-l", place], check=True, capture_output=True)


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Disk]:
    """Mount a disk of this size under `folder`; the test is skipped if that is not possible."""
    place = folder / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as refused:
        pytest.skip(f"no tmpfs can be mounted here, which needs root: {getattr(refused, 'stderr', refused)}")
    try:
        yield Disk(place)
    finally:
        with suppress(subprocess.CalledProcessError):
            subprocess.run(["umount", "-l", str(place)], check=True, capture_output=True)
