"""The SQLite store: the contract in both its modes, and what its file does when it is damaged, held or foreign."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from pathlib import Path

import pytest
from store_contract import HandClock, StoreContract, session, turn

from sessions.stores.contract import Store, StoreFailed, Write
from sessions.stores.sqlite import SqliteStore


class TestThreaded(StoreContract):
    def make(self, folder: Path, clock: HandClock) -> Store:
        return SqliteStore(str(folder / "deep" / "patchbay.db"), clock)


class TestInline(StoreContract):
    def make(self, folder: Path, clock: HandClock) -> Store:
        return SqliteStore(str(folder / "patchbay.db"), clock, inline=True)


def open_and_close(path: Path, *, busy_ms: int = 50) -> None:
    async def main() -> None:
        store = SqliteStore(str(path), HandClock(), busy_ms=busy_ms)
        await store.open()
        await store.close()

    asyncio.run(main())


def test_a_file_that_is_no_database_is_named() -> None:
    path = Path(__file__)
    with pytest.raises(StoreFailed, match=r"test_sqlite\.py is damaged, or is not a SQLite database"):
        open_and_close(path)


def test_a_file_cut_short_is_named(tmp_path: Path) -> None:
    path = tmp_path / "patchbay.db"
    open_and_close(path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(StoreFailed, match=r"patchbay\.db"):
        open_and_close(path)


def test_a_folder_in_the_place_of_the_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreFailed, match="cannot be opened"):
        open_and_close(tmp_path)


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE bookings (id)")
    other.close()
    with pytest.raises(StoreFailed, match="another program"):
        open_and_close(path)


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "patchbay.db"
    open_and_close(path)
    with sqlite3.connect(path) as later:
        later.execute("PRAGMA user_version=99")
    later.close()
    with pytest.raises(StoreFailed, match="newer Patchbay"):
        open_and_close(path)


def test_a_file_that_another_process_holds_fails_the_write_and_takes_the_next(tmp_path: Path) -> None:
    path = tmp_path / "patchbay.db"

    async def main() -> None:
        store = SqliteStore(str(path), HandClock(), busy_ms=20)
        await store.open()
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreFailed, match="locked by another process"):
            await store.put(session("s1"), None)
        holder.execute("COMMIT")
        holder.close()
        await store.put(session("s1"), None)
        await store.close()

    asyncio.run(main())


@pytest.mark.parametrize("inline", [False, True])
@pytest.mark.parametrize("how", ["deleted", "replaced"])
def test_a_file_that_was_deleted_while_in_use_is_a_lost_store_and_not_a_silent_one(
    tmp_path: Path, inline: bool, how: str
) -> None:
    path = tmp_path / "patchbay.db"

    async def main() -> None:
        store = SqliteStore(str(path), HandClock(), inline=inline)
        await store.open()
        await store.put(session("s1"), None)
        path.rename(tmp_path / "elsewhere.db")
        if how == "replaced":
            path.touch()
        with pytest.raises(StoreFailed, match="was deleted or moved while in use"):
            await store.put(session("s2"), None)
        path.unlink(missing_ok=True)
        (tmp_path / "elsewhere.db").rename(path)
        await store.put(session("s2"), None)  # it is back
        await store.close()

    asyncio.run(main())


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "patchbay.db"
    open_and_close(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("inline", [False, True])
def test_the_words_of_a_deleted_session_are_in_no_file(tmp_path: Path, inline: bool) -> None:
    secret = "the kingfisher dines at eight"

    async def main() -> None:
        store = SqliteStore(str(tmp_path / "patchbay.db"), HandClock(), inline=inline)
        await store.open()
        await store.put_many([Write(session("s1"), None), Write(turn("s1", 0, text=secret), None)])
        await store.delete_session("default", "s1")
        assert not [file.name for file in tmp_path.iterdir() if secret.encode() in file.read_bytes()]
        await store.close()

    asyncio.run(main())


def test_a_write_to_a_store_that_is_not_open_fails(tmp_path: Path) -> None:
    async def main() -> None:
        store = SqliteStore(str(tmp_path / "patchbay.db"), HandClock())
        with pytest.raises(StoreFailed, match="not open"):
            await store.put(session("s1"), None)
        await store.open()
        await store.close()
        with pytest.raises(StoreFailed, match="not open"):
            await store.get("default", "s1", "session")

    asyncio.run(main())


def test_a_store_in_memory_works_inline_only() -> None:
    async def main() -> None:
        store = SqliteStore(":memory:", HandClock(), inline=True)
        await store.open()
        await store.put(session("s1"), None)
        assert (await store.get("default", "s1", "session"))["session_id"] == "s1"
        await store.close()

    asyncio.run(main())
    with pytest.raises(StoreFailed, match="inline"):
        SqliteStore(":memory:", HandClock())


def test_a_batch_that_the_disk_refuses_fails_for_each_of_its_writers(tmp_path: Path) -> None:
    path = tmp_path / "patchbay.db"

    async def main() -> None:
        store = SqliteStore(str(path), HandClock(), busy_ms=20)
        await store.open()
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        failed: list[str] = []

        async def attempt(number: int) -> None:
            try:
                await store.put(session(f"s{number}"), None)
            except StoreFailed:
                failed.append(f"s{number}")

        async with asyncio.TaskGroup() as tasks:
            for number in range(5):
                tasks.create_task(attempt(number))
        assert len(failed) == 5
        holder.execute("ROLLBACK")
        holder.close()
        assert (await store.sessions("default", limit=10, after=None)).items == ()
        await store.close()

    asyncio.run(main())
