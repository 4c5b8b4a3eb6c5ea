"""A store or blob store may raise or return anything: that affects one document, recording or session, and no task."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from support.calls.call_rig import later
from support.stores.faulty_store import ODD_ANSWERS, ODD_FAULTS, OddStore, answering, raising
from support.stores.records import kept, session_record
from support.stores.store_contract import session, turn
from support.virtual import run

from audio.formats import PCMU_8K, AudioFrame
from gateway.blobs.folder import FolderBlobs
from gateway.clock import LoopClock
from gateway.recording.finisher import Finisher
from gateway.recording.jobs import LONGEST_RETRY_S, RETRY_S
from gateway.recording.recorder import Recorder
from gateway.recording.writer import SpoolWriter
from gateway.state.boots import Boots
from gateway.state.instances import Instances
from gateway.state.recovery import Recovery
from gateway.state.spool import StateSpool
from gateway.state.taking import Takeover
from gateway.state.write_behind import WriteBehind
from gateway.upkeep import PURGE_EVERY_S, Retention
from sessions.agent import ReplayPolicy
from sessions.stores.contract import Document, Missing, SessionKey
from sessions.stores.documents import (
    Owner,
    RecordingInfo,
    RecordingState,
    SessionRecord,
    SessionState,
    session_document,
    session_from_document,
)

ODD: list[Any] = [pytest.param(raising(fault), id=type(fault).__name__) for fault in ODD_FAULTS]
ODD += [pytest.param(answering(answer), id=repr(answer)) for answer in ODD_ANSWERS]
Oddity = Callable[[], Any]


class Rig:
    """The real parts of the application in one folder; the store or the blob store may break its contract."""

    def __init__(self, folder: Path, store: OddStore, blobs: FolderBlobs, clock: LoopClock) -> None:
        self.folder = folder
        self.store = store
        self.instances = Instances(folder / "instances", "own")
        self.write_behind = WriteBehind(store, self.instances.folder / "state", clock, inline=True)
        self.finisher = Finisher(blobs, inline=True)
        writer = SpoolWriter(inline=True)
        self.recorder = Recorder(self.instances.folder, writer, self.finisher, self.write_behind.save, clock)
        self.retention = Retention(store, blobs, self.write_behind, self.recorder, clock)
        self.clock = clock
        boots = Boots(store, "own", clock, process="1", host="here", version="1")
        self.takeover = Takeover(store, Owner("test", "own"), self.write_behind.hold)
        self.recovery = Recovery(store, self.instances, boots, self.takeover, self.recorder.has_spool, inline=True)

    async def record(self, session_id: str) -> None:
        """Record a call of one second, and end it."""
        key = SessionKey("default", session_id)
        running = self.recorder.begin(
            key,
            recording=True,
            replay=ReplayPolicy.OFF,
            agent="harbour",
            version="1",
            formats={},
            started_ms=self.clock.now_ms(),
        )
        assert running is not None
        assert running.spool is not None
        for number in range(50):
            running.spool.caller(AudioFrame(b"\x10" * 160, PCMU_8K, number * 160), self.clock.now_ms() + number * 20)
        await self.recorder.end(running, record_of(session_id, SessionState.ENDED), (), ttl_s=None)


@asynccontextmanager
async def running_rig(
    folder: Path, operation: str = "", odd: Oddity | None = None, blobs: FolderBlobs | None = None
) -> AsyncIterator[Rig]:
    clock = LoopClock(asyncio.get_running_loop(), 1e9)
    store = OddStore(clock, operation, odd or answering(None))
    await store.open()
    blobs = blobs or FolderBlobs(folder / "blobs", inline=True)
    await blobs.open()
    rig = Rig(folder, store, blobs, clock)
    rig.instances.hold()
    async with asyncio.TaskGroup() as tasks:
        parts = (rig.write_behind.run(), rig.finisher.run(), rig.recorder.run(), rig.retention.run())
        beside = [tasks.create_task(part) for part in parts]
        await later(0)
        yield rig
        assert not [task for task in beside if task.done()]
        rig.finisher.close()
        await rig.write_behind.close()
        for task in beside:
            task.cancel()
    await store.close()
    rig.instances.release()


def record_of(session_id: str, state: SessionState = SessionState.LIVE) -> SessionRecord:
    ended_at = 1001.0 if state is SessionState.ENDED else None
    recording = RecordingInfo(RecordingState.RUNNING)
    return session_record(session_id, boot="crashed", state=state, ended_at=ended_at, recording=recording)


def live(session_id: str) -> Document:
    return {**session_document(record_of(session_id), ttl_s=None)}


async def state_of(store: OddStore, session_id: str) -> object:
    try:
        return (await store.get("default", session_id, "session"))["state"]
    except Missing:
        return None


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("operation", ["put_many", "put", "get"])
def test_a_store_that_breaks_its_contract_for_one_session_stores_the_others_and_that_one_once_it_works_again(
    tmp_path: Path, operation: str, odd: Oddity
) -> None:
    async def main() -> None:
        async with running_rig(tmp_path, operation, odd) as rig:
            for number in range(3):
                rig.write_behind.save(turn("odd", number))
                rig.write_behind.save(turn("fine", number))
                await later(1)
            await later(4)
            assert len(await rig.store.query("default", "fine", "turn")) == 3
            rig.store.well = True
            rig.write_behind.save(turn("odd", 3))
            rig.write_behind.save(turn("fine", 3))
            await later(4)
            assert rig.write_behind.report.healthy
            assert len(await rig.store.query("default", "fine", "turn")) == 4
            assert "turn_00003" in [found["id"] for found in await rig.store.query("default", "odd", "turn")]

    run(main())


@pytest.mark.parametrize("document", [None, [], 7, b"", "words", {}, {"id": 3}, {"tenant": "a", "session_id": []}])
def test_a_value_that_is_no_document_is_lost_alone(tmp_path: Path, document: Any) -> None:
    async def main() -> None:
        async with running_rig(tmp_path) as rig:
            rig.write_behind.save(document)
            rig.write_behind.save(turn("fine", 0))
            await later(1)
            assert len(await rig.store.query("default", "fine", "turn")) == 1
            assert rig.write_behind.counts.lost == 1
            assert rig.write_behind.report.healthy

    run(main())


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("operation", ["expired", "delete_session"])
def test_old_sessions_are_forgotten_though_the_store_breaks_its_contract_for_one(
    tmp_path: Path, operation: str, odd: Oddity
) -> None:
    async def main() -> None:
        async with running_rig(tmp_path, operation, odd) as rig:
            for session_id in ("odd", "fine"):
                await rig.store.put(session(session_id, ttl=60), None)
            rig.store.well = operation == "expired"
            await later(PURGE_EVERY_S)
            rig.store.well = False
            await later(PURGE_EVERY_S)
            rig.store.well = True
            await later(PURGE_EVERY_S)
            assert await state_of(rig.store, "fine") is None

    run(main())


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("operation", ["left_live", "query", "get", "put"])
def test_a_start_goes_on_though_the_store_breaks_its_contract_for_a_lost_session(
    tmp_path: Path, operation: str, odd: Oddity
) -> None:
    async def main() -> None:
        async with running_rig(tmp_path, operation, odd) as rig:
            rig.store.well = True
            for session_id in ("odd", "fine"):
                await rig.store.put(live(session_id), None)
                (tmp_path / "instances" / "crashed" / "calls" / "default" / session_id).mkdir(parents=True)
            dead = tmp_path / "instances" / "crashed"
            StateSpool(dead / "state", 10_000).append(kept(turn("odd", 0), turn("fine", 0)))
            rig.store.well = False
            await rig.recovery.at_start([dead])
            await rig.recorder.adopt(rig.store, [dead], rig.takeover.take_ended)
            await later(5)
            assert [found["id"] for found in await rig.store.query("default", "fine", "turn")] == ["turn_00000"]
            if operation != "left_live":
                assert await state_of(rig.store, "fine") == "ended"
            rig.store.well = True
            await later(5)

    run(main())


class OddBlobs(FolderBlobs):
    """A blob store that breaks its contract for the files of one session."""

    def __init__(self, root: Path, odd: Oddity) -> None:
        super().__init__(root, inline=True)
        self._odd = odd
        self.well = False

    async def put_file(self, tenant: str, session_id: str, name: str, path: Path) -> int:
        if session_id == "odd" and not self.well:
            return self._odd()  # type: ignore[no-any-return]
        return await super().put_file(tenant, session_id, name, path)

    async def delete_session(self, tenant: str, session_id: str) -> None:
        if session_id == "odd" and not self.well:
            self._odd()
        else:
            await super().delete_session(tenant, session_id)


@pytest.mark.parametrize("odd", ODD)
def test_a_blob_store_that_breaks_its_contract_for_one_recording_affects_no_other(tmp_path: Path, odd: Oddity) -> None:
    async def main() -> None:
        blobs = OddBlobs(tmp_path / "blobs", odd)
        async with running_rig(tmp_path, blobs=blobs) as rig:
            for session_id in ("odd", "fine"):
                await rig.record(session_id)
            await later(RETRY_S * 3)
            fine = session_from_document(await rig.store.get("default", "fine", "session")).recording
            assert (fine.state, fine.complete) == (RecordingState.READY, True)
            blobs.well = True
            await later(LONGEST_RETRY_S)
            assert rig.finisher.waiting == 0
            try:
                found = await rig.store.get("default", "odd", "session")
            except Missing:
                raise AssertionError("the result of the recording is not in its session") from None
            assert session_from_document(found).recording.state in (RecordingState.READY, RecordingState.FAILED)

    run(main())


@pytest.mark.parametrize("odd", ODD)
def test_a_blob_store_that_breaks_its_contract_on_deletion_affects_no_other_session(
    tmp_path: Path, odd: Oddity
) -> None:
    async def main() -> None:
        async with running_rig(tmp_path, blobs=OddBlobs(tmp_path / "blobs", odd)) as rig:
            for session_id in ("odd", "fine"):
                await rig.store.put(session(session_id, ttl=60), None)
            await later(PURGE_EVERY_S + 1)
            assert await state_of(rig.store, "fine") is None

    run(main())


@pytest.mark.parametrize("fault", ODD_FAULTS, ids=lambda fault: type(fault).__name__)
def test_a_recording_whose_end_raises_affects_no_other(tmp_path: Path, fault: BaseException) -> None:
    class BreakingWriter(SpoolWriter):
        async def settled(self, sink: Any = None) -> None:
            if sink is not None and sink.folder.name == "odd":
                raise fault

    async def main() -> None:
        async with running_rig(tmp_path) as rig:
            rig.recorder = Recorder(
                rig.instances.folder, BreakingWriter(inline=True), rig.finisher, rig.write_behind.save, rig.clock
            )
            async with asyncio.TaskGroup() as tasks:
                serving = tasks.create_task(rig.recorder.run())
                await later(0)
                await rig.record("odd")
                await rig.record("fine")
                await later(1)
                assert not serving.done()
                serving.cancel()
            states = [(await rig.store.get("default", name, "session"))["recording"] for name in ("odd", "fine")]
            assert [state["state"] for state in states] == ["failed", "ready"]  # type: ignore[index,call-overload]

    run(main())
