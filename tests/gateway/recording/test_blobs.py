"""Files by tenant, session and name: no name leads out of the folder, and deletion leaves nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.recording.blobs import BadBlobName, BlobFailed, BlobMissing, FolderBlobs, named_by, session_folder


@pytest.mark.parametrize("inline", [False, True])
def test_a_file_comes_back_by_its_name(tmp_path: Path, inline: bool) -> None:
    async def main() -> None:
        blobs = FolderBlobs(tmp_path / "blobs", inline=inline)
        source = tmp_path / "made.flac"
        for content in (b"first", b"x" * 600_000):
            source.write_bytes(content)
            assert await blobs.put_file("default", "s1", "recording.flac", source) == len(content)
            source.unlink()
        assert await blobs.size("default", "s1", "recording.flac") == 600_000
        pieces = [piece async for piece in blobs.read("default", "s1", "recording.flac")]
        assert b"".join(pieces) == b"x" * 600_000
        assert len(pieces) == 3
        path = blobs.local_path("default", "s1", "recording.flac")
        assert path is not None
        assert [file.name for file in path.parent.iterdir()] == ["recording.flac"]

    asyncio.run(main())


def test_the_same_file_may_be_put_twice(tmp_path: Path) -> None:
    async def main() -> None:
        blobs = FolderBlobs(tmp_path / "blobs", inline=True)
        source = tmp_path / "made"
        source.write_bytes(b"once")
        for _ in range(2):
            await blobs.put_file("t", "s", "a", source)
        path = blobs.local_path("t", "s", "a")
        assert path is not None
        assert [file.name for file in path.parent.iterdir()] == ["a"]

    asyncio.run(main())


def test_what_is_not_there_is_missing(tmp_path: Path) -> None:
    async def main() -> None:
        blobs = FolderBlobs(tmp_path, inline=True)
        assert blobs.local_path("default", "s1", "a") is None
        with pytest.raises(BlobMissing):
            await blobs.size("default", "s1", "a")
        with pytest.raises(BlobMissing):
            _ = [piece async for piece in blobs.read("default", "s1", "a")]
        with pytest.raises(BlobFailed):
            await blobs.put_file("default", "s1", "a", tmp_path / "nothing")

    asyncio.run(main())


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "file").write_bytes(b"x")
        blobs = FolderBlobs(tmp_path / "file", inline=True)
        with pytest.raises(BlobFailed, match="file"):
            await blobs.put_file("default", "s1", "a", tmp_path / "file")

    asyncio.run(main())


def test_deleting_a_session_leaves_its_neighbours(tmp_path: Path) -> None:
    async def main() -> None:
        blobs = FolderBlobs(tmp_path / "blobs", inline=True)
        for tenant, session_id in (("a", "s1"), ("a", "s2"), ("b", "s1")):
            (tmp_path / "file").write_bytes(b"x")
            await blobs.put_file(tenant, session_id, "x", tmp_path / "file")
        await blobs.delete_session("a", "s1")
        await blobs.delete_session("a", "s1")
        assert blobs.local_path("a", "s1", "x") is None
        assert blobs.local_path("a", "s2", "x") is not None
        assert blobs.local_path("b", "s1", "x") is not None

    asyncio.run(main())


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", ".hidden", "a\0b", "x" * 200, "\u00e9", "a b", "a\n"])
def test_a_name_that_is_no_plain_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadBlobName):
        FolderBlobs(tmp_path).local_path("default", "s1", name)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20), st.text(min_size=1, max_size=20))
def test_any_tenant_has_a_folder_of_its_own_inside_the_root(tenant: str, other: str) -> None:
    root = Path("/root/of/blobs")
    folder = session_folder(root, tenant, "s1")
    assert folder.parent.parent == root
    assert folder.name == "s1"
    assert folder.parent.name not in {".", ".."}
    assert "/" not in folder.parent.name
    assert named_by(folder) == (tenant, "s1")
    if tenant != other and "\ufffd" not in tenant and other.isprintable():
        assert session_folder(root, other, "s1") != folder


@pytest.mark.parametrize("tenant", ["", "x" * 300])
def test_a_tenant_that_can_be_no_folder_is_refused(tenant: str) -> None:
    with pytest.raises(BadBlobName):
        session_folder(Path("/root"), tenant, "s1")
