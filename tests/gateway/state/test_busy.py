"""A busy store: documents wait for as long as it asks, and only 30 s without one success count as an outage."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from support.calls.call_rig import later
from support.stores.faulty_store import FaultyStore
from support.stores.store_contract import HandClock, session, turn
from support.virtual import run

from gateway.clock import LoopClock
from gateway.state.busy import BUSY_MAX_MS, LOG_EVERY_MS, BusyStore
from gateway.state.write_behind import CLOSE_WAIT_MS, WriteBehind
from sessions.stores.contract import StoreBusy, Write


class Throttled(FaultyStore):
    """Answers with StoreBusy where `is_busy` says so, given how many requests came before."""

    def __init__(self, clock: LoopClock) -> None:
        super().__init__(clock)
        self.answer_s = 0.0  # how long a refusal takes
        self.is_busy: Callable[[int], bool] = lambda _: True
        self.retry_after_ms = 1000
        self.asked_ms: list[int] = []
        self._loop_clock = clock

    async def put_many(self, writes: Sequence[Write]) -> list[str]:
        self.asked_ms.append(self._loop_clock.now_ms())
        if self.is_busy(len(self.asked_ms) - 1):
            await later(self.answer_s)
            raise StoreBusy("too many requests", retry_after_ms=self.retry_after_ms)
        return await super().put_many(writes)


def with_throttled(folder: Path, test: Callable[[WriteBehind, Throttled], Awaitable[None]], **options: Any) -> None:
    async def main() -> None:
        clock = LoopClock(asyncio.get_running_loop(), 1e9)
        store = Throttled(clock)
        await store.open()
        write_behind = WriteBehind(store, folder, clock, inline=True, **options)
        async with asyncio.timeout(600), asyncio.TaskGroup() as tasks:
            tasks.create_task(write_behind.run())
            await test(write_behind, store)
            await write_behind.close()
        await store.close()

    run(main())


def is_empty(folder: Path) -> bool:
    return list(folder.iterdir()) == []


def test_a_busy_store_is_tried_again_when_it_said_and_gets_only_the_newest_versions(tmp_path: Path) -> None:
    async def test(write_behind: WriteBehind, store: Throttled) -> None:
        store.is_busy = lambda number: number < 2
        for number in range(25):  # two and a half seconds
            write_behind.save(turn("s1", 0, n=number))
            write_behind.save(session("s1", state="live", n=number))
            await later(0.1)
        first, second, third = store.asked_ms[:3]
        assert 1000 <= second - first <= 1100
        assert 1000 <= third - second <= 1100
        await write_behind.flush("default", "s1")
        assert [found["n"] for found in await store.query("default", "s1", "turn")] == [24]
        assert (write_behind.report.healthy, write_behind.counts.lost, write_behind.counts.spooled) == (True, 0, 0)
        assert is_empty(tmp_path)

    with_throttled(tmp_path, test)


def test_a_store_that_is_busy_at_every_second_request_for_a_minute_causes_no_outage(tmp_path: Path) -> None:
    async def test(write_behind: WriteBehind, store: Throttled) -> None:
        store.is_busy = lambda number: number % 2 == 0
        for number in range(60):
            for call in range(10):
                write_behind.save(turn(f"s{call}", number, n=number))
            await later(1)
            assert write_behind.report.healthy
        await write_behind.flush("default", "s9")
        store.is_busy = lambda _: False
        await later(2)
        for call in range(10):
            assert len(await store.query("default", f"s{call}", "turn")) == 60
        assert (write_behind.counts.lost, write_behind.counts.spooled, is_empty(tmp_path)) == (0, 0, True)

    with_throttled(tmp_path, test)


def test_thirty_seconds_without_one_success_count_as_an_outage(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(write_behind: WriteBehind, store: Throttled) -> None:
        write_behind.save(turn("s1", 0))
        await later(BUSY_MAX_MS / 1000 - 0.5)
        assert write_behind.report.healthy
        await later(1)
        assert (write_behind.report.healthy, write_behind.counts.spooled) == (False, 1)
        store.is_busy = lambda _: False
        await later(3)
        assert (write_behind.report.healthy, len(await store.query("default", "s1", "turn"))) == (True, 1)
        store.is_busy = lambda _: True
        write_behind.save(turn("s1", 1))
        await later(BUSY_MAX_MS / 1000 - 0.5)
        assert write_behind.report.healthy  # the next thirty seconds began with the next refusal

    with_throttled(tmp_path, test)
    messages = [record.message for record in caplog.records]
    assert messages[:2] == ["the store is busy; session documents wait for it", "the store is lost; state is spooled"]


def test_a_store_that_asks_for_an_hour_is_tried_again_before_it_counts_as_lost(tmp_path: Path) -> None:
    async def test(write_behind: WriteBehind, store: Throttled) -> None:
        store.retry_after_ms = 3_600_000
        write_behind.save(turn("s1", 0))
        await later(BUSY_MAX_MS / 1000 + 1)
        assert (len(store.asked_ms), write_behind.report.healthy) == (2, False)
        await later(BUSY_MAX_MS / 1000 + 1)
        assert len(store.asked_ms) == 3

    with_throttled(tmp_path, test)


def test_another_failure_while_the_store_is_busy_is_an_outage_at_once(tmp_path: Path) -> None:
    async def test(write_behind: WriteBehind, store: Throttled) -> None:
        write_behind.save(turn("s1", 0))
        await later(0.5)
        store.is_busy = lambda _: False
        store.broken = True
        await later(1)
        assert (write_behind.report.healthy, write_behind.counts.spooled) == (False, 1)
        store.broken = False

    with_throttled(tmp_path, test)


def test_a_flush_waits_for_a_busy_store(tmp_path: Path) -> None:
    async def test(write_behind: WriteBehind, store: Throttled) -> None:
        store.is_busy = lambda number: number < 3
        write_behind.save(turn("s1", 0))
        await write_behind.flush("default", "s1")
        assert len(await store.query("default", "s1", "turn")) == 1
        assert 3000 <= store.asked_ms[-1] - store.asked_ms[0] <= 3500

    with_throttled(tmp_path, test)


def test_a_flush_that_is_cancelled_while_the_store_is_busy_leaves_its_documents_to_the_task(tmp_path: Path) -> None:
    async def test(write_behind: WriteBehind, store: Throttled) -> None:
        store.is_busy = lambda number: number < 2
        write_behind.save(turn("s1", 0))
        await later(1.075)  # the first wait is over, and the task gathers documents for its next try
        assert len(store.asked_ms) == 1
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await write_behind.flush("default", "s1")
        assert len(store.asked_ms) == 2
        await later(1.1)
        assert len(await store.query("default", "s1", "turn")) == 1

    with_throttled(tmp_path, test)


def test_a_document_at_fault_and_a_busy_store_lose_only_that_document(tmp_path: Path) -> None:
    async def test(write_behind: WriteBehind, store: Throttled) -> None:
        store.is_busy = lambda number: number == 1  # the first document that is written alone
        write_behind.save(turn("s1", 0))
        write_behind.save({**turn("s1", 1), "schema": "one"})
        await write_behind.flush("default", "s1")
        assert (write_behind.report.healthy, write_behind.counts.lost) == (True, 1)
        assert [found["id"] for found in await store.query("default", "s1", "turn")] == ["turn_00000"]

    with_throttled(tmp_path, test)


def test_a_session_that_is_deleted_while_the_store_is_busy_does_not_come_back(tmp_path: Path) -> None:
    async def test(write_behind: WriteBehind, store: Throttled) -> None:
        write_behind.save(turn("s1", 0))
        await later(0.5)
        await write_behind.forget("default", "s1")
        store.is_busy = lambda _: False
        await later(3)
        assert await store.query("default", "s1", "turn") == []

    with_throttled(tmp_path, test)


def test_a_session_that_is_deleted_while_the_store_refuses_it_does_not_come_back(tmp_path: Path) -> None:
    async def test(write_behind: WriteBehind, store: Throttled) -> None:
        store.answer_s = 0.5
        write_behind.save(turn("s1", 0))
        await later(0.2)
        await write_behind.forget("default", "s1")
        store.is_busy = lambda _: False
        await later(3)
        assert (len(store.asked_ms), await store.query("default", "s1", "turn")) == (1, [])

    with_throttled(tmp_path, test)


def test_a_document_that_is_written_alone_is_a_success_too(tmp_path: Path) -> None:
    async def test(write_behind: WriteBehind, store: Throttled) -> None:
        write_behind.save(turn("s1", 0))
        write_behind.save({**turn("s1", 1), "schema": "one"})
        await later(20)
        store.is_busy = lambda _: False
        await later(1.5)
        store.is_busy = lambda _: True
        write_behind.save(turn("s1", 2))
        await later(20)
        assert (write_behind.report.healthy, write_behind.counts.lost) == (True, 1)
        store.is_busy = lambda _: False

    with_throttled(tmp_path, test)


def test_more_documents_than_can_wait_are_spooled_and_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.state.write_behind.PENDING_MAX_DOCUMENTS", 10)

    async def test(write_behind: WriteBehind, store: Throttled) -> None:
        store.retry_after_ms = 20_000
        for number in range(9):
            write_behind.save(turn("s1", number))
            await later(0.2)
        assert (write_behind.report.healthy, write_behind.counts.lost) == (False, 0)
        assert write_behind.counts.spooled == 9

    with_throttled(tmp_path, test)


@pytest.mark.parametrize(("busy", "spooled"), [(1, 0), (99, 1)])
def test_a_server_that_ends_gives_a_busy_store_one_more_chance(tmp_path: Path, busy: int, spooled: int) -> None:
    async def test(write_behind: WriteBehind, store: Throttled) -> None:
        store.is_busy = lambda number: number < busy
        clock = LoopClock(asyncio.get_running_loop(), 0)
        write_behind.save(turn("s1", 0))
        await later(0.1)
        began_ms = clock.now_ms()
        await write_behind.close()
        assert clock.now_ms() - began_ms <= CLOSE_WAIT_MS
        assert store.asked_ms[1] - store.asked_ms[0] >= store.retry_after_ms
        assert (write_behind.counts.spooled, write_behind.counts.lost) == (spooled, 0)
        assert is_empty(tmp_path) == (spooled == 0)
        assert len(await store.query("default", "s1", "turn")) == 1 - spooled

    with_throttled(tmp_path, test)


def test_a_wait_that_the_store_asked_for_holds_after_a_success() -> None:
    clock = HandClock()
    busy = BusyStore(clock)
    assert (busy.wait_ms, busy.too_long) == (0, False)
    busy.refused(StoreBusy("busy", retry_after_ms=500))
    busy.refused(StoreBusy("busy", retry_after_ms=100))
    busy.succeeded()
    assert (busy.wait_ms, busy.too_long) == (500, False)
    clock.ms = BUSY_MAX_MS
    assert (busy.wait_ms, busy.too_long) == (0, False)
    busy.refused(StoreBusy("busy", retry_after_ms=-5))
    assert busy.wait_ms == 0
    clock.ms += BUSY_MAX_MS
    assert busy.too_long
    busy.ended()
    assert (busy.answer, busy.too_long, busy.wait_ms) == (None, False, 0)


def test_a_store_that_stays_busy_is_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    clock = HandClock()
    busy = BusyStore(clock)
    for _ in range(100):
        busy.refused(StoreBusy("busy", retry_after_ms=500))
        busy.succeeded()
        clock.ms += LOG_EVERY_MS // 50
    assert len(caplog.records) == 2
