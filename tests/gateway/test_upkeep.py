"""What goes on beside the calls: sessions past their time are forgotten, in every place."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from call_rig import later
from store_contract import session, turn
from virtual import run

from gateway.clock import LoopClock
from gateway.recording.blobs import BlobMissing, FolderBlobs
from gateway.recording.finisher import Finisher
from gateway.recording.recorder import Recorder
from gateway.recording.writer import SpoolWriter
from gateway.statekeeper import StateKeeper
from gateway.upkeep import PURGE_EVERY_S, Retention
from sessions.stores.contract import Missing
from sessions.stores.sqlite import SqliteStore

TTL_S = 60


class House:
    """Real parts in one folder, all of them inline."""

    def __init__(self, folder: Path) -> None:
        clock = LoopClock(asyncio.get_running_loop(), 1e9)
        self.folder = folder
        self.store = SqliteStore(":memory:", clock, inline=True)
        self.blobs = FolderBlobs(folder / "blobs", inline=True)
        self.keeper = StateKeeper(self.store, folder / "state", clock, inline=True)
        writer = SpoolWriter(inline=True)
        recorder = Recorder(folder / "boot", writer, Finisher(self.blobs, inline=True), self.keeper.save, clock)
        self.retention = Retention(self.store, self.blobs, self.keeper, recorder, clock)

    async def keeps(self, session_id: str, ttl_s: int | None) -> None:
        """Put a session, one turn and one blob in their places."""
        ttl = {} if ttl_s is None else {"ttl": ttl_s}
        await self.store.put(session(session_id, **ttl), None)
        await self.store.put(turn(session_id, 0, **ttl), None)
        path = self.folder / "events"
        path.write_bytes(b"{}")
        await self.blobs.put_file("default", session_id, "events.jsonl", path)

    async def has(self, session_id: str) -> list[bool]:
        """Whether documents and blobs of a session are there."""
        try:
            await self.store.get("default", session_id, "session")
            documents = True
        except Missing:
            documents = False
        try:
            await self.blobs.size("default", session_id, "events.jsonl")
        except BlobMissing:
            return [documents, False]
        return [documents, True]


def test_a_session_past_its_time_leaves_nothing_and_others_stay(tmp_path: Path) -> None:
    async def main() -> None:
        house = House(tmp_path)
        await house.store.open()
        await house.keeps("old", TTL_S)
        await house.keeps("kept", None)
        async with asyncio.TaskGroup() as tasks:
            retention = tasks.create_task(house.retention.run())
            await later(PURGE_EVERY_S / 2)
            assert await house.has("old") == [True, True]  # it was young at the first look
            await later(PURGE_EVERY_S)
            assert await house.has("old") == [False, False]
            assert await house.has("kept") == [True, True]
            retention.cancel()
        house.keeper.save(turn("old", 1))  # a straggler
        await house.keeper.flush("default", "old")
        assert await house.store.query("default", "old", "turn") == []
        await house.store.close()

    run(main())


def test_a_store_that_is_lost_is_looked_at_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        house = House(tmp_path)
        async with asyncio.TaskGroup() as tasks:
            retention = tasks.create_task(house.retention.run())
            await later(PURGE_EVERY_S / 2)
            await house.store.open()
            await house.keeps("old", TTL_S)
            await later(PURGE_EVERY_S)
            assert await house.has("old") == [False, False]
            retention.cancel()
        await house.store.close()

    run(main())
    assert caplog.messages == ["old sessions could not be removed"]
