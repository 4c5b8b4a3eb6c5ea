"""Reading the changes of a SQLite file beside its server: nothing is created, changed or removed."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from support.stores.store_contract import HandClock, session, turn

from sessions.stores.contract import BadCursor, StoreFailed
from sessions.stores.sqlite import SqliteStore
from sessions.stores.sqlite_reader import SqliteReader

Test = Callable[[SqliteStore, SqliteReader], Awaitable[None]]


def beside_a_store(path: Path, test: Test) -> None:
    async def main() -> None:
        store, reader = SqliteStore(str(path), HandClock()), SqliteReader(str(path), busy_ms=50)
        await store.open()
        await reader.open()
        async with asyncio.timeout(20):
            await test(store, reader)
        await reader.close()
        await store.close()

    asyncio.run(main())


def opened(path: Path) -> None:
    async def main() -> None:
        reader = SqliteReader(str(path), busy_ms=50)
        try:
            await reader.open()
        finally:
            await reader.close()
            await reader.close()

    asyncio.run(main())


def write_one(path: Path, session_id: str = "s1") -> None:
    async def main() -> None:
        store = SqliteStore(str(path), HandClock())
        await store.open()
        await store.put(session(session_id), None)
        await store.close()

    asyncio.run(main())


def test_changes_are_read_while_the_store_is_written(tmp_path: Path) -> None:
    async def test(store: SqliteStore, reader: SqliteReader) -> None:
        await store.put(session("s1"), None)
        first = await reader.changes(None, 10)
        assert first == await store.changes(None, 10)
        await store.put(turn("s1", 0), None)
        assert [found["id"] for found in (await reader.changes(first.position, 10)).items] == ["turn_00000"]

    beside_a_store(tmp_path / "patchbay.db", test)
    assert [path.name for path in tmp_path.iterdir()] == ["patchbay.db"]


def test_a_transaction_of_the_server_does_not_hold_up_the_reader_nor_the_reader_the_server(tmp_path: Path) -> None:
    path = tmp_path / "patchbay.db"

    async def test(store: SqliteStore, reader: SqliteReader) -> None:
        await store.put(session("s1"), None)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        assert len((await reader.changes(None, 10)).items) == 1
        other.close()
        await store.delete_session("default", "s1")
        assert os.stat(f"{path}-wal").st_size == 0  # the reader does not keep what was deleted in the log
        assert (await reader.changes(None, 10)).items == ()

    beside_a_store(path, test)


def test_the_changes_of_a_store_without_a_server_are_read_too(tmp_path: Path) -> None:
    path = tmp_path / "patchbay.db"
    write_one(path)
    before = path.read_bytes()

    async def main() -> None:
        reader = SqliteReader(str(path))
        assert len((await reader.changes(None, 10)).items) == 1
        await reader.close()

    asyncio.run(main())
    assert path.read_bytes() == before
    write_one(path, "s2")


def test_a_file_that_does_not_exist_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(StoreFailed, match="does not exist; a server makes it when it starts"):
        opened(tmp_path / "deep" / "patchbay.db")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("PRAGMA user_version=1", "has an older schema"),
        ("PRAGMA user_version=99", "was written by a newer Patchbay"),
        ("PRAGMA application_id=7", "is a database of another program"),
    ],
)
def test_a_file_of_another_version_or_program_is_refused_and_not_changed(
    tmp_path: Path, statement: str, reason: str
) -> None:
    path = tmp_path / "patch bay#1?.db"
    write_one(path)
    with sqlite3.connect(path) as connection:
        connection.execute(statement)
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreFailed, match=reason):
        opened(path)
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_or_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / "words.db").write_text("no database " * 100)
    for path, reason in ((tmp_path / "words.db", "is damaged"), (tmp_path, "cannot be used")):
        with pytest.raises(StoreFailed, match=reason) as refused:
            opened(path)
        assert str(path) in str(refused.value)


def test_a_file_that_was_replaced_is_read_and_positions_past_its_end_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "patchbay.db"

    write_one(path, "old")
    write_one(path, "older")

    async def main() -> None:
        reader = SqliteReader(str(path))
        position = (await reader.changes(None, 10)).position
        path.rename(tmp_path / "away.db")
        with pytest.raises(StoreFailed, match="does not exist"):
            await reader.changes(position, 10)
        store = SqliteStore(str(path), HandClock())
        await store.open()
        with pytest.raises(BadCursor):
            await reader.changes(position, 10)
        with pytest.raises(BadCursor):
            await store.changes(position, 10)
        await store.put(session("new"), None)
        assert [found["session_id"] for found in (await reader.changes(None, 10)).items] == ["new"]
        await reader.close()
        await store.put(session("newer"), None)
        assert len((await store.changes(None, 10)).items) == 2
        await store.close()

    asyncio.run(main())
