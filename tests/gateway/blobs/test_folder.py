"""The folder of files by tenant, session and name: the contract, and what only a folder shows."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.stores.blob_contract import BlobContract, got, put

from gateway.blobs.contract import BlobFailed, BlobMissing, Blobs
from gateway.blobs.folder import FolderBlobs, session_folder


class TestThreaded(BlobContract):
    def make(self, folder: Path) -> Blobs:
        return FolderBlobs(folder / "deep" / "blobs")


class TestInline(BlobContract):
    def make(self, folder: Path) -> Blobs:
        return FolderBlobs(folder / "blobs", inline=True)


def test_a_stored_file_leaves_no_other_file(tmp_path: Path) -> None:
    async def main() -> None:
        blobs = FolderBlobs(tmp_path / "blobs", inline=True)
        for content in (b"first", b"second"):
            await put(blobs, tmp_path, "recording.flac", content)
            kept = session_folder(tmp_path / "blobs", "t", "s1")
            assert (kept / "recording.flac").read_bytes() == content
            assert [file.name for file in kept.iterdir()] == ["recording.flac"]
        await blobs.delete_session("t", "s1")
        assert not kept.exists()

    asyncio.run(main())


def test_the_error_names_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "file").write_bytes(b"x")
        blobs = FolderBlobs(tmp_path / "file", inline=True)
        with pytest.raises(BlobFailed, match="file"):
            await blobs.put_file("default", "s1", "a", tmp_path / "file")

    asyncio.run(main())


@pytest.mark.parametrize("inline", [False, True])
def test_a_mount_that_is_not_there_is_told_at_the_start_and_lets_files_wait(tmp_path: Path, inline: bool) -> None:
    async def main() -> None:
        (tmp_path / "link").symlink_to(tmp_path / "mount")
        blobs = FolderBlobs(tmp_path / "link" / "blobs", inline=inline)
        with pytest.raises(BlobFailed, match=r"link/blobs cannot be made: .*link leads to nothing") as failed:
            await blobs.open()
        assert failed.value.passing
        with pytest.raises(BlobFailed, match=r"link/blobs cannot be used: .*link leads to nothing") as failed:
            await put(blobs, tmp_path, "a", b"sound")
        assert failed.value.passing
        (tmp_path / "mount").mkdir()
        assert await put(blobs, tmp_path, "a", b"sound") == 5
        assert await got(blobs, "a") == b"sound"

    asyncio.run(main())


def test_a_place_where_no_folder_can_be_made_is_not_taken_for_a_missing_source(tmp_path: Path) -> None:
    async def main() -> None:
        blobs = FolderBlobs(Path("/proc/nope"), inline=True)
        with pytest.raises(BlobFailed, match=r"/proc/nope cannot be made") as failed:
            await blobs.open()
        assert failed.value.passing
        with pytest.raises(BlobFailed, match=r"/proc/nope cannot be used") as failed:
            await put(blobs, tmp_path, "a", b"sound")
        assert failed.value.passing
        with pytest.raises(BlobFailed, match="nothing is missing") as failed:
            await blobs.put_file("t", "s1", "a", tmp_path / "nothing")
        assert not failed.value.passing

    asyncio.run(main())


def test_the_folder_is_there_once_the_store_is_open(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path / "deep" / "blobs", inline=True)
    for _ in range(2):
        asyncio.run(blobs.open())
        assert (tmp_path / "deep" / "blobs").is_dir()


def lose(root: Path) -> None:
    """The folder is gone, as the folder of a mount that was lost."""
    root.rename(root.with_name("away"))


def replace_by_a_file(root: Path) -> None:
    lose(root)
    root.write_bytes(b"x")


def replace_by_a_link_to_nothing(root: Path) -> None:
    lose(root)
    root.symlink_to(root.with_name("nothing"))


@pytest.mark.parametrize("inline", [False, True])
@pytest.mark.parametrize("break_root", [lose, replace_by_a_file, replace_by_a_link_to_nothing])
def test_without_the_root_folder_nothing_counts_as_deleted_or_missing(
    tmp_path: Path, break_root: Callable[[Path], None], inline: bool
) -> None:
    async def main() -> None:
        root = tmp_path / "blobs"
        blobs = FolderBlobs(root, inline=inline)
        await blobs.open()
        await put(blobs, tmp_path, "a", b"sound")
        break_root(root)
        for work in (
            lambda: blobs.delete_session("t", "s1"),
            lambda: blobs.size("t", "s1", "a"),
            lambda: got(blobs, "a"),
        ):
            with pytest.raises(BlobFailed, match=r"blobs cannot be used") as failed:
                await work()
            assert failed.value.passing
        root.unlink(missing_ok=True)
        (tmp_path / "away").rename(root)
        assert await got(blobs, "a") == b"sound"
        await blobs.delete_session("t", "s1")
        with pytest.raises(BlobMissing):
            await blobs.size("t", "s1", "a")

    asyncio.run(main())


def test_a_root_that_is_new_holds_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        blobs = FolderBlobs(tmp_path / "blobs", inline=True)
        await blobs.open()
        await blobs.delete_session("t", "s1")
        with pytest.raises(BlobMissing):
            await blobs.size("t", "s1", "a")
        with pytest.raises(BlobMissing):
            await got(blobs, "a")

    asyncio.run(main())


class HungPath(type(Path())):  # type: ignore[misc]
    """A folder of a file system that does not answer until `answers` is set."""

    answers = threading.Event()

    def mkdir(self, *args: Any, **options: Any) -> None:
        self.answers.wait(5)


def test_a_file_system_that_hangs_does_not_hold_up_the_start(tmp_path: Path) -> None:
    async def main() -> None:
        blobs = FolderBlobs(HungPath(tmp_path), open_timeout_s=0.01)
        try:
            with pytest.raises(BlobFailed, match="does not answer") as failed:
                await blobs.open()
            assert failed.value.passing
        finally:
            HungPath.answers.set()

    asyncio.run(main())
