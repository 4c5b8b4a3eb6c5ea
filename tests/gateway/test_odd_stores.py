"""Whatever a store or a store of files raises or answers costs one document, recording or session, and no long task."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from call_rig import later
from faulty_store import ODD_ANSWERS, ODD_FAULTS, OddStore, answering, raising
from store_contract import session, turn
from virtual import run

from audio.formats import PCMU_8K, AudioFrame
from gateway.boots import Boots
from gateway.clock import LoopClock
from gateway.recording.blobs import FolderBlobs
from gateway.recording.finisher import RETRY_S, Finisher
from gateway.recording.recorder import Recorder
from gateway.recording.writer import SpoolWriter
from gateway.statekeeper import StateKeeper
from gateway.staterecovery import recover
from gateway.statespool import StateSpool
from gateway.upkeep import PURGE_EVERY_S, Retention
from sessions.agent import ReplayPolicy
from sessions.documents import (
    Owner,
    RecordingInfo,
    RecordingState,
    SessionRecord,
    SessionState,
    session_document,
    session_from_document,
)
from sessions.record import CallSummary
from sessions.stores.contract import Document, Missing, SessionKey

ODD: list[Any] = [pytest.param(raising(fault), id=type(fault).__name__) for fault in ODD_FAULTS]
ODD += [pytest.param(answering(answer), id=repr(answer)) for answer in ODD_ANSWERS]
Oddity = Callable[[], Any]


class House:
    """Real parts in one folder, beside each other as in the application; the store and the blobs may be odd."""

    def __init__(self, folder: Path, store: OddStore, blobs: FolderBlobs, clock: LoopClock) -> None:
        self.folder = folder
        self.store = store
        self.boots = Boots(folder / "boots", "own")
        self.keeper = StateKeeper(store, self.boots.folder / "state", clock, inline=True)
        self.finisher = Finisher(blobs, inline=True)
        writer = SpoolWriter(inline=True)
        self.recorder = Recorder(self.boots.folder, writer, self.finisher, self.keeper.save, clock)
        self.retention = Retention(store, blobs, self.keeper, self.recorder, clock)
        self.clock = clock

    async def record(self, session_id: str) -> None:
        """One second of a call, from its begin to its end."""
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
async def house(
    folder: Path, operation: str = "", odd: Oddity | None = None, blobs: FolderBlobs | None = None
) -> AsyncIterator[House]:
    clock = LoopClock(asyncio.get_running_loop(), 1e9)
    store = OddStore(clock, operation, odd or answering(None))
    await store.open()
    made = House(folder, store, blobs or FolderBlobs(folder / "blobs", inline=True), clock)
    made.boots.hold()
    async with asyncio.TaskGroup() as tasks:
        parts = (made.keeper.run(), made.finisher.run(), made.recorder.run(), made.retention.run())
        beside = [tasks.create_task(part) for part in parts]
        await later(0)
        yield made
        assert not [task for task in beside if task.done()]
        made.finisher.close()
        await made.keeper.close()
        for task in beside:
            task.cancel()
    await store.close()
    made.boots.release()


def record_of(session_id: str, state: SessionState = SessionState.LIVE, boot: str = "crashed") -> SessionRecord:
    return SessionRecord(
        tenant="default",
        session_id=session_id,
        agent="harbour",
        agent_version="1",
        model="local/offline",
        protocol="realtime",
        state=state,
        started_at=1000.0,
        ended_at=1001.0 if state is SessionState.ENDED else None,
        summary=CallSummary(),
        latencies_ms=(),
        recording=RecordingInfo(RecordingState.RUNNING),
        owner=Owner("test", boot),
    )


def live(session_id: str, **more: Any) -> Document:
    return {**session_document(record_of(session_id, **more), ttl_s=None)}


async def state_of(store: OddStore, session_id: str) -> object:
    try:
        return (await store.get("default", session_id, "session"))["state"]
    except Missing:
        return None


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("operation", ["put_many", "put", "get"])
def test_a_document_that_the_store_takes_oddly_costs_no_other_and_is_there_once_the_store_is_well(
    tmp_path: Path, operation: str, odd: Oddity
) -> None:
    async def main() -> None:
        async with house(tmp_path, operation, odd) as made:
            for number in range(3):
                made.keeper.save(turn("odd", number))
                made.keeper.save(turn("fine", number))
                await later(1)
            await later(4)
            assert len(await made.store.query("default", "fine", "turn")) == 3
            made.store.well = True
            made.keeper.save(turn("odd", 3))
            made.keeper.save(turn("fine", 3))
            await later(4)
            assert made.keeper.healthy
            assert len(await made.store.query("default", "fine", "turn")) == 4
            assert "turn_00003" in [found["id"] for found in await made.store.query("default", "odd", "turn")]

    run(main())


@pytest.mark.parametrize("document", [None, [], 7, b"", "words", {}, {"id": 3}, {"tenant": "a", "session_id": []}])
def test_what_is_saved_and_is_no_document_costs_itself(tmp_path: Path, document: Any) -> None:
    async def main() -> None:
        async with house(tmp_path) as made:
            made.keeper.save(document)
            made.keeper.save(turn("fine", 0))
            await later(1)
            assert len(await made.store.query("default", "fine", "turn")) == 1
            assert made.keeper.counts.lost == 1
            assert made.keeper.healthy

    run(main())


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("operation", ["expired", "delete_session"])
def test_old_sessions_are_forgotten_though_the_store_is_odd_about_one(
    tmp_path: Path, operation: str, odd: Oddity
) -> None:
    async def main() -> None:
        async with house(tmp_path, operation, odd) as made:
            for session_id in ("odd", "fine"):
                await made.store.put(session(session_id, ttl=60), None)
            made.store.well = operation == "expired"
            await later(PURGE_EVERY_S)
            made.store.well = False
            await later(PURGE_EVERY_S)
            made.store.well = True
            await later(PURGE_EVERY_S)
            assert await state_of(made.store, "fine") is None

    run(main())


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("operation", ["left_live", "query", "get", "put"])
def test_a_start_goes_on_though_the_store_is_odd_about_a_lost_session(
    tmp_path: Path, operation: str, odd: Oddity
) -> None:
    async def main() -> None:
        async with house(tmp_path, operation, odd) as made:
            made.store.well = True
            for session_id in ("odd", "fine"):
                await made.store.put(live(session_id), None)
                (tmp_path / "boots" / "crashed" / "calls" / "default" / session_id).mkdir(parents=True)
            dead = tmp_path / "boots" / "crashed"
            StateSpool(dead / "state", 10_000).append([turn("odd", 0), turn("fine", 0)])
            made.store.well = False
            lost = await recover(made.store, made.boots, [dead / "state"], made.keeper.save)
            await made.recorder.adopt(made.store, [dead])
            await made.recorder.give_up(made.store, lost)
            await later(5)
            assert [found["id"] for found in await made.store.query("default", "fine", "turn")] == ["turn_00000"]
            if operation != "left_live":
                assert await state_of(made.store, "fine") == "ended"
            made.store.well = True
            await later(5)

    run(main())


class OddBlobs(FolderBlobs):
    """Does as no store of files should with those of one session."""

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
def test_a_recording_that_the_store_of_files_takes_oddly_costs_no_other(tmp_path: Path, odd: Oddity) -> None:
    async def main() -> None:
        blobs = OddBlobs(tmp_path / "blobs", odd)
        async with house(tmp_path, blobs=blobs) as made:
            for session_id in ("odd", "fine"):
                await made.record(session_id)
            await later(RETRY_S * 3)
            fine = session_from_document(await made.store.get("default", "fine", "session")).recording
            assert (fine.state, fine.complete) == (RecordingState.READY, True)
            blobs.well = True
            await later(RETRY_S * 3)
            assert made.finisher.waiting == 0
            try:
                found = await made.store.get("default", "odd", "session")
            except Missing:
                raise AssertionError("its session is not told how the recording came out") from None
            assert session_from_document(found).recording.state in (RecordingState.READY, RecordingState.FAILED)

    run(main())


@pytest.mark.parametrize("odd", ODD)
def test_an_old_session_whose_files_are_deleted_oddly_costs_no_other(tmp_path: Path, odd: Oddity) -> None:
    async def main() -> None:
        async with house(tmp_path, blobs=OddBlobs(tmp_path / "blobs", odd)) as made:
            for session_id in ("odd", "fine"):
                await made.store.put(session(session_id, ttl=60), None)
            await later(PURGE_EVERY_S + 1)
            assert await state_of(made.store, "fine") is None

    run(main())


@pytest.mark.parametrize("fault", ODD_FAULTS, ids=lambda fault: type(fault).__name__)
def test_a_recording_whose_end_breaks_costs_no_other(tmp_path: Path, fault: BaseException) -> None:
    class BreakingWriter(SpoolWriter):
        async def settled(self, sink: Any = None) -> None:
            if sink is not None and sink.folder.name == "odd":
                raise fault

    async def main() -> None:
        async with house(tmp_path) as made:
            made.recorder = Recorder(
                made.boots.folder, BreakingWriter(inline=True), made.finisher, made.keeper.save, made.clock
            )
            async with asyncio.TaskGroup() as tasks:
                serving = tasks.create_task(made.recorder.run())
                await later(0)
                await made.record("odd")
                await made.record("fine")
                await later(1)
                assert not serving.done()
                serving.cancel()
            states = [(await made.store.get("default", name, "session"))["recording"] for name in ("odd", "fine")]
            assert [state["state"] for state in states] == ["failed", "ready"]  # type: ignore[index,call-overload]

    run(main())
