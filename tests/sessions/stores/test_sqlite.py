"""The SQLite store: the contract, threaded and inline, and files that are damaged, locked, deleted or foreign."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import stat
from pathlib import Path

import orjson
import pytest
from support.stores.faulty_store import ODD_FAULTS
from support.stores.store_contract import HandClock, StoreContract, session, turn

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


def test_the_error_names_a_file_that_is_no_database() -> None:
    path = Path(__file__)
    with pytest.raises(StoreFailed, match=r"test_sqlite\.py is damaged, or is not a SQLite database"):
        open_and_close(path)


def test_the_error_names_a_file_that_was_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "patchbay.db"
    open_and_close(path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(StoreFailed, match=r"patchbay\.db"):
        open_and_close(path)


def test_a_folder_in_the_place_of_the_file_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(StoreFailed, match="cannot be opened"):
        open_and_close(tmp_path)


def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
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


def test_a_write_fails_while_another_process_locks_the_file_and_the_next_one_succeeds(tmp_path: Path) -> None:
    path = tmp_path / "patchbay.db"

    async def main() -> None:
        store = SqliteStore(str(path), HandClock(), busy_ms=20)
        await store.open()
        locker = sqlite3.connect(path, isolation_level=None)
        locker.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreFailed, match="locked by another process"):
            await store.put(session("s1"), None)
        locker.execute("COMMIT")
        locker.close()
        await store.put(session("s1"), None)
        await store.close()

    asyncio.run(main())


@pytest.mark.parametrize("inline", [False, True])
@pytest.mark.parametrize("how", ["deleted", "replaced"])
def test_a_write_fails_if_the_file_was_deleted_or_replaced_while_in_use(tmp_path: Path, inline: bool, how: str) -> None:
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
        await store.put(session("s2"), None)  # the file is back
        await store.close()

    asyncio.run(main())


@pytest.mark.parametrize("inline", [False, True])
@pytest.mark.parametrize("how", ["folder", "file", "replaced by an empty file"])
def test_a_file_that_does_not_come_back_is_made_again_after_a_second(tmp_path: Path, inline: bool, how: str) -> None:
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
        assert store.generation == 0
        clock.ms += REOPEN_MS
        await store.put(session("s2"), None)
        assert store.generation == 1
        assert [found["session_id"] for found in (await store.sessions("default", limit=9, after=None)).items] == ["s2"]
        await store.close()
        await store.open()
        assert [found["session_id"] for found in (await store.sessions("default", limit=9, after=None)).items] == ["s2"]
        await store.close()

    asyncio.run(main())


def test_a_foreign_file_in_the_place_of_the_stores_file_is_not_changed(tmp_path: Path) -> None:
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


DAMAGED = [None, 7, 1.5, "", "words", "null", "[]", "7", b"", b"\xff\xfe", b"[1]", b"null", b'{"half": ', "{}x"]


@pytest.mark.parametrize("inline", [False, True])
@pytest.mark.parametrize("body", DAMAGED, ids=repr)
def test_a_row_that_holds_no_document_is_logged_and_skipped(
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
    found = [vars(one) for one in caplog.records if one.message == "a stored document cannot be read"]
    named = {(one["tenant"], one["session_id"], one["document"]) for one in found}
    assert named == {("default", "odd", "session"), ("default", "odd", "turn_00000")}
    assert all("of session 'odd' of tenant 'default'" in one["reason"] for one in found)


@pytest.mark.parametrize("inline", [False, True])
@pytest.mark.parametrize("name", ["tenant", "session_id", "agent", "state"])
def test_a_document_with_text_that_sqlite_cannot_store_is_refused_alone(
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
def test_a_write_that_raises_is_rolled_back_and_the_others_are_committed(
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


def test_only_the_owner_may_read_the_file(tmp_path: Path) -> None:
    path = tmp_path / "patchbay.db"
    open_and_close(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("inline", [False, True])
def test_the_text_of_a_deleted_session_is_in_no_file(tmp_path: Path, inline: bool) -> None:
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


def test_if_a_batch_cannot_be_committed_each_of_its_writes_fails(tmp_path: Path) -> None:
    path = tmp_path / "patchbay.db"

    async def main() -> None:
        store = SqliteStore(str(path), HandClock(), busy_ms=20)
        await store.open()
        locker = sqlite3.connect(path, isolation_level=None)
        locker.execute("BEGIN IMMEDIATE")
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
        locker.execute("ROLLBACK")
        locker.close()
        assert (await store.sessions("default", limit=10, after=None)).items == ()
        await store.close()

    asyncio.run(main())


FIRST_SCHEMA = """
    CREATE TABLE documents (
        version INTEGER PRIMARY KEY AUTOINCREMENT,
        tenant TEXT NOT NULL, session_id TEXT NOT NULL, id TEXT NOT NULL, type TEXT NOT NULL,
        expires_s REAL, started_at REAL, agent TEXT, state TEXT, body BLOB NOT NULL);
    CREATE UNIQUE INDEX by_id ON documents (tenant, session_id, id);
    CREATE INDEX by_state ON documents (state) WHERE type = 'session' AND state = 'live';
    PRAGMA application_id=1346533681;
    PRAGMA user_version=1;
"""


def test_a_file_with_the_first_schema_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "patchbay.db"
    rows = [
        (session("s1", state="live", owner={"process": "p", "boot": "boot_1"}), "live"),
        (session("s2", state="live", owner="nobody"), "live"),
        (session("s3"), "ended"),
    ]
    with sqlite3.connect(path) as old:
        old.executescript(FIRST_SCHEMA)
        for document, state in rows:
            values = ("default", document["session_id"], "session", "session", 1.0, "harbour", state)
            old.execute(
                "INSERT INTO documents (tenant, session_id, id, type, started_at, agent, state, body)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (*values, orjson.dumps(document)),
            )
        old.execute(
            "INSERT INTO documents (tenant, session_id, id, type, started_at, agent, state, body)"
            " VALUES ('default', 's4', 'session', 'session', 1, 'harbour', 'live', 'no JSON')"
        )
    old.close()

    async def main() -> None:
        for _ in range(2):  # the second start finds nothing to do
            store = SqliteStore(str(path), HandClock())
            await store.open()
            assert [found["session_id"] for found in await store.left_live("boot_1")] == ["s1"]
            assert {found["session_id"] for found in await store.left_live()} == {"s1", "s2"}
            assert (await store.get("default", "s3", "session"))["written_s"] > 1_700_000_000
            await store.put(turn("s3", 0), None)
            await store.close()

    asyncio.run(main())


def test_a_file_that_cannot_be_brought_up_to_date_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "patchbay.db"
    with sqlite3.connect(path) as old:
        old.executescript(FIRST_SCHEMA)
        old.execute("ALTER TABLE documents ADD COLUMN boot TEXT")  # as nothing of Patchbay's would leave it
    old.close()
    with pytest.raises(StoreFailed, match="duplicate column"):
        open_and_close(path)
    with sqlite3.connect(path) as left:
        assert left.execute("PRAGMA user_version").fetchone() == (1,)
        assert "written_s" not in [row[1] for row in left.execute("PRAGMA table_info(documents)")]
    left.close()
