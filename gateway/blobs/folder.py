"""Keeps the files of calls in a folder of this machine.

`open` makes the root folder. A root that is missing later is trouble, such as a lost mount whose files come back with
it: what is read or deleted then fails, and is not taken for absent.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import stat
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeVar

from gateway.blobs.contract import BlobFailed, BlobMissing
from gateway.blobs.disk import passes
from gateway.blobs.names import plain_name, session_parts, unquoted

PIECE_BYTES = 256 * 1024
REMOVE_TRIES = 5
OPEN_TIMEOUT_S = 10.0
# Where a file is to be kept, these pass too: a mount that is not there makes a link to it lead to nothing.
TARGET_PASSING = frozenset({errno.EEXIST, errno.ENOENT, errno.ELOOP})

T = TypeVar("T")


def session_folder(root: Path, tenant: str, session_id: str) -> Path:
    """The folder of one session, always below `root`. Raises BadBlobName."""
    return root.joinpath(*session_parts(tenant, session_id))


def session_of(folder: Path) -> tuple[str, str]:
    """The tenant and the session of a folder: the inverse of `session_folder`."""
    return unquoted(folder.parent.name, folder.name)


class FolderBlobs:
    """Stores files as ROOT/TENANT/SESSION/NAME."""

    def __init__(self, root: Path, *, inline: bool = False, open_timeout_s: float = OPEN_TIMEOUT_S) -> None:
        self._root = root
        self._inline = inline
        self._open_timeout_s = open_timeout_s

    async def open(self) -> None:
        """Make the folder. What hinders that counts as passing: each file tries to make it again."""
        try:
            async with asyncio.timeout(self._open_timeout_s):
                await self._offload(self._make_root)
        except TimeoutError:
            raise BlobFailed(f"the file system of {self._root} does not answer") from None

    async def close(self) -> None:
        """Do nothing: no file stays open."""

    async def put_file(self, tenant: str, session_id: str, name: str, path: Path) -> int:
        """Link the file, or copy it from another file system."""
        target = self._place(tenant, session_id, name)
        return await self._offload(lambda: self._put(path, target))

    async def size(self, tenant: str, session_id: str, name: str) -> int:
        """The size of a file in bytes."""
        place = self._place(tenant, session_id, name)
        try:
            return (await self._offload(place.stat)).st_size
        except FileNotFoundError:
            await self._offload(self._check_root)
            raise BlobMissing(f"there is no file {name}") from None

    async def read(
        self, tenant: str, session_id: str, name: str, offset: int = 0, length: int | None = None
    ) -> AsyncIterator[bytes]:
        """Yield a part of a file in pieces."""
        place = self._place(tenant, session_id, name)
        try:
            file = await self._offload(lambda: place.open("rb"))
        except FileNotFoundError:
            await self._offload(self._check_root)
            raise BlobMissing(f"there is no file {name}") from None
        try:
            file.seek(offset)
            left = sys.maxsize if length is None else length
            while left > 0 and (piece := await self._offload(partial(file.read, min(PIECE_BYTES, left)))):
                left -= len(piece)
                yield piece
        finally:
            self._close(file)

    async def delete_session(self, tenant: str, session_id: str) -> None:
        """Remove a session's folder."""
        folder = session_folder(self._root, tenant, session_id)
        await self._offload(lambda: self._remove(folder))

    def _make_root(self) -> None:
        try:
            self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise BlobFailed(f"the folder {self._root} cannot be made: {_reason(error, self._root)}") from error

    def _put(self, source: Path, target: Path) -> int:
        """Keep a file. Raises BlobFailed, which tells a source that is missing from a target that cannot be made."""
        try:
            return _keep(source, target)
        except OSError as error:
            if isinstance(error, FileNotFoundError) and not source.exists():
                raise BlobFailed(f"{source} is missing and cannot be stored", passing=False) from None
            problem = f"a file under {self._root} cannot be used: {_reason(error, self._root)}"
            raise BlobFailed(problem, passing=passes(error) or error.errno in TARGET_PASSING) from error

    def _remove(self, folder: Path) -> None:
        for _ in range(REMOVE_TRIES):
            if not folder.is_dir():
                self._check_root()
                return
            with suppress(FileNotFoundError):  # another process removes the same folder
                shutil.rmtree(folder)
        if folder.is_dir():
            raise BlobFailed(f"{folder} cannot be removed")
        self._check_root()

    def _check_root(self) -> None:
        """Tell a file that is missing from a root that is. Raises BlobFailed."""
        try:
            is_folder = stat.S_ISDIR(self._root.stat().st_mode)
        except OSError as error:
            raise BlobFailed(f"the folder {self._root} cannot be used: {_reason(error, self._root)}") from error
        if not is_folder:
            raise BlobFailed(f"the folder {self._root} cannot be used: it is a file")

    def _place(self, tenant: str, session_id: str, name: str) -> Path:
        return session_folder(self._root, tenant, session_id) / plain_name(name)

    def _close(self, file: BinaryIO) -> None:
        """Close a file in a thread: a reading that was given up may still go on, and closing waits for it."""
        if self._inline:
            file.close()
        else:
            asyncio.get_running_loop().run_in_executor(None, file.close)

    async def _offload(self, work: Callable[[], T]) -> T:
        try:
            return work() if self._inline else await asyncio.to_thread(work)
        except FileNotFoundError:
            raise
        except OSError as error:
            problem = f"a file under {self._root} cannot be used: {error.strerror}"
            raise BlobFailed(problem, passing=passes(error)) from error


def _reason(error: OSError, root: Path) -> str:
    """Why a folder cannot be made, in words; of a link to nothing the system says only that it exists."""
    for path in (root, *root.parents):
        if os.path.islink(path) and not os.path.exists(path):
            return f"the link {path} leads to nothing"
    return error.strerror or type(error).__name__


def _keep(source: Path, target: Path) -> int:
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # The file first gets a temporary name: no reader may see half a file, and a link cannot replace a file.
    temporary = target.with_name(f".{target.name}.part")
    temporary.unlink(missing_ok=True)
    try:
        try:
            os.link(source, temporary)
        except FileNotFoundError:
            raise
        except OSError:
            shutil.copyfile(source, temporary)
        os.replace(temporary, target)
    finally:
        # The temporary name is left if the disk is full (half a copy), or if both names were links to the same file.
        with suppress(OSError):
            temporary.unlink()
    return target.stat().st_size
