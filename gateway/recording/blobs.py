"""Where files of calls lie, by tenant, session and name; a record knows the name only, never a path.

`Blobs` is what a store of files promises; `FolderBlobs` keeps them in a folder of this machine.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol, TypeVar
from urllib.parse import quote, unquote

from gateway.recording.disk import passes
from sessions.errors import VoiceError

PIECE_BYTES = 256 * 1024
PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
LONGEST_PART = 255  # bytes of one name, on common file systems

T = TypeVar("T")


class BlobMissing(VoiceError):
    """There is no such file."""


class BlobFailed(VoiceError):
    """The file cannot be written or read; the message is for operators. `passing`: it may go well later."""

    def __init__(self, message: str, *, passing: bool = True) -> None:
        super().__init__(message)
        self.passing = passing


class BadBlobName(VoiceError):
    """A tenant, session or file name that can be no name here; the message is safe to tell a caller."""


def session_folder(root: Path, tenant: str, session_id: str) -> Path:
    """The folder of one session under `root`; never outside it. Raises BadBlobName."""
    return root / _part(tenant, "tenant") / _part(session_id, "session")


def named_by(folder: Path) -> tuple[str, str]:
    """The tenant and session whose folder this is: `session_folder` read backward."""
    return unquote(folder.parent.name), unquote(folder.name)


def _part(text: str, kind: str) -> str:
    """One path part that stands for any text, and for this text only."""
    part = quote(text, safe="", errors="replace")
    if part.startswith("."):
        part = "%2E" + part[1:]
    if not part or len(part) > LONGEST_PART:
        raise BadBlobName(f"the {kind} name is empty or too long")
    return part


class Blobs(Protocol):
    """A store of files; all of it may raise BlobFailed and BadBlobName."""

    async def put_file(self, tenant: str, session_id: str, name: str, path: Path) -> int:
        """Keep what `path` holds now, in the place of an older file of that name; its size in bytes.

        The caller removes `path` afterwards and does not write to it again: the two may share their bytes.
        """
        ...

    async def size(self, tenant: str, session_id: str, name: str) -> int:
        """Bytes. Raises BlobMissing."""
        ...

    def read(self, tenant: str, session_id: str, name: str) -> AsyncIterator[bytes]:
        """The file piece by piece. Raises BlobMissing at the first."""
        ...

    def local_path(self, tenant: str, session_id: str, name: str) -> Path | None:
        """Where the file lies on this machine, to be served from there; None where it lies elsewhere or is missing."""
        ...

    async def delete_session(self, tenant: str, session_id: str) -> None:
        """Remove all files of a session; harmless where there are none."""
        ...


class FolderBlobs:
    """Keeps files under one folder: ROOT/TENANT/SESSION/NAME."""

    def __init__(self, root: Path, *, inline: bool = False) -> None:
        self._root = root
        self._inline = inline

    async def put_file(self, tenant: str, session_id: str, name: str, path: Path) -> int:
        """Link a file in, or copy it from another file system."""
        target = self._place(tenant, session_id, name)
        try:
            return await self._offload(lambda: _keep(path, target))
        except FileNotFoundError:
            raise BlobFailed(f"{path} is not there to be kept", passing=False) from None

    async def size(self, tenant: str, session_id: str, name: str) -> int:
        """Bytes of a file."""
        place = self._place(tenant, session_id, name)
        try:
            return (await self._offload(place.stat)).st_size
        except FileNotFoundError:
            raise BlobMissing(f"there is no file {name}") from None

    async def read(self, tenant: str, session_id: str, name: str) -> AsyncIterator[bytes]:
        """A file piece by piece."""
        place = self._place(tenant, session_id, name)
        try:
            file = await self._offload(lambda: place.open("rb"))
        except FileNotFoundError:
            raise BlobMissing(f"there is no file {name}") from None
        with file:
            while piece := await self._offload(lambda: file.read(PIECE_BYTES)):
                yield piece

    def local_path(self, tenant: str, session_id: str, name: str) -> Path | None:
        """A file's own path."""
        place = self._place(tenant, session_id, name)
        return place if place.is_file() else None

    async def delete_session(self, tenant: str, session_id: str) -> None:
        """Remove a session's folder."""
        folder = session_folder(self._root, tenant, session_id)
        await self._offload(lambda: _remove(folder))

    def _place(self, tenant: str, session_id: str, name: str) -> Path:
        if not PLAIN_NAME.fullmatch(name):
            raise BadBlobName("a file's name is of letters, digits, dots, dashes and underscores")
        return session_folder(self._root, tenant, session_id) / name

    async def _offload(self, work: Callable[[], T]) -> T:
        try:
            return work() if self._inline else await asyncio.to_thread(work)
        except FileNotFoundError:
            raise
        except OSError as error:
            problem = f"a file under {self._root} cannot be used: {error.strerror}"
            raise BlobFailed(problem, passing=passes(error)) from error


def _keep(source: Path, target: Path) -> int:
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # Under another name first: nobody ever sees half a file, and a link cannot replace one.
    beside = target.with_name(f".{target.name}.part")
    beside.unlink(missing_ok=True)
    try:
        try:
            os.link(source, beside)
        except FileNotFoundError:
            raise
        except OSError:
            shutil.copyfile(source, beside)
        os.replace(beside, target)
    finally:
        with suppress(OSError):  # half a copy, on a full disk; or a second link to the very file
            beside.unlink()
    return target.stat().st_size


def _remove(folder: Path) -> None:
    if folder.is_dir():
        shutil.rmtree(folder)
