"""Which starts of the server are still running: each holds a lock on a file of its own, which dies with its process.

A folder for each boot lies under one root and holds what the boot may leave behind. The next start takes over the
folders whose lock is free. Source: flock(2), whose locks belong to the open file, also within one process.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

from sessions.errors import VoiceError

if sys.platform != "win32":
    import fcntl

LOCK = "lock"
BOOT_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")


class BootFailed(VoiceError):
    """The boot's folder cannot be made or locked; the message names it."""


def _lock(path: Path) -> int | None:
    """Open and lock a file; None where somebody holds it. Raises OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    if sys.platform == "win32":
        return descriptor  # without flock there is one server for a data folder, and every other boot is over
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


class Boots:
    """This start's folder and lock, and those of starts that are over."""

    def __init__(self, root: Path, boot_id: str) -> None:
        if not BOOT_NAME.fullmatch(boot_id):
            raise BootFailed(f"{boot_id!r} is no name for a boot")
        self.boot_id = boot_id
        self.folder = root / boot_id
        self._root = root
        self._own: int | None = None
        self._taken: dict[str, int] = {}  # dead boots that we hold now, so that no other start takes them too

    def hold(self) -> None:
        """Make this boot's folder and lock it until `release` or death. Raises BootFailed."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._own = _lock(self.folder / LOCK)
        except OSError as error:
            raise BootFailed(f"{self.folder} cannot be used: {error.strerror}") from error
        if self._own is None:
            raise BootFailed(f"{self.folder} is held by another process")

    def is_running(self, boot_id: str) -> bool:
        """Whether that boot's process lives, as far as this machine can tell."""
        if boot_id == self.boot_id:
            return True
        path = self._root / boot_id / LOCK
        if boot_id in self._taken or not BOOT_NAME.fullmatch(boot_id) or not path.exists():
            return False
        try:
            descriptor = _lock(path)
        except OSError:
            return False
        if descriptor is not None:
            os.close(descriptor)
        return descriptor is None

    def take_dead(self) -> list[Path]:
        """Lock and give the folders of boots that are over; they are ours until `discard` or `release`."""
        for path in sorted(self._root.iterdir()) if self._root.is_dir() else []:
            if path == self.folder or path.name in self._taken or not BOOT_NAME.fullmatch(path.name):
                continue
            try:
                descriptor = _lock(path / LOCK)
            except OSError:
                continue  # not a boot's folder, or gone since
            if descriptor is not None:
                self._taken[path.name] = descriptor
        return [self._root / name for name in sorted(self._taken)]

    def discard(self, folder: Path) -> None:
        """Remove a taken folder with all that is left in it."""
        shutil.rmtree(folder, ignore_errors=True)
        descriptor = self._taken.pop(folder.name, None)
        if descriptor is not None:
            os.close(descriptor)

    def release(self) -> None:
        """Let go of all locks, and remove this boot's folder if it holds no files but the lock."""
        if self._own is not None:
            if all(path.is_dir() or path.name == LOCK for path in self.folder.rglob("*")):
                shutil.rmtree(self.folder, ignore_errors=True)
            os.close(self._own)
            self._own = None
        for descriptor in self._taken.values():
            os.close(descriptor)
        self._taken.clear()
