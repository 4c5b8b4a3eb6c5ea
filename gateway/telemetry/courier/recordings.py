"""Fetches recordings for the courier, with a blob store of its own: one at a time, into a file that has no name.

The server process reads and cuts nothing.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO

from gateway.blobs.contract import BlobFailed, Blobs
from sessions.errors import VoiceError

MAX_RECORDING_BYTES = 512 * 1024 * 1024  # some hours
TRIES = 3
PAUSE_S = 1.0  # before the second try, and twice as long before the third


class TooLarge(VoiceError):
    """A recording has more bytes than are fetched."""


class Recordings:
    """The recordings in a blob store, which is opened when the first one is asked for."""

    def __init__(self, blobs: Blobs, folder: Path | None, max_bytes: int = MAX_RECORDING_BYTES) -> None:
        """`folder` is where the file is while it is used; None: the system's folder for such files."""
        self._blobs = blobs
        self._folder = folder
        self._max_bytes = max_bytes
        self._opened = False

    @asynccontextmanager
    async def fetched(self, tenant: str, session: str, name: str) -> AsyncIterator[BinaryIO]:
        """A recording as a file. Raises BlobFailed, BlobMissing, TooLarge and OSError."""
        with tempfile.TemporaryFile(dir=self._folder) as file:
            await self._fetch(tenant, session, name, file)
            yield file

    async def close(self) -> None:
        """Close the blob store."""
        if self._opened:
            await self._blobs.close()

    async def _fetch(self, tenant: str, session: str, name: str, file: BinaryIO) -> None:
        for tried in range(1, TRIES + 1):
            try:
                if not self._opened:
                    await self._blobs.open()
                    self._opened = True
                await self._copy(tenant, session, name, file)
                return
            except BlobFailed as error:
                if not error.passing or tried == TRIES:
                    raise
            await asyncio.sleep(PAUSE_S * tried)

    async def _copy(self, tenant: str, session: str, name: str, file: BinaryIO) -> None:
        file.seek(0)
        file.truncate()
        if await self._blobs.size(tenant, session, name) > self._max_bytes:
            raise TooLarge(f"the recording of {session} is too large to be sent")
        async for piece in self._blobs.read(tenant, session, name):
            if file.tell() + len(piece) > self._max_bytes:
                raise TooLarge(f"the recording of {session} is too large to be sent")
            file.write(piece)
