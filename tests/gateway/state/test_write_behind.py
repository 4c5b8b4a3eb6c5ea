"""The write-behind: it stores documents quickly, drops older versions, and keeps documents while the store is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from support.calls.call_rig import later
from support.stores.faulty_store import FaultyStore
from support.stores.store_contract import session, turn
from support.virtual import run

from gateway.clock import LoopClock
from gateway.state.outage import RETRY_MS
from gateway.state.spool import NAME
from gateway.state.write_behind import WriteBehind
from sessions.stores.contract import Missing, SessionKey

Test = Callable[[WriteBehind, FaultyStore], Awaitable[None]]


@asynccontextmanager
async def running(folder: Path, **options: Any) -> AsyncIterator[tuple[WriteBehind, FaultyStore]]:
    clock = LoopClock(asyncio.get_running_loop(), 1e9)
    store = FaultyStore(clock)
    await store.open()
    write_behind = WriteBehind(store, folder, clock, inline=True, **options)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(write_behind.run())
        yield write_behind, store
        await write_behind.close()
    await store.close()


def with_write_behind(folder: Path, test: Test, **options: Any) -> None:
    async def main() -> None:
        async with asyncio.timeout(600), running(folder, **options) as (write_behind, store):
            await test(write_behind, store)

    run(main())


def live(session_id: str = "s1", **more: Any) -> Any:
    return session(session_id, state="live", **more)


def test_a_saved_document_is_stored_within_50_ms(tmp_path: Path) -> None:
    async def test(write_behind: WriteBehind, store: FaultyStore) -> None:
        clock = LoopClock(asyncio.get_running_loop(), 0)
        began_ms = clock.now_ms()
        write_behind.save(live())
        await store.written.wait()
        assert clock.now_ms() - began_ms <= 50
        assert (await store.get("default", "s1", "session"))["state"] == "live"

    with_write_behind(tmp_path, test)


def test_a_newer_version_replaces_an_older_one_that_still_waits(tmp_path: Path) -> None:
    async def test(write_behind: WriteBehind, store: FaultyStore) -> None:
        for number in range(10):
            write_behind.save(turn("s1", 0, number=number))
            write_behind.save(live(number=number))
        await store.written.wait()
        assert store.transactions == 1
        assert (await store.get("default", "s1", "turn_00000"))["number"] == 9

    with_write_behind(tmp_path, test)


def test_a_flush_returns_when_the_session_is_stored(tmp_path: Path) -> None:
    async def test(write_behind: WriteBehind, store: FaultyStore) -> None:
        write_behind.save(turn("s1", 0))
        await write_behind.flush("default", "s1")
        assert len(await store.query("default", "s1", "turn")) == 1

    with_write_behind(tmp_path, test)


def test_closing_writes_what_waits(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as (write_behind, store):
            write_behind.save(turn("s1", 0))
            await write_behind.close()
            assert len(await store.query("default", "s1", "turn")) == 1

    run(main())


def test_a_document_that_another_process_changed_is_counted_and_overwritten(tmp_path: Path) -> None:
    async def test(write_behind: WriteBehind, store: FaultyStore) -> None:
        write_behind.save(live(n=1))
        await write_behind.flush("default", "s1")
        await store.put(live(n=99), None)
        write_behind.save(live(n=2))
        await write_behind.flush("default", "s1")
        assert (await store.get("default", "s1", "session"))["n"] == 2
        assert write_behind.counts.conflicts == 1
        write_behind.save(live(n=3))
        await write_behind.flush("default", "s1")
        assert write_behind.counts.conflicts == 1

    with_write_behind(tmp_path, test)


def test_a_session_that_another_process_deleted_stays_deleted(tmp_path: Path) -> None:
    async def test(write_behind: WriteBehind, store: FaultyStore) -> None:
        write_behind.save(live())
        await write_behind.flush("default", "s1")
        await store.delete_session("default", "s1")
        for _ in range(2):
            write_behind.save(live(n=2))
            write_behind.save(turn("s1", 1))
            await write_behind.flush("default", "s1")
        with pytest.raises(Missing):
            await store.get("default", "s1", "session")
        assert await store.query("default", "s1", "turn") == []

    with_write_behind(tmp_path, test)


def owned_by(boot: str, fence: int = 1, **more: Any) -> Any:
    return live(owner={"boot": boot, "fence": fence}, **more)


@pytest.mark.parametrize("waits_in", ["outbox", "file", "memory"])
def test_what_waits_of_a_session_that_another_process_has_taken_is_dropped(tmp_path: Path, waits_in: str) -> None:
    fenced: list[SessionKey] = []

    async def test(write_behind: WriteBehind, store: FaultyStore) -> None:
        write_behind.save(owned_by("own"))
        await write_behind.flush("default", "s1")
        taken = owned_by("other", 2, n=99)
        etag = await store.put(taken, None)
        store.broken = waits_in != "outbox"
        write_behind.save(owned_by("own", n=2))
        for index in range(3):
            write_behind.save(turn("s1", index))
        write_behind.save(turn("s2", 0))
        await write_behind.flush("default", "s1")
        store.broken = False
        await later(RETRY_MS / 1000 + 0.2)
        write_behind.save(turn("s1", 3))
        await write_behind.flush("default", "s1")
        assert (await store.get("default", "s1", "session"))["etag"] == etag
        assert await store.query("default", "s1", "turn") == []
        assert len(await store.query("default", "s2", "turn")) == 1
        assert (write_behind.counts.fenced, write_behind.counts.lost, write_behind.report.healthy) == (1, 0, True)
        assert fenced == [SessionKey("default", "s1")]
        assert write_behind.report.waiting == 0
        assert list(tmp_path.rglob("*.jsonl")) == []

    folder = tmp_path / "state"
    if waits_in == "memory":
        folder.touch()
    with_write_behind(folder, test, boot="own", on_fenced=fenced.append)


def test_a_session_that_this_process_has_taken_is_written_under_its_new_fence(tmp_path: Path) -> None:
    async def test(write_behind: WriteBehind, store: FaultyStore) -> None:
        taken = owned_by("own", 2)
        write_behind.hold({**taken, "etag": await store.put(taken, None)})
        write_behind.save(owned_by("own", 2, n=2))
        await write_behind.flush("default", "s1")
        assert (await store.get("default", "s1", "session"))["n"] == 2
        assert (write_behind.counts.conflicts, write_behind.counts.fenced) == (0, 0)

    with_write_behind(tmp_path, test, boot="own")


def test_a_forgotten_session_takes_no_more_writes(tmp_path: Path) -> None:
    async def test(write_behind: WriteBehind, store: FaultyStore) -> None:
        write_behind.save(live())
        write_behind.save(live("s2"))
        await write_behind.forget("default", "s1")
        write_behind.save(turn("s1", 0))
        await write_behind.flush("default", "s1")
        await write_behind.flush("default", "s2")
        page = await store.sessions("default", limit=9, after=None)
        assert [item["session_id"] for item in page.items] == ["s2"]
        assert await store.query("default", "s1", "turn") == []

    with_write_behind(tmp_path, test)


def test_a_lost_store_is_unhealthy_and_gets_every_document_when_it_is_back(tmp_path: Path) -> None:
    async def test(write_behind: WriteBehind, store: FaultyStore) -> None:
        assert write_behind.report.healthy
        store.broken = True
        write_behind.save(live(n=1))
        write_behind.save(turn("s1", 0, n=1))
        await write_behind.flush("default", "s1")
        assert not write_behind.report.healthy
        write_behind.save(turn("s1", 0, n=2))
        write_behind.save(turn("s1", 1, n=1))
        await write_behind.flush("default", "s1")
        assert write_behind.counts.spooled == 4
        store.broken = False
        await store.written.wait()
        await write_behind.flush("default", "s1")
        assert write_behind.report.healthy
        turns = await store.query("default", "s1", "turn")
        assert [found["n"] for found in turns] == [2, 1]
        write_behind.save(live(n=2))
        await write_behind.flush("default", "s1")
        assert (write_behind.counts.lost, write_behind.counts.conflicts) == (0, 0)
        assert list(tmp_path.iterdir()) == []

    with_write_behind(tmp_path, test)


def test_a_lost_store_is_tried_again_after_the_retry_time(tmp_path: Path) -> None:
    async def test(write_behind: WriteBehind, store: FaultyStore) -> None:
        clock = LoopClock(asyncio.get_running_loop(), 0)
        store.broken = True
        write_behind.save(live())
        await write_behind.flush("default", "s1")
        lost_ms = clock.now_ms()
        store.broken = False
        write_behind.save(turn("s1", 0))
        await write_behind.flush("default", "s1")
        assert store.transactions == 0
        await store.written.wait()
        assert RETRY_MS <= clock.now_ms() - lost_ms <= RETRY_MS + 100

    with_write_behind(tmp_path, test)


def test_a_store_that_hangs_counts_as_lost(tmp_path: Path) -> None:
    async def test(write_behind: WriteBehind, store: FaultyStore) -> None:
        store.hanging = True
        write_behind.save(live())
        await write_behind.flush("default", "s1")
        assert not write_behind.report.healthy
        store.hanging = False
        await store.written.wait()
        assert (await store.get("default", "s1", "session"))["state"] == "live"

    with_write_behind(tmp_path, test, write_timeout_s=2.0)


def test_documents_that_a_full_spool_does_not_take_wait_in_memory(tmp_path: Path) -> None:
    async def test(write_behind: WriteBehind, store: FaultyStore) -> None:
        store.broken = True
        write_behind.save(turn("s1", 0))
        write_behind.save(turn("s2", 0, text="x" * 300))
        await write_behind.flush("default", "s1")
        await write_behind.flush("default", "s2")
        assert (write_behind.counts.spooled, write_behind.counts.lost, write_behind.report.waiting) == (1, 0, 1)
        store.broken = False
        await later(RETRY_MS / 1000 + 0.2)
        assert (write_behind.report.healthy, write_behind.report.waiting) == (True, 0)
        assert len(await store.query("default", "s2", "turn")) == 1

    with_write_behind(tmp_path, test, spool_max_bytes=200)


def test_store_and_spool_on_one_dead_disk_lose_no_document_and_recover_by_themselves(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()

    async def test(write_behind: WriteBehind, store: FaultyStore) -> None:
        store.broken = True
        for number in range(30):  # half a minute
            for call in range(20):
                write_behind.save(turn(f"s{call}", number // 10, n=number))
                write_behind.save(live(f"s{call}", n=number))
            await later(1)
        for call in range(20):
            write_behind.save(session(f"s{call}"))
        await later(1)
        assert (write_behind.counts.spooled, write_behind.counts.lost, write_behind.report.waiting) == (0, 0, 80)
        store.broken = False
        await later(RETRY_MS / 1000 + 0.2)
        assert (write_behind.report.healthy, write_behind.counts.lost, write_behind.report.waiting) == (True, 0, 0)
        for call in range(20):
            turns = await store.query("default", f"s{call}", "turn")
            assert [found["n"] for found in turns] == [9, 19, 29]
            assert (await store.get("default", f"s{call}", "session"))["state"] == "ended"

    with_write_behind(blocked, test)


def test_a_server_that_ends_with_a_dead_disk_logs_how_much_is_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "file"
    blocked.touch()

    async def test(write_behind: WriteBehind, store: FaultyStore) -> None:
        store.broken = True
        for call in range(7):
            write_behind.save(turn(f"s{call}", 0))
        await later(1)
        await write_behind.close()
        assert (write_behind.counts.lost, write_behind.report.waiting) == (7, 7)

    with_write_behind(blocked, test)
    lost = [record for record in caplog.records if record.message == "session documents were lost"]
    assert getattr(lost[0], "documents") == 7  # noqa: B009


@pytest.mark.parametrize("which", ["store", "disk"])
def test_a_server_that_ends_when_store_or_disk_is_just_back_loses_nothing(tmp_path: Path, which: str) -> None:
    blocked = tmp_path / "file"
    blocked.touch()

    async def test(write_behind: WriteBehind, store: FaultyStore) -> None:
        store.broken = True
        write_behind.save(turn("s1", 0))
        await later(0.1)
        if which == "store":
            store.broken = False
        else:
            blocked.unlink()
        await write_behind.close()
        assert (write_behind.counts.lost, write_behind.report.waiting) == (0, 0)
        assert (blocked / NAME).is_file() == (which == "disk")
        store.broken = False

    with_write_behind(blocked, test)


def test_a_forgotten_session_is_removed_from_the_spool(tmp_path: Path) -> None:
    async def test(write_behind: WriteBehind, store: FaultyStore) -> None:
        store.broken = True
        for session_id in ("s1", "s2"):
            write_behind.save(turn(session_id, 0, text=f"words of {session_id}"))
            await write_behind.flush("default", session_id)
        await write_behind.forget("default", "s1")
        (spooled,) = tmp_path.iterdir()
        assert b"words of s1" not in spooled.read_bytes()
        assert b"words of s2" in spooled.read_bytes()
        store.broken = False

    with_write_behind(tmp_path, test)


def test_a_document_of_the_wrong_shape_is_lost_alone(tmp_path: Path) -> None:
    async def test(write_behind: WriteBehind, store: FaultyStore) -> None:
        write_behind.save({**turn("s1", 0), "schema": "one"})
        write_behind.save(turn("s2", 0))
        await write_behind.flush("default", "s1")
        await write_behind.flush("default", "s2")
        assert write_behind.counts.lost == 1
        assert write_behind.report.healthy
        assert len(await store.query("default", "s2", "turn")) == 1

    with_write_behind(tmp_path, test)


def test_a_round_of_writing_that_is_cancelled_loses_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        clock = LoopClock(asyncio.get_running_loop(), 1e9)
        store = FaultyStore(clock)
        await store.open()
        write_behind = WriteBehind(store, tmp_path, clock, inline=True)
        store.hanging = True
        write_behind.save(turn("s1", 0, n=1))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await write_behind.flush("default", "s1")
        write_behind.save(turn("s1", 1))
        store.hanging = False
        await write_behind.close()
        assert len(await store.query("default", "s1", "turn")) == 2
        await store.close()

    run(main())


def test_the_spool_is_also_written_in_a_thread(tmp_path: Path) -> None:
    async def main() -> None:
        clock = LoopClock(asyncio.get_running_loop(), 1e9)
        store = FaultyStore(clock)
        await store.open()
        write_behind = WriteBehind(store, tmp_path, clock)
        store.broken = True
        write_behind.save(turn("s1", 0))
        await write_behind.close()
        assert write_behind.counts.spooled == 1
        await store.close()

    asyncio.run(main())
