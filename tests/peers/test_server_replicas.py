"""Servers with a data folder each, as on several machines, on one store: a SQLite file, and Cosmos DB."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest
from peers.server_callers import calling, run, soon
from peers.server_process import Server, serving, start, stop
from peers.server_stores import STORES, shared_store

pytestmark = [pytest.mark.sockets]

ENDED_WITHIN_S = 40.0


@pytest.mark.parametrize("kind", STORES)
def test_a_server_leaves_the_calls_of_another_alone_and_ends_them_once_that_was_killed(
    tmp_path: Path, kind: str
) -> None:
    async def talk(first: Server, second: Server, store: dict[str, str]) -> str:
        async with calling(first) as caller:
            await caller.turn("one")
            await asyncio.sleep(0.5)
            assert second.session(caller.session_id)["state"] == "live"
            with serving(tmp_path / "c", **store) as third:  # the start that used to end it
                assert third.session(caller.session_id)["state"] == "live"
            for frame in range(175):  # three and a half seconds, so that a block of the recording is on the disk
                await caller.sound()
                await asyncio.sleep(0.02)
                if frame == 100:
                    await caller.turn("two")
            await asyncio.sleep(0.5)
            assert second.session(caller.session_id)["state"] == "live"
            first.signal(signal.SIGKILL)
            first.wait()
            return caller.session_id

    for name in "abc":
        (tmp_path / name).mkdir()
    with (
        shared_store(kind, tmp_path) as store,
        serving(tmp_path / "a", **store) as first,
        serving(tmp_path / "b", **store) as second,
    ):
        session_id = run(lambda: talk(first, second, store))
        ended = second.ended(session_id, within_s=ENDED_WITHIN_S)
        assert (ended["end_reason"], ended["summary"]["turns"]) == ("server_lost", 2)
        assert ended["recording"]["state"] == "failed"  # its sound is on the disk of the first
        assert [turn["entries"][0]["text"] for turn in second.turns(session_id)] == ["one", "two"]
        assert second.figure("sessions_fenced_total") == 0
        again = start(tmp_path / "a", **store)
        try:
            run(lambda: soon(lambda: again.session(session_id)["recording"]["state"] == "ready", "not finished", 15))
            assert again.session(session_id)["end_reason"] == "server_lost"
        finally:
            stop(again)


def test_a_server_finishes_the_recordings_of_one_that_is_killed_beside_it(tmp_path: Path) -> None:
    """Both use one data folder, so that the survivor has the dead one's files."""
    data = str(tmp_path / "a" / "data")

    async def talk(first: Server) -> str:
        async with calling(first) as caller:
            await caller.turn("one")
            for _ in range(175):  # three and a half seconds, so that a block of the recording is on the disk
                await caller.sound()
                await asyncio.sleep(0.02)
            first.signal(signal.SIGKILL)
            first.wait()
            return caller.session_id

    (tmp_path / "a").mkdir()
    with (
        serving(tmp_path / "a", PATCHBAY_DATA_DIR=data) as first,
        serving(tmp_path / "a", PATCHBAY_DATA_DIR=data) as second,
    ):
        session_id = run(lambda: talk(first))
        assert second.ended(session_id, within_s=ENDED_WITHIN_S)["end_reason"] == "server_lost"
        run(lambda: soon(lambda: second.session(session_id)["recording"]["state"] == "ready", "not finished", 15))
        assert second.session(session_id)["recording"]["complete"] is False
        assert second.session(session_id)["recording"]["duration_ms"] > 1_000
