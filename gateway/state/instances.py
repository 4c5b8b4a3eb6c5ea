"""Finds out which instances of the server are still running. An instance is one run of the server's process.

Each instance has a folder under one root, named after its boot id. It locks a file in that folder, and the operating
system frees the lock when the process ends. The next start takes over the folders whose lock is free, with the files
that the dead instance left in them. Source: flock(2). A lock belongs to the open file, also within one process.
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


class InstanceFailed(VoiceError):
    """The instance's folder cannot be made or locked; the message names the folder."""


def _lock(path: Path) -> int | None:
    """Open and lock a file, and return its descriptor; None if another open file holds the lock. Raises OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    if sys.platform == "win32":
        return descriptor  # Windows has no flock: only one server may use a data folder, and all others count as dead
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
    """Remove an instance's folder if it holds no file except the lock. Raises OSError."""
    if all(path.name == LOCK or (path.is_dir() and not path.is_symlink()) for path in folder.rglob("*")):
        shutil.rmtree(folder)


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether the path still names this open file; True if that cannot be found out."""
    opened = os.fstat(descriptor)
    try:
        found = path.stat()
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return (found.st_dev, found.st_ino) == (opened.st_dev, opened.st_ino)


class Instances:
    """Holds the lock of this instance, and takes over the folders of dead ones."""

    def __init__(self, root: Path, boot_id: str) -> None:
        if not BOOT_NAME.fullmatch(boot_id):
            raise InstanceFailed(f"{boot_id!r} is not a valid boot id")
        self.boot_id = boot_id
        self.folder = root / boot_id
        self._root = root
        self._own: int | None = None
        self._taken: dict[str, int] = {}  # locks of dead instances, so that no other process takes them over too

    def hold(self) -> None:
        """Make this instance's folder and lock it, until `release` or the end of the process. Raises InstanceFailed."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._own = _lock(self.folder / LOCK)
        except OSError as error:
            raise InstanceFailed(f"{self.folder} cannot be used: {error.strerror}") from error
        if self._own is None:
            raise InstanceFailed(f"{self.folder} is locked by another process")

    def knows(self, boot_id: str) -> bool:
        """Whether that instance has its folder here, so that `is_running` tells the truth about it."""
        if boot_id == self.boot_id or boot_id in self._taken:
            return True
        return bool(BOOT_NAME.fullmatch(boot_id)) and (self._root / boot_id / LOCK).exists()

    def folder_of(self, boot_id: str) -> Path:
        """The folder of an instance that `knows` knows."""
        return self._root / boot_id

    def is_running(self, boot_id: str) -> bool:
        """Whether the process of that instance is alive, as far as this machine can tell."""
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

    def dead(self) -> list[Path]:
        """The folders of dead instances, without taking them over."""
        return [path for path in self._folders() if BOOT_NAME.fullmatch(path.name) and not self.is_running(path.name)]

    def take_dead(self) -> list[Path]:
        """Lock the folders of dead instances and return them; the locks are held until `discard` or `release`."""
        for path in self._folders():
            self.take(path.name)
        return [self._root / name for name in sorted(self._taken)]

    def take(self, boot_id: str) -> Path | None:
        """Lock the folder of one instance, as `take_dead` does; None if it is alive, or has no folder here."""
        if boot_id == self.boot_id or not BOOT_NAME.fullmatch(boot_id):
            return None
        if boot_id not in self._taken:
            if not self.folder_of(boot_id).is_dir():
                return None
            try:
                descriptor = _lock(self.folder_of(boot_id) / LOCK)
            except OSError:
                return None  # not the folder of an instance, or removed meanwhile
            if descriptor is None:
                return None
            self._taken[boot_id] = descriptor
        return self.folder_of(boot_id)

    def _folders(self) -> list[Path]:
        try:
            return sorted(path for path in self._root.iterdir() if path.is_dir())
        except OSError as error:
            log.error("folders of earlier starts cannot be listed", extra={"reason": error.strerror})
            return []

    def discard(self, folder: Path) -> None:
        """Release a folder that was taken over and remove it. Files that are left in it stay for the next start."""
        with suppress(OSError):
            _remove_if_empty(folder)
        descriptor = self._taken.pop(folder.name, None)
        if descriptor is not None:
            os.close(descriptor)
        if folder.is_dir():
            log.warning("files of an earlier start stay where they are", extra={"place": str(folder)})

    def renew(self) -> None:
        """Lock again if the lock file was deleted: without a lock, this instance looks dead to others."""
        if self._own is None or _is_at(self.folder / LOCK, self._own):
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            renewed = _lock(self.folder / LOCK)
        except OSError:
            return  # the disk refuses it now; the next call tries again
        if renewed is not None:
            os.close(self._own)
            self._own = renewed
            log.warning("the folder of this start was deleted; it is made again", extra={"place": str(self.folder)})

    def release(self) -> None:
        """Release all locks, and remove this instance's folder if it holds no file except the lock."""
        if self._own is not None:
            with suppress(OSError):
                _remove_if_empty(self.folder)
            os.close(self._own)
            self._own = None
        for descriptor in self._taken.values():
            os.close(descriptor)
        self._taken.clear()
