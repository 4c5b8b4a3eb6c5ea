"""Recordings that the courier fetches from its own blob store, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.virtual import run

from gateway.blobs.contract import BlobFailed, BlobMissing
from gateway.telemetry.courier.recordings import Recordings, TooLarge


class FakeBlobs:
    """One file, and failures before it."""

    def __init__(self, content: bytes | None, *failures: Exception, told_bytes: int | None = None) -> None:
        self._content = content
        self._failures = list(failures)
        self._told_bytes = told_bytes
        self.opened = self.closed = 0

    async def open(self) -> None:
        """Count it."""
        self.opened += 1

    async def close(self) -> None:
        """Count it."""
        self.closed += 1

    async def put_file(self, tenant: str, session_id: str, name: str, path: Path) -> int:
        """Take nothing."""
        raise NotImplementedError

    async def size(self, tenant: str, session_id: str, name: str) -> int:
        """The file's size, or what is said about it."""
        if self._failures:
            raise self._failures.pop(0)
        if self._content is None:
            raise BlobMissing("there is no file")
        return len(self._content) if self._told_bytes is None else self._told_bytes

    async def read(
        self, tenant: str, session_id: str, name: str, offset: int = 0, length: int | None = None
    ) -> AsyncIterator[bytes]:
        """The file in two pieces."""
        assert self._content is not None
        half = len(self._content) // 2
        yield self._content[:half]
        yield self._content[half:]

    async def delete_session(self, tenant: str, session_id: str) -> None:
        """Remove nothing."""


def fetched(blobs: FakeBlobs, folder: Path, max_bytes: int = 100) -> tuple[bytes, float]:
    """The content, and how long it took."""

    async def main() -> tuple[bytes, float]:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        recordings = Recordings(blobs, folder, max_bytes)
        try:
            async with recordings.fetched("t", "s", "recording.flac") as file:
                assert not list(folder.iterdir())  # the file has no name
                file.seek(0)
                return file.read(), loop.time() - begun
        finally:
            await recordings.close()

    return run(main())


def test_a_recording_is_fetched_whole_and_the_store_closed(tmp_path: Path) -> None:
    blobs = FakeBlobs(b"0123456789")
    assert fetched(blobs, tmp_path) == (b"0123456789", 0)
    assert (blobs.opened, blobs.closed) == (1, 1)


def test_a_store_that_fails_for_a_moment_is_asked_again(tmp_path: Path) -> None:
    blobs = FakeBlobs(b"0123456789", BlobFailed("busy"), BlobFailed("busy"))
    content, took_s = fetched(blobs, tmp_path)
    assert (content, round(took_s, 1)) == (b"0123456789", 3.0)


def test_what_is_missing_or_wrong_is_not_asked_for_again(tmp_path: Path) -> None:
    for failure in (BlobMissing("there is no file"), BlobFailed("wrong key", passing=False)):
        blobs = FakeBlobs(b"never read", failure)
        with pytest.raises(type(failure)):
            fetched(blobs, tmp_path)
    with pytest.raises(BlobFailed):
        fetched(FakeBlobs(b"", *[BlobFailed("busy")] * 3), tmp_path)


def test_a_recording_that_is_too_large_is_left_where_it_is(tmp_path: Path) -> None:
    for blobs in (FakeBlobs(b"x" * 101), FakeBlobs(b"x" * 101, told_bytes=5)):
        with pytest.raises(TooLarge):
            fetched(blobs, tmp_path)
    assert len(fetched(FakeBlobs(b"x" * 100), tmp_path)[0]) == 100
    assert not list(tmp_path.iterdir())
