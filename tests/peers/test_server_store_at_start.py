"""A server whose store cannot be opened at the start: it stops and says so, or takes calls and spools their records."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from peers.server_callers import calling, run, soon
from peers.server_files import write_server_files
from peers.server_process import Server, environment, serving

pytestmark = pytest.mark.sockets

CALLS = 3


def blocked_store(folder: Path) -> tuple[Path, str]:
    """A file in the place of the store's folder, and the store's setting."""
    blocked = folder / "store"
    blocked.touch()
    return blocked, f"sqlite://{blocked}/patchbay.db"


def readiness(server: Server) -> dict[str, Any]:
    """What /readyz says; calls are taken all the time."""
    status, ready = server.ask("/readyz")
    assert (status, ready["status"]) == (200, "ready")
    return dict(ready)


async def call(server: Server) -> str:
    """A call of two turns; returns its session id."""
    async with calling(server) as caller:
        for number in range(2):
            await caller.turn(f"ping {number}")
        return caller.session_id


def texts(server: Server, session_id: str) -> list[str]:
    """What the caller typed, as the record has it."""
    return [
        entry["text"]
        for turn in server.turns(session_id)
        for entry in turn["entries"]
        if entry["kind"] == "said" and entry["speaker"] == "caller"
    ]


def test_calls_are_taken_without_the_store_and_are_in_it_once_it_opens(tmp_path: Path) -> None:
    blocked, store = blocked_store(tmp_path)

    async def main(server: Server) -> None:
        sessions = [await call(server) for _ in range(CALLS)]
        async with calling(server) as talking:
            await talking.turn("ping 0")
            await soon(lambda: readiness(server)["spooled_documents"] >= 3 * CALLS + 2, "the records are not spooled")
            assert readiness(server)["store"] == "lost"
            assert (server.figure("store_healthy"), server.figure("documents_lost_total")) == (0, 0)
            assert server.ask(f"/api/v1/sessions/{sessions[0]}")[0] == 503
            assert server.ask("/api/v1/sessions")[1]["error"]["code"] == "store_unavailable"
            blocked.unlink()
            blocked.mkdir()
            await soon(lambda: readiness(server)["store"] == "ok", "the store is not opened", 40)
            await talking.turn("ping 1")
        for session_id in (*sessions, talking.session_id):
            await asyncio.to_thread(server.ended, session_id)
            assert texts(server, session_id) == ["ping 0", "ping 1"]
        assert readiness(server)["spooled_documents"] == 0
        assert server.figure("documents_lost_total") == 0

    with serving(tmp_path, PATCHBAY_STORE=store, PATCHBAY_STORE_AT_START="spool") as server:
        run(lambda: main(server))
    assert server.log().count("the store is lost") == server.log().count("the store is back") == 1


def test_records_of_a_server_that_is_killed_before_its_store_was_open_come_with_the_next_start(tmp_path: Path) -> None:
    blocked, store = blocked_store(tmp_path)
    sessions: list[str] = []

    async def main(server: Server) -> None:
        sessions.append(await call(server))
        await soon(lambda: readiness(server)["spooled_documents"] == 3, "the record is not spooled")
        server.signal(signal.SIGKILL)

    with serving(tmp_path, PATCHBAY_STORE=store, PATCHBAY_STORE_AT_START="spool") as server:
        run(lambda: main(server))
        server.wait()
    blocked.unlink()
    blocked.mkdir()
    with serving(tmp_path, PATCHBAY_STORE=store) as server:
        assert server.ended(sessions[0])["end_reason"] in ("caller_hung_up", "server_lost")
        assert texts(server, sessions[0]) == ["ping 0", "ping 1"]
        assert list((tmp_path / "data" / "boots").glob("*/state/*.jsonl")) == []


def test_a_server_that_requires_its_store_stops_and_names_the_setting(tmp_path: Path) -> None:
    write_server_files(tmp_path)
    blocked, store = blocked_store(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "gateway.cli", "serve"],
        cwd=tmp_path,
        env=environment(tmp_path, {"PATCHBAY_STORE": store}),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"patchbay: PATCHBAY_STORE: {blocked}/patchbay.db cannot be opened")
