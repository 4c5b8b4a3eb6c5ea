"""The blob store that a setting names, and what a failure to open it means for the start."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
from pydantic import SecretStr

from gateway.blobs.azure import AzureBlobs, blocks_of
from gateway.blobs.contract import BlobFailed
from gateway.blobs.folder import FolderBlobs
from gateway.blobs.opening import make_blobs, open_or_wait


class Unopened(FolderBlobs):
    """A blob store that cannot be opened."""

    def __init__(self, root: Path, *, passing: bool) -> None:
        super().__init__(root)
        self._passing = passing

    async def open(self) -> None:
        raise BlobFailed("the place says no", passing=self._passing)


def test_the_setting_decides_which_store_is_made(tmp_path: Path) -> None:
    assert isinstance(make_blobs(f"folder://{tmp_path}", None), FolderBlobs)
    assert isinstance(make_blobs("azblob://acme1/calls", SecretStr("a2V5")), AzureBlobs)
    with pytest.raises(ValueError, match="must be one of"):
        make_blobs("s3://x", None)


def test_a_store_that_is_not_reached_lets_recordings_wait_and_a_wrong_setting_stops_the_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asyncio.run(open_or_wait(Unopened(tmp_path, passing=True)))
    (record,) = caplog.records
    assert (record.levelno, record.__dict__["reason"]) == (logging.ERROR, "the place says no")
    with pytest.raises(BlobFailed, match="PATCHBAY_BLOBS: the place says no"):
        asyncio.run(open_or_wait(Unopened(tmp_path, passing=False)))
    asyncio.run(open_or_wait(FolderBlobs(tmp_path)))


def test_a_store_that_is_not_open_says_so() -> None:
    with pytest.raises(BlobFailed, match="not open"):
        asyncio.run(make_blobs("azblob://acme1/calls", None).size("t", "s1", "a"))


def test_each_block_has_its_place_and_the_blocks_of_another_file_have_other_ids(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * 10_000_000)
    blocks = blocks_of(path.stat())
    assert [(block.offset, block.length) for block in blocks] == [
        (0, 4_194_304),
        (4_194_304, 4_194_304),
        (8_388_608, 1_611_392),
    ]
    assert blocks_of(path.stat()) == blocks
    path.write_bytes(b"x" * 10_000_001)
    others = blocks_of(path.stat())
    assert not {block.id for block in others} & {block.id for block in blocks}
    assert len({len(block.id) for block in [*blocks, *others]}) == 1
    assert len(blocks[0].id) <= 48  # 64 bytes once it is in base64
