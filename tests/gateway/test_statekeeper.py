"""The write-behind: quick, coalescing, and patient with a store that is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from call_rig import later
from faulty_store import FaultyStore
from store_contract import session, turn
from virtual import run

from gateway.clock import LoopClock
from gateway.statedetour import RETRY_MS
from gateway.statekeeper import StateKeeper
from gateway.statespool import NAME
from sessions.stores.contract import Missing

Test = Callable[[StateKeeper, FaultyStore], Awaitable[None]]


@asynccontextmanager
async def kept(folder: Path, **options: Any) -> AsyncIterator[tuple[StateKeeper, FaultyStore]]:
    clock = LoopClock(asyncio.get_running_loop(), 1e9)
    store = FaultyStore(clock)
    await store.open()
    keeper = StateKeeper(store, folder, clock, inline=True, **options)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(keeper.run())
        yield keeper, store
        await keeper.close()
    await store.close()


def with_keeper(folder: Path, test: Test, **options: Any) -> None:
    async def main() -> None:
        async with asyncio.timeout(600), kept(folder, **options) as (keeper, store):
            await test(keeper, store)

    run(main())


def live(session_id: str = "s1", **more: Any) -> Any:
    return session(session_id, state="live", **more)


def test_a_saved_document_is_stored_within_50_ms(tmp_path: Path) -> None:
    async def test(keeper: StateKeeper, store: FaultyStore) -> None:
        clock = LoopClock(asyncio.get_running_loop(), 0)
        began_ms = clock.now_ms()
        keeper.save(live())
        await store.written.wait()
        assert clock.now_ms() - began_ms <= 50
        assert (await store.get("default", "s1", "session"))["state"] == "live"

    with_keeper(tmp_path, test)


def test_newer_versions_replace_older_ones_that_still_wait(tmp_path: Path) -> None:
    async def test(keeper: StateKeeper, store: FaultyStore) -> None:
        for number in range(10):
            keeper.save(turn("s1", 0, number=number))
            keeper.save(live(number=number))
        await store.written.wait()
        assert store.transactions == 1
        assert (await store.get("default", "s1", "turn_00000"))["number"] == 9

    with_keeper(tmp_path, test)


def test_a_flush_returns_when_the_session_is_stored(tmp_path: Path) -> None:
    async def test(keeper: StateKeeper, store: FaultyStore) -> None:
        keeper.save(turn("s1", 0))
        await keeper.flush("default", "s1")
        assert len(await store.query("default", "s1", "turn")) == 1

    with_keeper(tmp_path, test)


def test_closing_writes_what_waits(tmp_path: Path) -> None:
    async def main() -> None:
        async with kept(tmp_path) as (keeper, store):
            keeper.save(turn("s1", 0))
            await keeper.close()
            assert len(await store.query("default", "s1", "turn")) == 1

    run(main())


def test_a_document_changed_by_somebody_else_is_counted_and_ours_stands(tmp_path: Path) -> None:
    async def test(keeper: StateKeeper, store: FaultyStore) -> None:
        keeper.save(live(n=1))
        await keeper.flush("default", "s1")
        await store.put(live(n=99), None)
        keeper.save(live(n=2))
        await keeper.flush("default", "s1")
        assert (await store.get("default", "s1", "session"))["n"] == 2
        assert keeper.counts.conflicts == 1
        keeper.save(live(n=3))
        await keeper.flush("default", "s1")
        assert keeper.counts.conflicts == 1

    with_keeper(tmp_path, test)


def test_a_session_deleted_by_somebody_else_stays_deleted(tmp_path: Path) -> None:
    async def test(keeper: StateKeeper, store: FaultyStore) -> None:
        keeper.save(live())
        await keeper.flush("default", "s1")
        await store.delete_session("default", "s1")
        for _ in range(2):
            keeper.save(live(n=2))
            keeper.save(turn("s1", 1))
            await keeper.flush("default", "s1")
        with pytest.raises(Missing):
            await store.get("default", "s1", "session")
        assert await store.query("default", "s1", "turn") == []

    with_keeper(tmp_path, test)


def test_a_forgotten_session_takes_no_more_writes(tmp_path: Path) -> None:
    async def test(keeper: StateKeeper, store: FaultyStore) -> None:
        keeper.save(live())
        keeper.save(live("s2"))
        await keeper.forget("default", "s1")
        keeper.save(turn("s1", 0))
        await keeper.flush("default", "s1")
        await keeper.flush("default", "s2")
        page = await store.sessions("default", limit=9, after=None)
        assert [item["session_id"] for item in page.items] == ["s2"]
        assert await store.query("default", "s1", "turn") == []

    with_keeper(tmp_path, test)


def test_a_lost_store_raises_the_alarm_and_gets_everything_when_it_is_back(tmp_path: Path) -> None:
    async def test(keeper: StateKeeper, store: FaultyStore) -> None:
        assert keeper.healthy
        store.broken = True
        keeper.save(live(n=1))
        keeper.save(turn("s1", 0, n=1))
        await keeper.flush("default", "s1")
        assert not keeper.healthy
        keeper.save(turn("s1", 0, n=2))
        keeper.save(turn("s1", 1, n=1))
        await keeper.flush("default", "s1")
        assert keeper.counts.spooled == 4
        store.broken = False
        await store.written.wait()
        await keeper.flush("default", "s1")
        assert keeper.healthy
        turns = await store.query("default", "s1", "turn")
        assert [found["n"] for found in turns] == [2, 1]
        keeper.save(live(n=2))
        await keeper.flush("default", "s1")
        assert (keeper.counts.lost, keeper.counts.conflicts) == (0, 0)
        assert list(tmp_path.iterdir()) == []

    with_keeper(tmp_path, test)


def test_a_lost_store_is_tried_again_no_sooner_than_agreed(tmp_path: Path) -> None:
    async def test(keeper: StateKeeper, store: FaultyStore) -> None:
        clock = LoopClock(asyncio.get_running_loop(), 0)
        store.broken = True
        keeper.save(live())
        await keeper.flush("default", "s1")
        lost_ms = clock.now_ms()
        store.broken = False
        keeper.save(turn("s1", 0))
        await keeper.flush("default", "s1")
        assert store.transactions == 0
        await store.written.wait()
        assert RETRY_MS <= clock.now_ms() - lost_ms <= RETRY_MS + 100

    with_keeper(tmp_path, test)


def test_a_store_that_hangs_is_lost_too(tmp_path: Path) -> None:
    async def test(keeper: StateKeeper, store: FaultyStore) -> None:
        store.hanging = True
        keeper.save(live())
        await keeper.flush("default", "s1")
        assert not keeper.healthy
        store.hanging = False
        await store.written.wait()
        assert (await store.get("default", "s1", "session"))["state"] == "live"

    with_keeper(tmp_path, test, write_timeout_s=2.0)


def test_what_a_full_spool_does_not_take_waits_in_memory(tmp_path: Path) -> None:
    async def test(keeper: StateKeeper, store: FaultyStore) -> None:
        store.broken = True
        keeper.save(turn("s1", 0))
        keeper.save(turn("s2", 0, text="x" * 300))
        await keeper.flush("default", "s1")
        await keeper.flush("default", "s2")
        assert (keeper.counts.spooled, keeper.counts.lost, keeper.waiting) == (1, 0, 1)
        store.broken = False
        await later(RETRY_MS / 1000 + 0.1)
        assert (keeper.healthy, keeper.waiting) == (True, 0)
        assert len(await store.query("default", "s2", "turn")) == 1

    with_keeper(tmp_path, test, spool_max_bytes=200)


def test_store_and_spool_on_one_dead_disk_lose_no_document_and_write_on_by_themselves(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()

    async def test(keeper: StateKeeper, store: FaultyStore) -> None:
        store.broken = True
        for number in range(30):  # half a minute
            for call in range(20):
                keeper.save(turn(f"s{call}", number // 10, n=number))
                keeper.save(live(f"s{call}", n=number))
            await later(1)
        for call in range(20):
            keeper.save(session(f"s{call}"))
        await later(1)
        assert (keeper.counts.spooled, keeper.counts.lost, keeper.waiting) == (0, 0, 80)
        store.broken = False
        await later(RETRY_MS / 1000 + 0.2)
        assert (keeper.healthy, keeper.counts.lost, keeper.waiting) == (True, 0, 0)
        for call in range(20):
            turns = await store.query("default", f"s{call}", "turn")
            assert [found["n"] for found in turns] == [9, 19, 29]
            assert (await store.get("default", f"s{call}", "session"))["state"] == "ended"

    with_keeper(blocked, test)


def test_a_server_that_ends_with_a_dead_disk_says_what_is_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "file"
    blocked.touch()

    async def test(keeper: StateKeeper, store: FaultyStore) -> None:
        store.broken = True
        for call in range(7):
            keeper.save(turn(f"s{call}", 0))
        await later(1)
        await keeper.close()
        assert (keeper.counts.lost, keeper.waiting) == (7, 7)

    with_keeper(blocked, test)
    lost = [record for record in caplog.records if record.message == "session documents were lost"]
    assert getattr(lost[0], "documents") == 7  # noqa: B009


@pytest.mark.parametrize("which", ["store", "disk"])
def test_a_server_that_ends_right_when_one_of_both_is_back_loses_nothing(tmp_path: Path, which: str) -> None:
    blocked = tmp_path / "file"
    blocked.touch()

    async def test(keeper: StateKeeper, store: FaultyStore) -> None:
        store.broken = True
        keeper.save(turn("s1", 0))
        await later(0.1)
        if which == "store":
            store.broken = False
        else:
            blocked.unlink()
        await keeper.close()
        assert (keeper.counts.lost, keeper.waiting) == (0, 0)
        assert (blocked / NAME).is_file() == (which == "disk")
        store.broken = False

    with_keeper(blocked, test)


def test_forgetting_reaches_into_the_spool(tmp_path: Path) -> None:
    async def test(keeper: StateKeeper, store: FaultyStore) -> None:
        store.broken = True
        for session_id in ("s1", "s2"):
            keeper.save(turn(session_id, 0, text=f"words of {session_id}"))
            await keeper.flush("default", session_id)
        await keeper.forget("default", "s1")
        (spooled,) = tmp_path.iterdir()
        assert b"words of s1" not in spooled.read_bytes()
        assert b"words of s2" in spooled.read_bytes()
        store.broken = False

    with_keeper(tmp_path, test)


def test_a_document_of_the_wrong_shape_costs_itself_and_not_the_keeper(tmp_path: Path) -> None:
    async def test(keeper: StateKeeper, store: FaultyStore) -> None:
        keeper.save({**turn("s1", 0), "schema": "one"})
        keeper.save(turn("s2", 0))
        await keeper.flush("default", "s1")
        await keeper.flush("default", "s2")
        assert keeper.counts.lost == 1
        assert keeper.healthy
        assert len(await store.query("default", "s2", "turn")) == 1

    with_keeper(tmp_path, test)


def test_a_round_that_is_cut_off_loses_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        clock = LoopClock(asyncio.get_running_loop(), 1e9)
        store = FaultyStore(clock)
        await store.open()
        keeper = StateKeeper(store, tmp_path, clock, inline=True)
        store.hanging = True
        keeper.save(turn("s1", 0, n=1))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await keeper.flush("default", "s1")
        keeper.save(turn("s1", 1))
        store.hanging = False
        await keeper.close()
        assert len(await store.query("default", "s1", "turn")) == 2
        await store.close()

    run(main())


def test_work_in_threads_does_the_same(tmp_path: Path) -> None:
    async def main() -> None:
        clock = LoopClock(asyncio.get_running_loop(), 1e9)
        store = FaultyStore(clock)
        await store.open()
        keeper = StateKeeper(store, tmp_path, clock)
        store.broken = True
        keeper.save(turn("s1", 0))
        await keeper.close()
        assert keeper.counts.spooled == 1
        await store.close()

    asyncio.run(main())
