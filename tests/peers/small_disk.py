"""A disk of a few megabytes, which a test can fill: a tmpfs, for which the machine must let us mount one."""

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
    """The small disk, at `folder`."""

    folder: Path

    def fill(self, *, leave_bytes: int = 0) -> None:
        """Leave so much room and no more."""
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
        """Room again."""
        (self.folder / FILLER).unlink(missing_ok=True)

    @contextmanager
    def read_only(self) -> Iterator[None]:
        """Whatever is opened meanwhile is read-only: EROFS. What is open already is not: the kernel refuses that."""
        place = str(self.folder)
        subprocess.run(["mount", "--bind", place, place], check=True, capture_output=True)
        subprocess.run(["mount", "-o", "remount,bind,ro", place], check=True, capture_output=True)
        try:
            yield
        finally:
            subprocess.run(["umount", "-l", place], check=True, capture_output=True)


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Disk]:
    """A disk of this size under `folder`; the test is skipped where none can be mounted."""
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
