"""One call's folder on the disk, to which blocks are added: each of them whole, or not at all.

A block that the disk refuses is lost, and the next one is tried again: a disk that is full for half a minute costs the
recording that half minute. Nothing of a refused block stays in the files, whatever it had come to.
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

MAX_OPEN_FILES = 1024  # what is above is opened for each block
SHARE_OF_FILES = 4  # at most one in so many of those that the process may have open: the rest is for sockets
WRITEV_MAX = 1024  # buffers in one call: IOV_MAX on Linux and macOS

log = logging.getLogger("patchbay.recording")


@dataclass(frozen=True, slots=True)
class Late:
    """A payload that is made when it is written.

    `make` is given the size of each file of the block so far, and whether these files hold every block before it. It
    is asked more than once.
    """

    make: Callable[[Mapping[str, int], bool], bytes]
    payload_bytes: int  # about


Payload: TypeAlias = bytes | bytearray | list[bytes] | Late
Part: TypeAlias = tuple[str, Payload]  # a file's name in the folder, and what is added at its end


def size_of(payload: Payload) -> int:
    """How many bytes a payload holds in memory."""
    if isinstance(payload, Late):
        return payload.payload_bytes
    return sum(map(len, payload)) if isinstance(payload, list) else len(payload)


class OpenFiles:
    """How many files the sinks of one writer hold open."""

    def __init__(self, most: int | None = None) -> None:
        self.most = _most_files() if most is None else most
        self.count = 0


class Sink:
    """One call's folder; made with its first block. Its methods block."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.failed: str | None = None  # why, once the disk has refused a block
        self.blocks = 0  # that are on the disk
        self._discarded = False
        self._refusing = False  # the last block was refused
        self._gaps: set[str] = set()  # files that lack a block since they were last written
        self._sizes: dict[str, int] = {}  # of each file, as far as its blocks are whole
        self._inodes: dict[str, tuple[int, int]] = {}  # which file had that size
        self._open: dict[str, int] = {}  # descriptors that are kept, by name

    def write(self, parts: Sequence[Part], files: OpenFiles | None = None) -> None:
        """Add a block at the end of the folder's files. With `files` they stay open, until `close`."""
        if self._discarded:
            return
        files = files or OpenFiles(0)
        with Boundary(partial(self._refused, [name for name, _ in parts])):
            try:
                self._add(parts, files)
            except FileNotFoundError:  # the folder was deleted, with all that it held
                self.close(files)
                self._add(parts, files)

    def close(self, files: OpenFiles) -> None:
        """Close the files that are kept open; a later block opens them again."""
        for name in list(self._open):
            self._let_go(name, files)

    def discard(self, files: OpenFiles) -> None:
        """Remove the folder, and take no more."""
        self._discarded = True
        self.close(files)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _add(self, parts: Sequence[Part], files: OpenFiles) -> None:
        passing: list[int] = []  # descriptors of this block alone
        try:
            self._add_to(parts, files, passing)
        finally:
            for descriptor in passing:
                os.close(descriptor)

    def _add_to(self, parts: Sequence[Part], files: OpenFiles, passing: list[int]) -> None:
        before: dict[str, int] = {}
        after: dict[str, int] = {}
        names = {name for name, _ in parts}
        for name, payload in parts:
            before[name] = self._sizes.get(name, 0)
            if isinstance(payload, Late) and before[name] and not payload.make(before, self._gaps.isdisjoint(names)):
                continue  # so is the index of most blocks
            descriptor = self._descriptor(name, files, passing)
            before[name] = self._whole(name, descriptor)
            made = payload.make(before, self._gaps.isdisjoint(names)) if isinstance(payload, Late) else payload
            _write(descriptor, made)
            after[name] = before[name] + size_of(made)
        self._sizes.update(after)
        self._gaps -= after.keys()
        self.blocks += 1
        if self._refusing:
            self._refusing = False
            log.warning("the disk takes a call's recording again")

    def _descriptor(self, name: str, files: OpenFiles, passing: list[int]) -> int:
        kept = self._open.get(name)
        if kept is not None:
            return kept
        path = self.folder / name
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        try:
            descriptor = os.open(path, flags, 0o600)
        except FileNotFoundError:  # with the first block, or where the folder was deleted
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(path, flags, 0o600)
        if files.count < files.most:
            files.count += 1
            self._open[name] = descriptor
        else:
            passing.append(descriptor)
        return descriptor

    def _whole(self, name: str, descriptor: int) -> int:
        """The file's size, without what a refused block may have left at its end. Raises OSError."""
        found = os.fstat(descriptor)
        if not found.st_nlink:
            raise FileNotFoundError(errno.ENOENT, "the file was deleted")  # nobody would find what is written into it
        inode = found.st_dev, found.st_ino
        whole = self._sizes.get(name, 0)
        if self._inodes.get(name) == inode and found.st_size > whole:
            os.ftruncate(descriptor, whole)
            return whole
        if name in self._sizes and (self._inodes[name] != inode or found.st_size < whole):
            self._gaps.update(self._sizes)
            self._note("a file of the recording was replaced or cut")
        self._sizes[name], self._inodes[name] = found.st_size, inode
        return found.st_size

    def _refused(self, names: Sequence[str], fault: BaseException) -> None:
        self._refusing = True
        self._gaps.update(names)
        self._note((fault.strerror if isinstance(fault, OSError) else None) or type(fault).__name__, fault)
        for name, size in self._sizes.items():
            with suppress(OSError):  # where even that fails, the next block does it
                found = os.stat(self.folder / name)
                if found.st_size > size and self._inodes[name] == (found.st_dev, found.st_ino):
                    os.truncate(self.folder / name, size)

    def _note(self, reason: str, fault: BaseException | None = None) -> None:
        """Tell the first loss of a call; an outage would fill the log with the others."""
        if self.failed is None:
            self.failed = reason
            place = {} if fault is None or isinstance(fault, OSError) else {"place": place_of(fault)}
            log.error("a call's recording is incomplete", extra={"reason": reason, **place})

    def _let_go(self, name: str, files: OpenFiles) -> None:
        files.count -= 1
        descriptor = self._open.pop(name)
        with suppress(OSError):  # a disk that is gone may say so even here
            os.close(descriptor)


def _most_files() -> int:
    if sys.platform == "win32":
        return MAX_OPEN_FILES
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_OPEN_FILES if allowed == resource.RLIM_INFINITY else min(MAX_OPEN_FILES, allowed // SHARE_OF_FILES)


def _write(descriptor: int, payload: bytes | bytearray | list[bytes]) -> None:
    """Write all of it, in as few calls as the system allows."""
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
