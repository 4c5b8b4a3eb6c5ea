"""The SQLite store: the contract in both its modes, and what its file does when it is damaged, held or foreign."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import stat
from pathlib import Path

import pytest
from faulty_store import ODD_FAULTS
from store_contract import HandClock, StoreContract, session, turn

from sessions.errors import VoiceError
from sessions.stores.contract import BadDocument, Store, StoreFailed, Write
from sessions.stores.sqlite import SqliteStore
from sessions.stores.sqlite_connections import SqliteConnections
from sessions.stores.sqlite_file import row_of, write_rows
from sessions.stores.sqlite_link import REOPEN_MS


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


@pytest.mark.parametrize("inline", [False, True])
@pytest.mark.parametrize("how", ["folder", "file", "replaced by an empty file"])
def test_a_file_that_does_not_come_back_is_made_anew_after_a_moment(tmp_path: Path, inline: bool, how: str) -> None:
    path = tmp_path / "data" / "patchbay.db"

    async def main() -> None:
        clock = HandClock()
        store = SqliteStore(str(path), clock, inline=inline)
        await store.open()
        await store.put(session("s1"), None)
        if how == "folder":
            shutil.rmtree(path.parent)
        else:
            path.unlink()
        if how == "replaced by an empty file":
            path.touch()
        for _ in range(3):
            with pytest.raises(StoreFailed, match="was deleted or moved while in use"):
                await store.put(session("s2"), None)
        clock.ms += REOPEN_MS
        await store.put(session("s2"), None)
        assert [found["session_id"] for found in (await store.sessions("default", limit=9, after=None)).items] == ["s2"]
        await store.close()
        await store.open()
        assert [found["session_id"] for found in (await store.sessions("default", limit=9, after=None)).items] == ["s2"]
        await store.close()

    asyncio.run(main())


def test_a_file_in_the_place_of_ours_that_is_another_programs_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "patchbay.db"

    async def main() -> None:
        clock = HandClock()
        store = SqliteStore(str(path), clock)
        await store.open()
        path.unlink()
        path.write_bytes(b"somebody's letters, and no database at all; " * 50)
        with pytest.raises(StoreFailed, match="deleted or moved"):
            await store.put(session("s1"), None)
        clock.ms += REOPEN_MS
        with pytest.raises(StoreFailed, match="not a SQLite database"):
            await store.put(session("s1"), None)
        assert path.read_bytes().startswith(b"somebody's letters")
        await store.close()

    asyncio.run(main())


SPOILT = [None, 7, 1.5, "", "words", "null", "[]", "7", b"", b"\xff\xfe", b"[1]", b"null", b'{"half": ', "{}x"]


@pytest.mark.parametrize("inline", [False, True])
@pytest.mark.parametrize("body", SPOILT, ids=repr)
def test_a_row_that_holds_no_document_costs_itself(
    tmp_path: Path, inline: bool, body: object, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "patchbay.db"

    async def main() -> None:
        store = SqliteStore(str(path), HandClock(), inline=inline)
        await store.open()
        for session_id in ("fine", "odd"):
            await store.put_many([Write(session(session_id, state="live"), None), Write(turn(session_id, 0), None)])
        await store.put(turn("odd", 1), None)
        with sqlite3.connect(path) as other:
            other.execute("PRAGMA ignore_check_constraints=ON")
            value = b"" if body is None else body
            other.execute("UPDATE documents SET body = ? WHERE session_id = 'odd' AND id != 'turn_00001'", (value,))
        other.close()
        assert [found["session_id"] for found in await store.left_live()] == ["fine"]
        page = await store.sessions("default", limit=9, after=None)
        assert [found["session_id"] for found in page.items] == ["fine"]
        assert [found["id"] for found in await store.query("default", "odd", "turn")] == ["turn_00001"]
        with pytest.raises(BadDocument, match="row"):
            await store.get("default", "odd", "session")
        await store.put(session("odd"), None)
        assert (await store.get("default", "odd", "session"))["state"] == "ended"
        await store.close()

    asyncio.run(main())
    assert "a stored document cannot be read" in caplog.messages


@pytest.mark.parametrize("inline", [False, True])
@pytest.mark.parametrize("name", ["tenant", "session_id", "agent", "state"])
def test_words_that_sqlite_cannot_hold_cost_their_document_and_not_the_store(
    tmp_path: Path, inline: bool, name: str
) -> None:
    async def main() -> None:
        store = SqliteStore(str(tmp_path / "patchbay.db"), HandClock(), inline=inline)
        await store.open()
        with pytest.raises(BadDocument):
            await store.put({**session("odd"), name: "half an emoji \ud83d"}, None)
        await store.put(session("fine"), None)
        assert (await store.get("default", "fine", "session"))["session_id"] == "fine"
        await store.close()

    asyncio.run(main())


@pytest.mark.parametrize("inline", [False, True])
@pytest.mark.parametrize("fault", ODD_FAULTS, ids=lambda fault: type(fault).__name__)
def test_a_write_that_breaks_takes_back_what_it_did_and_costs_no_other(
    tmp_path: Path, inline: bool, fault: BaseException
) -> None:
    path = str(tmp_path / "patchbay.db")

    async def main() -> None:
        connections = SqliteConnections(path, inline=inline, busy_ms=50, now_ms=lambda: 0)
        await connections.open()

        def breaks(connection: sqlite3.Connection) -> int:
            rows = [row_of(session("odd"), None, 0.0)]
            write_rows(connection, rows)
            raise fault

        with pytest.raises(VoiceError):
            await connections.write(breaks)
        rows = [row_of(session("fine"), None, 0.0)]
        await connections.write(lambda connection: write_rows(connection, rows))
        found = await connections.read(read_live_and_ended)
        assert found == ["fine"]
        await connections.close()

    asyncio.run(main())


def read_live_and_ended(connection: sqlite3.Connection) -> list[object]:
    return [found[0] for found in connection.execute("SELECT session_id FROM documents")]


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
