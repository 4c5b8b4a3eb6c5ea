"""Rows that another program wrote into the store: every job beside the calls goes on past them, and names them."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.api_world import RECORD, fill, make_gateway
from support.calls.call_rig import later
from support.stores.store_contract import HandClock
from support.virtual import run

from gateway.app import Gateway
from gateway.cli.sessions import EndedSessions
from gateway.state.boots import BOOT, DEAD_S, PARTITION, TENANT, Boots
from sessions.stores.contract import Missing
from sessions.stores.documents import SESSION_ID, Owner, RecordingInfo, RecordingState, SessionState, session_document
from sessions.stores.sqlite import SqliteStore

NOW_S = 2e9
BODIES = [b"{nonsense", b"[]", b"", b"\xff\xfe", b"{}", b'{"type": "session", "schema": 99}', "text", 17, b"null"]


def insert(folder: Path, **columns: Any) -> None:
    """Write one row as another program would."""
    row = {"tenant": "default", "session_id": "s_bad", "id": "session", "type": "session", "body": b"{}"} | columns
    names, marks = ", ".join(row), ", ".join("?" * len(row))
    with closing(sqlite3.connect(folder / "patchbay.db")) as file, file:
        file.execute(f"INSERT INTO documents ({names}) VALUES ({marks})", tuple(row.values()))


def with_gateway(folder: Path, monkeypatch: pytest.MonkeyPatch, scenario: Callable[[Gateway], Awaitable[None]]) -> None:
    loop_s = lambda: asyncio.get_running_loop().time()  # noqa: E731
    monkeypatch.setattr("gateway.clock.SystemClock.wall_s", lambda self: NOW_S + loop_s())
    monkeypatch.setattr("gateway.clock.SystemClock.now_ms", lambda self: round(loop_s() * 1000))

    async def main() -> None:
        gateway = make_gateway(folder, store=f"sqlite://{folder}/patchbay.db")
        async with asyncio.timeout(600), gateway.running():
            await fill(gateway, folder)
            await scenario(gateway)

    run(main())


@pytest.mark.parametrize("body", BODIES)
def test_the_retention_removes_expired_sessions_of_which_it_cannot_read_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: Any
) -> None:
    async def scenario(gateway: Gateway) -> None:
        insert(tmp_path, body=body, expires_s=NOW_S - 5)
        insert(tmp_path, body=body, session_id="s_kept", expires_s=NOW_S + 1e6)
        await gateway.store.put(session_document(replace(RECORD, session_id="s_old"), ttl_s=1), None)
        await later(10)
        with closing(sqlite3.connect(tmp_path / "patchbay.db")) as file:
            left = {name for (name,) in file.execute("SELECT session_id FROM documents WHERE tenant = 'default'")}
        assert left == {"sess_a", "s_kept"}

    monkeypatch.setattr("gateway.upkeep.PURGE_EVERY_S", 4.0)
    with_gateway(tmp_path, monkeypatch, scenario)


def test_names_that_are_no_text_stop_no_round_of_the_retention(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(gateway: Gateway) -> None:
        with closing(sqlite3.connect(tmp_path / "patchbay.db")) as file, file:
            for name in ("CAST(x'ff41' AS TEXT)", "x'ff'", "17", "''"):
                file.execute(
                    "INSERT INTO documents (tenant, session_id, id, type, body, expires_s)"
                    f" VALUES ('default', {name}, 'session', 'session', '{{}}', 1)"
                )
        await gateway.store.put(session_document(replace(RECORD, session_id="s_old"), ttl_s=1), None)
        await later(10)
        with pytest.raises(Missing):
            await gateway.store.get("default", "s_old", SESSION_ID)

    monkeypatch.setattr("gateway.upkeep.PURGE_EVERY_S", 4.0)
    with_gateway(tmp_path, monkeypatch, scenario)


@pytest.mark.parametrize("body", BODIES)
def test_dead_servers_are_found_beside_documents_of_servers_that_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: Any
) -> None:
    async def scenario(gateway: Gateway) -> None:
        insert(tmp_path, tenant=TENANT, session_id=PARTITION, id="odd", type=BOOT, body=body, written_s="long ago")
        insert(tmp_path, body=body, state="live", boot="dead")
        await Boots(gateway.store, "dead", HandClock(), process="2", host="there", version="1").beat()
        live = replace(RECORD, session_id="s1", state=SessionState.LIVE, owner=Owner("2", "dead"))
        live = replace(live, recording=RecordingInfo(RecordingState.OFF))
        await gateway.store.put(session_document(live, ttl_s=None), None)
        await later(3 * DEAD_S)
        found = await gateway.store.get("default", "s1", SESSION_ID)
        assert (found["state"], found["end_reason"]) == ("ended", "server_lost")
        with closing(sqlite3.connect(tmp_path / "patchbay.db")) as file:
            ((kept,),) = file.execute("SELECT body FROM documents WHERE session_id = 's_bad'")
        assert kept == body  # what cannot be read is not written over

    with_gateway(tmp_path, monkeypatch, scenario)


@pytest.mark.parametrize("body", BODIES)
def test_the_changes_go_on_past_rows_that_cannot_be_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, body: Any
) -> None:
    async def scenario(gateway: Gateway) -> None:
        insert(tmp_path, body=body)
        await gateway.store.put(session_document(replace(RECORD, session_id="s_new"), ttl_s=None), None)
        store = SqliteStore(f"{tmp_path}/patchbay.db", SystemTime(), inline=True)
        await store.open()
        skipped: list[str] = []
        sessions = EndedSessions(store, None, "default", skipped.append)
        found: list[str] = []
        more = True
        while more:
            session, more = await sessions.next()
            found += [] if session is None else [session.record.session_id]
        assert found == ["sess_a", "s_new"]
        logged = "".join(str(vars(record)) for record in caplog.records)
        # `{}` says nothing of an end, so nobody waits for it.
        assert "s_bad" in "".join(skipped) + logged or body in (b"{}", b'{"type": "session", "schema": 99}')
        await store.close()

    with_gateway(tmp_path, monkeypatch, scenario)


class SystemTime:
    """A clock of which the test needs nothing."""

    def now_ms(self) -> int:
        return 0

    def wall_s(self) -> float:
        return NOW_S
