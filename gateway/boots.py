"""Which starts of the server are still running: each holds a lock on a file of its own, which dies with its process.

A folder for each boot lies under one root and holds what the boot may leave behind. The next start takes over the
folders whose lock is free. Source: flock(2), whose locks belong to the open file, also within one process.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import sys
from contextlib import suppress
from pathlib import Path

from sessions.errors import VoiceError

if sys.platform != "win32":
    import fcntl

LOCK = "lock"
log = logging.getLogger("patchbay")
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


def _remove_if_empty(folder: Path) -> None:
    """Remove a boot's folder if it holds no files but the lock. Raises OSError."""
    if all(path.name == LOCK or (path.is_dir() and not path.is_symlink()) for path in folder.rglob("*")):
        shutil.rmtree(folder)


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether the path still names this open file; True where nobody can tell."""
    held = os.fstat(descriptor)
    try:
        found = path.stat()
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return (found.st_dev, found.st_ino) == (held.st_dev, held.st_ino)


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
        for path in self._folders():
            if path == self.folder or path.name in self._taken or not BOOT_NAME.fullmatch(path.name):
                continue
            try:
                descriptor = _lock(path / LOCK)
            except OSError:
                continue  # not a boot's folder, or gone since
            if descriptor is not None:
                self._taken[path.name] = descriptor
        return [self._root / name for name in sorted(self._taken)]

    def _folders(self) -> list[Path]:
        try:
            return sorted(path for path in self._root.iterdir() if path.is_dir())
        except OSError as error:
            log.error("folders of earlier starts cannot be listed", extra={"reason": error.strerror})
            return []

    def discard(self, folder: Path) -> None:
        """Let go of a taken folder, and remove it unless files are left in it, which then stay for the next start."""
        with suppress(OSError):
            _remove_if_empty(folder)
        descriptor = self._taken.pop(folder.name, None)
        if descriptor is not None:
            os.close(descriptor)
        if folder.is_dir():
            log.warning("files of an earlier start stay where they are", extra={"place": str(folder)})

    def renew(self) -> None:
        """Hold the lock anew where somebody has deleted it with its folder: without it, this boot seems to be over."""
        if self._own is None or _is_at(self.folder / LOCK, self._own):
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            renewed = _lock(self.folder / LOCK)
        except OSError:
            return  # the disk is not well; the next look may find it so
        if renewed is not None:
            os.close(self._own)
            self._own = renewed
            log.warning("the folder of this start was deleted, and is made anew", extra={"place": str(self.folder)})

    def release(self) -> None:
        """Let go of all locks, and remove this boot's folder if it holds no files but the lock."""
        if self._own is not None:
            with suppress(OSError):
                _remove_if_empty(self.folder)
            os.close(self._own)
            self._own = None
        for descriptor in self._taken.values():
            os.close(descriptor)
        self._taken.clear()
