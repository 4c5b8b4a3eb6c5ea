"""Tests for the background jobs: expired sessions are removed from every place."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from support.calls.call_rig import later
from support.stores.faulty_store import FaultyStore
from support.stores.records import session_record
from support.stores.store_contract import session, turn
from support.virtual import run

from gateway.blobs.contract import BlobMissing
from gateway.blobs.folder import FolderBlobs
from gateway.clock import LoopClock
from gateway.recording.finisher import Finisher
from gateway.recording.recorder import Recorder
from gateway.recording.writer import SpoolWriter
from gateway.state.boots import BEAT_EVERY_S, Boots
from gateway.state.instances import Instances
from gateway.state.recovery import Recovery
from gateway.state.taking import Takeover
from gateway.state.write_behind import WriteBehind
from gateway.upkeep import NO_BEAT, PURGE_EVERY_S, Retention, join, keep_beating, leave, look_for_dead
from sessions.stores.contract import Missing
from sessions.stores.documents import Owner, session_document
from sessions.stores.sqlite import SqliteStore

TTL_S = 60


class Parts:
    """Real parts in one folder; all work runs inline, without threads."""

    def __init__(self, folder: Path) -> None:
        clock = LoopClock(asyncio.get_running_loop(), 1e9)
        self.folder = folder
        self.store = SqliteStore(":memory:", clock, inline=True)
        self.blobs = FolderBlobs(folder / "blobs", inline=True)
        self.write_behind = WriteBehind(self.store, folder / "state", clock, inline=True)
        writer = SpoolWriter(inline=True)
        recorder = Recorder(folder / "boot", writer, Finisher(self.blobs, inline=True), self.write_behind.save, clock)
        self.retention = Retention(self.store, self.blobs, self.write_behind, recorder, clock)

    async def keeps(self, session_id: str, ttl_s: int | None) -> None:
        """Store a session, one turn and one blob."""
        ttl = {} if ttl_s is None else {"ttl": ttl_s}
        await self.store.put(session(session_id, **ttl), None)
        await self.store.put(turn(session_id, 0, **ttl), None)
        path = self.folder / "events"
        path.write_bytes(b"{}")
        await self.blobs.put_file("default", session_id, "events.jsonl", path)

    async def has(self, session_id: str) -> list[bool]:
        """Whether there are documents and blobs of a session."""
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


def test_an_expired_session_is_removed_completely_and_others_stay(tmp_path: Path) -> None:
    async def main() -> None:
        parts = Parts(tmp_path)
        await parts.store.open()
        await parts.keeps("old", TTL_S)
        await parts.keeps("kept", None)
        async with asyncio.TaskGroup() as tasks:
            retention = tasks.create_task(parts.retention.run())
            await later(PURGE_EVERY_S / 2)
            assert await parts.has("old") == [True, True]  # it had not expired at the first check
            await later(PURGE_EVERY_S)
            assert await parts.has("old") == [False, False]
            assert await parts.has("kept") == [True, True]
            retention.cancel()
        parts.write_behind.save(turn("old", 1))  # written after the session was removed
        await parts.write_behind.flush("default", "old")
        assert await parts.store.query("default", "old", "turn") == []
        await parts.store.close()

    run(main())


def test_a_store_that_was_lost_is_tried_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        parts = Parts(tmp_path)
        async with asyncio.TaskGroup() as tasks:
            retention = tasks.create_task(parts.retention.run())
            await later(PURGE_EVERY_S / 2)
            await parts.store.open()
            await parts.keeps("old", TTL_S)
            await later(PURGE_EVERY_S)
            assert await parts.has("old") == [False, False]
            retention.cancel()
        await parts.store.close()

    run(main())
    assert caplog.messages == ["old sessions could not be removed"]


def test_a_sign_of_life_that_the_store_refuses_is_logged_once_until_it_works_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        clock = LoopClock(asyncio.get_running_loop(), 1e9)
        store = FaultyStore(clock)
        await store.open()
        boots = Boots(store, "own", clock, process="1", host="here", version="1")
        await join(boots)
        async with asyncio.TaskGroup() as tasks:
            beats = tasks.create_task(keep_beating(boots))
            for broken, hanging in ((True, False), (False, False), (False, True), (False, False)):
                store.broken, store.hanging = broken, hanging
                await later(5 * BEAT_EVERY_S)
            beats.cancel()
        assert await boots.beating() == {"own": True}
        await leave(boots)
        assert await boots.beating() == {}
        await store.close()
        await leave(boots)

    run(main())
    assert caplog.messages.count(NO_BEAT) == 2


def test_the_sessions_of_a_dead_instance_are_looked_for_again_and_again(tmp_path: Path) -> None:
    async def main() -> None:
        clock = LoopClock(asyncio.get_running_loop(), 1e9)
        store = FaultyStore(clock)
        await store.open()
        own = Instances(tmp_path / "own", "own")
        own.hold()
        boots = Boots(store, "own", clock, process="1", host="here", version="1")
        takeover = Takeover(store, Owner("1", "own"), lambda session: None)
        recovery = Recovery(store, own, boots, takeover, lambda folder, key: False, inline=True)
        await join(boots)
        async with asyncio.TaskGroup() as tasks:
            jobs = [tasks.create_task(keep_beating(boots)), tasks.create_task(look_for_dead(recovery))]
            for boot in ("first", "second"):
                await Boots(store, boot, clock, process="2", host="there", version="1").beat()
                await store.put(session_document(session_record(boot, boot=boot), ttl_s=None), None)
                await later(40)
                assert (await store.get("default", boot, "session"))["state"] == "ended"
                assert await boots.beating() == {"own": True}
            for job in jobs:
                job.cancel()
        own.release()
        await store.close()

    run(main())
