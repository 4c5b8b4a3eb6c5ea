"""Many calls, and a store that is gone, hangs, or is busy for a minute: it has the same documents in the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from support.calls.call_rig import later
from support.stores.faulty_store import FaultyStore
from support.stores.store_contract import session, turn
from support.virtual import run

from gateway.clock import LoopClock
from gateway.state import replay
from gateway.state import write_behind as rounds
from gateway.state.outage import RETRY_MS
from gateway.state.replay import BATCH_DOCUMENTS
from gateway.state.report import StoreState
from gateway.state.spool import NAME
from gateway.state.write_behind import GATHER_S, WriteBehind
from gateway.telemetry import names
from sessions.stores.contract import Conflict, Document, SessionKey, StoreBusy, StoreFailed, Write

CALLS = 30
FAULT_S = 60
TOOK_S = 0.02  # how long the store takes for a write


class Weak(FaultyStore):
    """Fails in the way `fault` names; `fails_after` lets so many writes pass first."""

    def __init__(self, clock: LoopClock) -> None:
        super().__init__(clock)
        self.fault = ""
        self.fails_after = 0
        self.asked = 0
        self.at_once = self.most_at_once = 0
        self.writes: list[tuple[str, ...]] = []  # the ids of the documents in each write that was stored

    async def put_many(self, writes: Sequence[Write]) -> list[str]:
        self.asked += 1
        self.fails_after -= 1
        fault = self.fault if self.fails_after < 0 else ""
        if fault == "gone":
            raise StoreFailed("nobody listens")
        if fault == "hung":
            await asyncio.Event().wait()
        if fault == "busy" and self.asked % 2:
            raise StoreBusy("too many requests", retry_after_ms=200)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await later(TOOK_S)
        self.at_once -= 1
        etags = await super().put_many(writes)
        self.writes.append(tuple(f"{write.document['session_id']}/{write.document['id']}" for write in writes))
        if fault == "lost answers" and self.asked % 2:
            raise Conflict("the document has changed")
        if fault == "cut off":
            raise StoreFailed("the connection was lost before the answer")
        return etags

    async def get(self, tenant: str, session_id: str, document_id: str) -> Document:
        if self.fault == "gone":
            raise StoreFailed("nobody listens")
        return await super().get(tenant, session_id, document_id)


@asynccontextmanager
async def running(folder: Path, **options: Any) -> AsyncIterator[tuple[WriteBehind, Weak]]:
    clock = LoopClock(asyncio.get_running_loop(), 1e9)
    store = Weak(clock)
    await store.open()
    write_behind = WriteBehind(store, folder, clock, inline=True, boot="own", **options)
    async with asyncio.timeout(3000), asyncio.TaskGroup() as tasks:
        tasks.create_task(write_behind.run())
        yield write_behind, store
        await write_behind.close()
    await store.close()


def own(session_id: str, **more: Any) -> Document:
    return session(session_id, **{"state": "live", "owner": {"boot": "own", "fence": 1}, **more})


async def contents(store: FaultyStore) -> dict[tuple[str, str], Document]:
    """All documents, without what the store adds."""
    found: list[Document] = []
    page = await store.sessions("default", limit=1000, after=None)
    for one in page.items:
        found += [one, *await store.query("default", str(one["session_id"]), "turn")]
    return {
        (str(one["session_id"]), str(one["id"])): {
            name: value for name, value in one.items() if name not in ("etag", "written_s")
        }
        for one in found
    }


async def call(write_behind: WriteBehind, number: int) -> None:
    """A call of a minute and a half that begins somewhere in the first half of a minute, with a turn every 5 s."""
    name = f"s{number:03}"
    await later(number * 30 / CALLS)
    write_behind.save(own(name, n=0))
    for index in range(18):
        await later(4)
        write_behind.save(turn(name, index, n=1))
        write_behind.save(own(name, n=index))
        await later(1)
        write_behind.save(turn(name, index, n=2))  # a late transcript
    write_behind.save(own(name, n=99, state="ended"))


async def talk(folder: Path, fault: str) -> tuple[dict[tuple[str, str], Document], WriteBehind]:
    async with running(folder) as (write_behind, store):
        async with asyncio.TaskGroup() as calls:
            for number in range(CALLS):
                calls.create_task(call(write_behind, number))
            await later(33.3)
            store.fault = fault
            await later(FAULT_S)
            store.fault = ""
        await later(10)
        assert (write_behind.report.state, write_behind.report.beside) == (StoreState.OK, 0)
        return await contents(store), write_behind


@pytest.mark.parametrize("fault", ["gone", "hung", "busy", "lost answers", "cut off"])
def test_a_minute_of_trouble_leaves_the_same_documents(tmp_path: Path, fault: str) -> None:
    expected, _ = run(talk(tmp_path / "well", ""))
    assert len(expected) == CALLS * 19
    found, write_behind = run(talk(tmp_path / "ill", fault))
    assert found == expected
    counts = write_behind.counts
    assert (counts.lost, counts.fenced, counts.dropped) == (0, 0, 0)
    assert (counts.spooled > 0) == (fault in ("gone", "hung", "cut off"))
    assert not (tmp_path / "ill" / NAME).exists()


async def fill_spool(write_behind: WriteBehind, store: Weak, sessions: int, turns: int = 9) -> None:
    """Lose the store, and spool the documents of ended calls."""
    store.fault = "gone"
    for number in range(sessions):
        name = f"s{number:03}"
        write_behind.save(own(name, state="ended"))
        for index in range(turns):
            write_behind.save(turn(name, index))
        await write_behind.flush("default", name)
    assert not write_behind.report.healthy


def test_a_store_that_comes_back_and_goes_again_gets_every_document_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with running(tmp_path) as (write_behind, store):
            await fill_spool(write_behind, store, 100)
            for _ in range(3):
                store.fails_after = 25
                await later(RETRY_MS / 1000 + 5 * (GATHER_S + TOOK_S))
                assert write_behind.report.state is StoreState.LOST
            assert write_behind.report.beside == 1000 - 10 * len(store.writes)
            store.fault = ""
            await later(RETRY_MS / 1000 + 2)
            assert (write_behind.report.state, write_behind.counts.lost) == (StoreState.OK, 0)
            assert len(await contents(store)) == 1000
            written = [name for write in store.writes for name in write]
            assert len(written) == len(set(written))

    run(main())
    assert [record.message for record in caplog.records] == ["the store is lost; state is spooled", "the store is back"]


@pytest.mark.parametrize("lost", [False, True], ids=["what waits in memory", "what was spooled"])
def test_a_few_sessions_are_written_at_once(tmp_path: Path, lost: bool) -> None:
    """A request takes about a millisecond of the loop, and the sound of calls has to come between them."""

    async def main() -> None:
        async with running(tmp_path) as (write_behind, store):
            store.fault = "gone" if lost else ""
            for number in range(40):
                write_behind.save(own(f"s{number:03}"))
            await later(1)
            store.fault = ""
            await later(RETRY_MS / 1000 + 2)
            assert len(await contents(store)) == 40
            assert 1 < store.most_at_once <= (replay.SESSIONS_AT_ONCE if lost else rounds.SESSIONS_AT_ONCE)

    run(main())


def test_once_the_store_is_lost_the_sessions_that_have_not_begun_are_not_tried(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as (write_behind, store):
            store.fault = "gone"
            for number in range(40):
                write_behind.save(own(f"s{number:03}"))
            await later(1)
            assert (write_behind.report.beside, write_behind.counts.lost) == (40, 0)
            assert store.asked <= rounds.SESSIONS_AT_ONCE

    run(main())


def test_a_store_that_is_busy_while_it_gets_what_waited_gets_each_document_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as (write_behind, store):
            await fill_spool(write_behind, store, 100)
            store.fault = "busy"
            await later(20)
            assert (write_behind.report.state, write_behind.counts.lost) == (StoreState.OK, 0)
            written = [name for write in store.writes for name in write]
            assert len(written) == len(set(written)) == 1000

    run(main())


def test_running_calls_are_written_between_the_batches_of_what_waited(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as (write_behind, store):
            write_behind.save(own("new"))
            write_behind.save(own("last"))
            await later(1)
            await fill_spool(write_behind, store, 300)
            write_behind.save(turn("last", 0, n=1))  # the last in the spool
            write_behind.save(turn("last", 1, n=1))
            await later(0.1)
            store.fault = ""
            await store.written.wait()
            while not any(write[0].startswith("s") for write in store.writes):
                await later(0.001)
            write_behind.save(turn("new", 0))
            write_behind.save(turn("last", 0, n=2))
            batches = len(store.writes)
            await later(2 * (GATHER_S + 2 * TOOK_S))
            turns = [await store.query("default", name, "turn") for name in ("new", "last")]
            assert [found["n"] for found in turns[1]] == [2, 1]
            assert len(turns[0]) == 1
            assert write_behind.report.state is StoreState.LOST  # most still waits
            assert len(store.writes) - batches <= 3 * BATCH_DOCUMENTS // 10
            write_behind.save(turn("last", 1, n=2))
            await later(10)
            assert write_behind.report.state is StoreState.OK
            assert [found["n"] for found in await store.query("default", "last", "turn")] == [2, 2]
            assert len(await contents(store)) == 3000 + 2 + 3

    run(main())


@pytest.mark.parametrize("disk", ["well", "full"])
def test_a_newer_version_wins_over_the_one_that_waits(tmp_path: Path, disk: str) -> None:
    async def main() -> None:
        options = {"spool_max_bytes": 1000} if disk == "full" else {}
        async with running(tmp_path, **options) as (write_behind, store):
            await fill_spool(write_behind, store, 200)
            async with asyncio.TaskGroup() as saving:
                store.fault = ""
                for number in range(200):
                    saving.create_task(save_newer(write_behind, number))
            await later(10)
            assert (write_behind.report.state, write_behind.report.waiting, write_behind.counts.lost) == (
                StoreState.OK,
                0,
                0,
            )
            found = await contents(store)
            assert len(found) == 2000
            assert all(found[f"s{number:03}", "turn_00003"]["n"] == 7 for number in range(200))

    run(main())


async def save_newer(write_behind: WriteBehind, number: int) -> None:
    await later(RETRY_MS / 1000 + number * 0.01)
    write_behind.save(turn(f"s{number:03}", 3, n=7))


def test_a_deletion_while_documents_wait_holds(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as (write_behind, store):
            for name in ("here", "elsewhere"):
                write_behind.save(own(name))
                await write_behind.flush("default", name)
            await fill_spool(write_behind, store, 1)
            for name in ("here", "elsewhere"):
                write_behind.save(own(name, state="ended"))
                write_behind.save(turn(name, 0))
            await later(0.5)
            store.fault = ""
            await write_behind.forget("default", "here")
            await store.delete_session("default", "here")
            await store.delete_session("default", "elsewhere")  # by another process
            await later(5)
            assert {key[0] for key in await contents(store)} == {"s000"}
            assert await store.query("default", "elsewhere", "turn") == []
            assert (write_behind.counts.dropped, write_behind.counts.lost) == (2, 0)
            assert (write_behind.report.state, write_behind.report.beside) == (StoreState.OK, 0)

    run(main())


def test_the_figures_say_how_much_waits_and_for_how_long(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, spool_max_bytes=1500) as (write_behind, store):
            assert write_behind.report.figures()[names.DOCUMENTS_OLDEST] == 0
            await fill_spool(write_behind, store, 1, turns=5)
            await later(60)
            write_behind.save(turn("s1", 0, text="x" * 2000))
            await later(1)
            figures = write_behind.report.figures()
            assert figures[names.STORE_HEALTHY] == 0
            assert figures[names.SPOOL_DOCUMENTS] == 6
            assert figures[names.SPOOL_BYTES] == (tmp_path / NAME).stat().st_size
            assert 60 <= figures[names.DOCUMENTS_OLDEST] <= 62
            assert figures[names.SPOOL_AGE] == figures[names.DOCUMENTS_OLDEST]
            assert figures[names.DOCUMENTS_WAITING] == 1
            assert figures[names.DOCUMENTS_WAITING_BYTES] > 2000
            assert write_behind.report.beside == 7
            store.fault = ""
            await later(5)
            figures = write_behind.report.figures()
            assert figures[names.STORE_HEALTHY] == 1
            gone = (names.SPOOL_DOCUMENTS, names.SPOOL_BYTES, names.DOCUMENTS_WAITING, names.DOCUMENTS_OLDEST)
            assert [figures[family] for family in gone] == [0, 0, 0, 0]
            store.fault = "busy"
            for number in range(3):
                write_behind.save(turn("s1", number))
                await later(0.1)
            assert (write_behind.report.state, write_behind.report.figures()[names.STORE_BUSY]) == (
                StoreState.BUSY,
                1,
            )
            await later(5)
            store.fault = ""

    run(main())


def test_a_server_without_its_store_spools_and_does_not_try_it_before_it_is_open(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as (write_behind, store):
            write_behind.not_opened(StoreFailed("the disk is not there"))
            write_behind.save(own("s1"))
            await later(60)
            assert (store.asked, write_behind.report.state, write_behind.report.beside) == (0, StoreState.LOST, 1)
            write_behind.opened()
            await later(0.2)
            assert (write_behind.report.state, len(await contents(store))) == (StoreState.OK, 1)
            write_behind.opened()
            assert write_behind.report.healthy

    run(main())


def test_a_session_that_is_written_again_after_a_take_is_fenced_for_good(tmp_path: Path) -> None:
    fenced: list[SessionKey] = []

    async def main() -> None:
        async with running(tmp_path, on_fenced=fenced.append) as (write_behind, store):
            write_behind.save(own("s1"))
            await write_behind.flush("default", "s1")
            await fill_spool(write_behind, store, 150)
            write_behind.save(turn("s1", 0))
            await later(0.5)
            store.fault = ""
            taken = session("s1", state="ended", owner={"boot": "other", "fence": 2})
            await super(Weak, store).put_many([Write(taken, None)])
            await store.written.wait()
            for index in range(1, 6):
                write_behind.save(turn("s1", index))
                await later(0.1)
            await later(10)
            assert (await store.get("default", "s1", "session"))["state"] == "ended"
            assert await store.query("default", "s1", "turn") == []
            assert (write_behind.counts.fenced, fenced) == (1, [SessionKey("default", "s1")])

    run(main())
