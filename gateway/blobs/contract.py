"""The contract of a blob store: files of calls, kept by tenant, session and name.

A record holds only the name of a file, never a path. `folder.py` keeps the files in a folder of this machine,
`azure.py` in a container of Azure Blob Storage.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

from sessions.errors import VoiceError

PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class BlobMissing(VoiceError):
    """The store has no such file."""


class BlobFailed(VoiceError):
    """A file cannot be written or read; the message is for operators. `passing`: the same may succeed later."""

    def __init__(self, message: str, *, passing: bool = True) -> None:
        super().__init__(message)
        self.passing = passing


class BadBlobName(VoiceError):
    """A tenant, session or file name that no store accepts; the message may be shown to a caller."""


class Blobs(Protocol):
    """A store of files. Every method but `close` may raise BlobFailed, and those with names BadBlobName."""

    async def open(self) -> None:
        """Make the store usable; called once, before all other methods.

        A BlobFailed that is `passing` says that the store cannot be reached now: the other methods may be used, and
        work once it is there. Any other says that a setting is wrong; the message names the place and what to do.
        """
        ...

    async def close(self) -> None:
        """Close connections; nothing is called afterwards."""
        ...

    async def put_file(self, tenant: str, session_id: str, name: str, path: Path) -> int:
        """Store the present content of the file at `path` under `name`, and return its size in bytes.

        An older file of that name is replaced. Nobody sees a part of the file: until the whole of it is stored, the
        older one is there, or none. The caller removes `path` afterwards, and must not write to it, because both names
        may be links to the same file. After an error or a cancellation it is stored as a whole or not at all.
        """
        ...

    async def size(self, tenant: str, session_id: str, name: str) -> int:
        """The size of a file in bytes. Raises BlobMissing."""
        ...

    def read(
        self, tenant: str, session_id: str, name: str, offset: int = 0, length: int | None = None
    ) -> AsyncIterator[bytes]:
        """Yield `length` bytes of a file from byte `offset` on, in pieces; up to its end if `length` is None.

        Fewer bytes come if the file ends before. Raises BlobMissing before the first piece.
        """
        ...

    async def delete_session(self, tenant: str, session_id: str) -> None:
        """Remove all files of a session; harmless if there are none."""
        ...
