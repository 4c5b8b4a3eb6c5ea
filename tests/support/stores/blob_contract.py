"""The tests of the contract of `gateway.blobs.contract.Blobs`; each blob store inherits them and makes itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest
from support.calls.call_rig import later

from gateway.blobs.contract import BadBlobName, BlobFailed, BlobMissing, Blobs

BIG = bytes(range(251)) * 40_000  # 10 MB, more than two blocks of 4 MiB
SMALL = bytes(range(250)) * 2_400
BAD_NAMES = ["", ".", "..", "../x", "a/b", ".hidden", "a\0b", "x" * 200, "\u00e9", "a b", "a\n"]


async def put(blobs: Blobs, folder: Path, name: str, content: bytes, *, tenant: str = "t", session: str = "s1") -> int:
    """Store this content as a file."""
    path = folder / "made"
    path.unlink(missing_ok=True)  # the store may hold a link to the former file
    path.write_bytes(content)
    return await blobs.put_file(tenant, session, name, path)


async def got(
    blobs: Blobs,
    name: str,
    offset: int = 0,
    length: int | None = None,
    *,
    tenant: str = "t",
    session: str = "s1",
) -> bytes:
    """What a file holds."""
    return b"".join([piece async for piece in blobs.read(tenant, session, name, offset, length)])


class BlobContract:
    """A blob store passes all of these tests."""

    def make(self, folder: Path) -> Blobs:
        """A store that is empty."""
        raise NotImplementedError

    def run(self, folder: Path, test: Callable[[Blobs], Awaitable[None]]) -> None:
        async def main() -> None:
            blobs = self.make(folder)
            await blobs.open()
            try:
                async with asyncio.timeout(60):
                    await test(blobs)
            finally:
                await blobs.close()

        asyncio.run(main())

    @pytest.mark.parametrize("content", [b"", b"x", SMALL, BIG[: 4 << 20], BIG], ids=len)
    def test_a_stored_file_is_read_by_its_name(self, tmp_path: Path, content: bytes) -> None:
        async def test(blobs: Blobs) -> None:
            assert await put(blobs, tmp_path, "recording.flac", content) == len(content)
            (tmp_path / "made").unlink()
            assert await blobs.size("t", "s1", "recording.flac") == len(content)
            assert await got(blobs, "recording.flac") == content

        self.run(tmp_path, test)

    def test_a_file_is_read_in_pieces(self, tmp_path: Path) -> None:
        async def test(blobs: Blobs) -> None:
            await put(blobs, tmp_path, "a", BIG)
            pieces = [len(piece) async for piece in blobs.read("t", "s1", "a")]
            assert len(pieces) > 5
            assert max(pieces) <= 2 << 20

        self.run(tmp_path, test)

    @pytest.mark.parametrize("content", [SMALL, BIG], ids=["small", "big"])
    @pytest.mark.parametrize(
        ("offset", "length"),
        [(0, 10), (5, 1), (299_999, 2), (590_000, 50_000), (7, 0), (9, None), (0, 5_000_000), (4_194_303, 2)],
    )
    def test_a_part_of_a_file_is_read(self, tmp_path: Path, content: bytes, offset: int, length: int | None) -> None:
        async def test(blobs: Blobs) -> None:
            await put(blobs, tmp_path, "a", content)
            end = len(content) if length is None else offset + length
            assert await got(blobs, "a", offset, length) == content[offset:end]

        self.run(tmp_path, test)

    def test_behind_the_end_of_a_file_there_is_nothing(self, tmp_path: Path) -> None:
        async def test(blobs: Blobs) -> None:
            await put(blobs, tmp_path, "a", b"12345")
            await put(blobs, tmp_path, "empty", b"")
            for offset, length in ((5, None), (5, 1), (900, 10), (900, None), (900, 0)):
                assert await got(blobs, "a", offset, length) == b""
            for offset, length in ((0, None), (0, 1), (1, None), (0, 0)):
                assert await got(blobs, "empty", offset, length) == b""

        self.run(tmp_path, test)

    @pytest.mark.parametrize(("first", "second"), [(SMALL, b"x"), (b"x", BIG), (BIG, SMALL), (BIG, BIG[::-1])])
    def test_a_file_replaces_the_older_one_of_its_name(self, tmp_path: Path, first: bytes, second: bytes) -> None:
        async def test(blobs: Blobs) -> None:
            await put(blobs, tmp_path, "a", first)
            await put(blobs, tmp_path, "a", second)
            assert await got(blobs, "a") == second

        self.run(tmp_path, test)

    @pytest.mark.parametrize("content", [b"once", BIG], ids=["small", "big"])
    def test_the_same_file_may_be_put_twice(self, tmp_path: Path, content: bytes) -> None:
        async def test(blobs: Blobs) -> None:
            source = tmp_path / "same"
            source.write_bytes(content)
            for _ in range(2):
                assert await blobs.put_file("t", "s1", "a", source) == len(content)
            assert await got(blobs, "a") == content

        self.run(tmp_path, test)

    def test_nobody_sees_a_part_of_a_file(self, tmp_path: Path) -> None:
        async def test(blobs: Blobs) -> None:
            sizes = set[int]()
            whole = asyncio.Event()

            async def look() -> None:
                while not whole.is_set():
                    with suppress(BlobMissing):
                        sizes.add(await blobs.size("t", "s1", "a"))
                    await later(0)

            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(look())
                for content in (BIG, SMALL, BIG):
                    await put(blobs, tmp_path, "a", content)
                whole.set()
            assert sizes <= {len(BIG), len(SMALL)}

        self.run(tmp_path, test)

    @pytest.mark.parametrize("turns", [0, 1, 3, 10, 30, 100])
    def test_a_file_that_is_not_put_to_its_end_is_there_as_a_whole_or_not_at_all(
        self, tmp_path: Path, turns: int
    ) -> None:
        async def test(blobs: Blobs) -> None:
            async with asyncio.TaskGroup() as tasks:
                putting = tasks.create_task(put(blobs, tmp_path, "a", BIG))
                for _ in range(turns):
                    await later(0)
                putting.cancel()
            with suppress(BlobMissing):
                assert await got(blobs, "a") == BIG
            await put(blobs, tmp_path, "a", BIG)
            assert await got(blobs, "a") == BIG

        self.run(tmp_path, test)

    def test_many_files_are_put_at_once(self, tmp_path: Path) -> None:
        async def test(blobs: Blobs) -> None:
            async def one(number: int) -> None:
                source = tmp_path / str(number)
                source.write_bytes(BIG[number:])
                await blobs.put_file("t", f"s{number}", "a", source)
                assert await got(blobs, "a", session=f"s{number}") == BIG[number:]

            async with asyncio.TaskGroup() as tasks:
                for number in range(8):
                    tasks.create_task(one(number))

        self.run(tmp_path, test)

    def test_a_file_that_does_not_exist_is_missing(self, tmp_path: Path) -> None:
        async def test(blobs: Blobs) -> None:
            with pytest.raises(BlobMissing):
                await blobs.size("t", "s1", "a")
            for length in (None, 0, 10):
                with pytest.raises(BlobMissing):
                    await got(blobs, "a", 0, length)
            with pytest.raises(BlobFailed) as failed:
                await blobs.put_file("t", "s1", "a", tmp_path / "nothing")
            assert not failed.value.passing

        self.run(tmp_path, test)

    def test_deleting_a_session_keeps_the_files_of_others(self, tmp_path: Path) -> None:
        async def test(blobs: Blobs) -> None:
            places = [("a", "s1"), ("a", "s10"), ("a", "s"), ("b", "s1"), ("a", "s1/x"), ("a/s1", "s1")]
            for tenant, session in places:
                for name in ("x", "recording.flac", "events.jsonl"):
                    await put(blobs, tmp_path, name, b"x", tenant=tenant, session=session)
            await blobs.delete_session("a", "s1")
            await blobs.delete_session("a", "s1")
            for name in ("x", "recording.flac", "events.jsonl"):
                with pytest.raises(BlobMissing):
                    await blobs.size("a", "s1", name)
                for tenant, session in places[1:]:
                    assert await blobs.size(tenant, session, name) == 1

        self.run(tmp_path, test)

    @pytest.mark.parametrize(
        "tenant", ["acme corp", "100%", "a%20b", "../up", ".", "..", "a.", "\u00e9\u4e16", "a?b#c&d"]
    )
    def test_every_tenant_has_files_of_its_own(self, tmp_path: Path, tenant: str) -> None:
        async def test(blobs: Blobs) -> None:
            await put(blobs, tmp_path, "x", b"mine", tenant=tenant, session=tenant)
            await put(blobs, tmp_path, "x", b"other", tenant="t", session=tenant)
            assert await got(blobs, "x", tenant=tenant, session=tenant) == b"mine"
            await blobs.delete_session(tenant, tenant)
            with pytest.raises(BlobMissing):
                await blobs.size(tenant, tenant, "x")
            assert await got(blobs, "x", session=tenant) == b"other"

        self.run(tmp_path, test)

    @pytest.mark.parametrize("name", BAD_NAMES)
    def test_a_name_that_is_not_plain_is_refused(self, tmp_path: Path, name: str) -> None:
        async def test(blobs: Blobs) -> None:
            (tmp_path / "source").write_bytes(b"x")
            with pytest.raises(BadBlobName):
                await blobs.size("t", "s1", name)
            with pytest.raises(BadBlobName):
                await got(blobs, name)
            with pytest.raises(BadBlobName):
                await blobs.put_file("t", "s1", name, tmp_path / "source")

        self.run(tmp_path, test)
