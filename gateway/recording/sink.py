"""Adds blocks to the files of one call's folder, each block completely or not at all.

A block that the disk refuses is lost, and the next block is tried again: if the disk is full for half a minute, that
half minute is missing in the recording. No part of a refused block stays in the files.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

from gateway.guard import Boundary, place_of

if sys.platform != "win32":
    import resource

MAX_OPEN_FILES = 1024  # further files are opened and closed for each block
SHARE_OF_FILES = 4  # at most a quarter of the descriptors of the process; the others are for sockets
WRITEV_MAX = 1024  # buffers in one system call: IOV_MAX on Linux and macOS

log = logging.getLogger("patchbay.recording")


@dataclass(frozen=True, slots=True)
class DeferredPayload:
    """A payload that is made when it is written.

    `make` takes the present size of each file of the block, and whether these files hold all earlier blocks. It may be
    called more than once.
    """

    make: Callable[[Mapping[str, int], bool], bytes]
    payload_bytes: int  # an estimate


Payload: TypeAlias = bytes | bytearray | list[bytes] | DeferredPayload
Part: TypeAlias = tuple[str, Payload]  # the name of a file in the folder, and what to add at its end


def size_of(payload: Payload) -> int:
    """How many bytes a payload has; an estimate for one that is made later."""
    if isinstance(payload, DeferredPayload):
        return payload.payload_bytes
    return sum(map(len, payload)) if isinstance(payload, list) else len(payload)


class OpenFiles:
    """Counts the files that the sinks of one writer hold open, and limits them to `most`."""

    def __init__(self, most: int | None = None) -> None:
        self.most = _most_files() if most is None else most
        self.count = 0


class Sink:
    """Writes blocks into one call's folder, which is made with the first block. All methods block."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.failed: str | None = None  # the reason, once a block was lost
        self.blocks = 0  # how many blocks were written
        self._discarded = False
        self._refusing = False  # the last block was refused
        self._gaps: set[str] = set()  # files that have lost a block since they were last written
        self._sizes: dict[str, int] = {}  # of each file, up to the end of its last complete block
        self._inodes: dict[str, tuple[int, int]] = {}  # the device and inode of the file with that size
        self._open: dict[str, int] = {}  # descriptors that stay open, by name

    def write(self, parts: Sequence[Part], files: OpenFiles | None = None) -> None:
        """Add a block at the end of the folder's files; never raises. With `files` they stay open until `close`."""
        if self._discarded:
            return
        files = files or OpenFiles(0)
        with Boundary(partial(self._refused, [name for name, _ in parts])):
            try:
                self._add(parts, files)
            except FileNotFoundError:  # the folder was deleted
                self.close(files)
                self._add(parts, files)

    def close(self, files: OpenFiles) -> None:
        """Close the open files; a later block opens them again."""
        for name in list(self._open):
            self._close_file(name, files)

    def discard(self, files: OpenFiles) -> None:
        """Remove the folder, and ignore later blocks."""
        self._discarded = True
        self.close(files)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _add(self, parts: Sequence[Part], files: OpenFiles) -> None:
        temporary: list[int] = []  # descriptors that are open for this block only
        try:
            self._add_to(parts, files, temporary)
        finally:
            for descriptor in temporary:
                os.close(descriptor)

    def _add_to(self, parts: Sequence[Part], files: OpenFiles, temporary: list[int]) -> None:
        before: dict[str, int] = {}
        after: dict[str, int] = {}
        names = {name for name, _ in parts}
        for name, payload in parts:
            before[name] = self._sizes.get(name, 0)
            if (
                isinstance(payload, DeferredPayload)
                and before[name]
                and not payload.make(before, self._gaps.isdisjoint(names))
            ):
                continue  # most blocks add nothing to the index
            descriptor = self._descriptor(name, files, temporary)
            before[name] = self._complete_size(name, descriptor)
            made = (
                payload.make(before, self._gaps.isdisjoint(names)) if isinstance(payload, DeferredPayload) else payload
            )
            _write(descriptor, made)
            after[name] = before[name] + size_of(made)
        self._sizes.update(after)
        self._gaps -= after.keys()
        self.blocks += 1
        if self._refusing:
            self._refusing = False
            log.warning("the disk takes a call's recording again")

    def _descriptor(self, name: str, files: OpenFiles, temporary: list[int]) -> int:
        kept = self._open.get(name)
        if kept is not None:
            return kept
        path = self.folder / name
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        try:
            descriptor = os.open(path, flags, 0o600)
        except FileNotFoundError:  # this is the first block, or the folder was deleted
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(path, flags, 0o600)
        if files.count < files.most:
            files.count += 1
            self._open[name] = descriptor
        else:
            temporary.append(descriptor)
        return descriptor

    def _complete_size(self, name: str, descriptor: int) -> int:
        """Cut off what a refused block may have left at the file's end, and return the file's size. Raises OSError."""
        found = os.fstat(descriptor)
        if not found.st_nlink:
            raise FileNotFoundError(errno.ENOENT, "the file was deleted")  # bytes written to it would be lost
        inode = found.st_dev, found.st_ino
        complete = self._sizes.get(name, 0)
        if self._inodes.get(name) == inode and found.st_size > complete:
            os.ftruncate(descriptor, complete)
            return complete
        if name in self._sizes and (self._inodes[name] != inode or found.st_size < complete):
            self._gaps.update(self._sizes)
            self._note_loss("a file of the recording was replaced or cut")
        self._sizes[name], self._inodes[name] = found.st_size, inode
        return found.st_size

    def _refused(self, names: Sequence[str], fault: BaseException) -> None:
        self._refusing = True
        self._gaps.update(names)
        self._note_loss((fault.strerror if isinstance(fault, OSError) else None) or type(fault).__name__, fault)
        for name, size in self._sizes.items():
            with suppress(OSError):  # if this fails too, the next block cuts the file
                found = os.stat(self.folder / name)
                if found.st_size > size and self._inodes[name] == (found.st_dev, found.st_ino):
                    os.truncate(self.folder / name, size)

    def _note_loss(self, reason: str, fault: BaseException | None = None) -> None:
        """Log the first loss of a call only, because an outage would fill the log with all others."""
        if self.failed is None:
            self.failed = reason
            place = {} if fault is None or isinstance(fault, OSError) else {"place": place_of(fault)}
            log.error("a call's recording is incomplete", extra={"reason": reason, **place})

    def _close_file(self, name: str, files: OpenFiles) -> None:
        files.count -= 1
        descriptor = self._open.pop(name)
        with suppress(OSError):  # a disk that is gone may report an error even on closing
            os.close(descriptor)


def _most_files() -> int:
    if sys.platform == "win32":
        return MAX_OPEN_FILES
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_OPEN_FILES if allowed == resource.RLIM_INFINITY else min(MAX_OPEN_FILES, allowed // SHARE_OF_FILES)


def _write(descriptor: int, payload: bytes | bytearray | list[bytes]) -> None:
    """Write a payload with as few system calls as possible."""
    if not isinstance(payload, list):
        _write_rest(descriptor, payload, 0)
        return
    if sys.platform == "win32":
        _write_rest(descriptor, b"".join(payload), 0)
        return
    for first in range(0, len(payload), WRITEV_MAX):
        buffers = payload[first : first + WRITEV_MAX]
        written = os.writev(descriptor, buffers)
        if written < size_of(buffers):
            _write_rest(descriptor, b"".join(buffers), written)


def _write_rest(descriptor: int, payload: bytes | bytearray, written: int) -> None:
    rest = memoryview(payload)[written:]
    while rest:
        rest = rest[os.write(descriptor, rest) :]
