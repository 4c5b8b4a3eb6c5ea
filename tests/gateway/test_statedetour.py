"""While the store is lost its documents wait in a file, and come into the store once it answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from faulty_store import FaultyStore
from store_contract import HandClock, turn
from virtual import run

from gateway.statedetour import RETRY_MS, StateDetour
from gateway.statespool import NAME, StateSpool
from gateway.statewriter import KeeperCounts, StateWriter
from sessions.stores.contract import SessionKey, StoreFailed, Write


class Picky(FaultyStore):
    """Refuses in a way that no store should: some documents, or all of them."""

    def __init__(self, clock: HandClock) -> None:
        super().__init__(clock)
        self.refuses: set[str] = set()

    async def put_many(self, writes: Sequence[Write]) -> list[str]:
        if any(write.document["id"] in self.refuses for write in writes):
            raise RecursionError("maximum recursion depth exceeded")
        return await super().put_many(writes)


class Lost:
    """A detour around a store that a test can break."""

    def __init__(self, folder: Path, spool_max_bytes: int = 500, **options: Any) -> None:
        self.clock = HandClock()
        self.store = self.picky = Picky(self.clock)
        self.counts = KeeperCounts()
        self.writer = StateWriter(self.store, self.counts, timeout_s=2.0)
        self.detour = StateDetour(StateSpool(folder, spool_max_bytes), self.counts, self.clock, inline=True, **options)


def with_detour(folder: Path, test: Callable[[Lost], Awaitable[None]], **options: Any) -> None:
    async def main() -> None:
        lost = Lost(folder, **options)
        await lost.store.open()
        await test(lost)
        await lost.store.close()

    run(main())


def test_it_is_open_from_the_loss_until_all_is_in_the_store(tmp_path: Path) -> None:
    async def test(lost: Lost) -> None:
        detour = lost.detour
        assert not detour.open
        assert not detour.retry_due
        detour.store_lost(StoreFailed("gone"))
        await detour.keep([turn("s1", 0), turn("s1", 1)])
        assert (detour.open, detour.retry_due, lost.counts.spooled) == (True, False, 2)
        lost.clock.ms += RETRY_MS
        assert detour.retry_due
        await detour.bring_back(lost.writer)
        assert not detour.open
        assert len(await lost.store.query("default", "s1", "turn")) == 2
        assert not (tmp_path / NAME).exists()

    with_detour(tmp_path, test)


def test_a_store_that_still_fails_is_left_alone_for_a_while_more(tmp_path: Path) -> None:
    async def test(lost: Lost) -> None:
        lost.detour.store_lost(StoreFailed("gone"))
        await lost.detour.keep([turn("s1", 0)])
        lost.clock.ms += RETRY_MS
        lost.store.broken = True
        await lost.detour.bring_back(lost.writer)
        assert (lost.detour.open, lost.detour.retry_due) == (True, False)
        assert (tmp_path / NAME).exists()

    with_detour(tmp_path, test)


def test_a_file_that_cannot_be_read_is_tried_again_later(tmp_path: Path) -> None:
    async def test(lost: Lost) -> None:
        lost.detour.store_lost(StoreFailed("gone"))
        (tmp_path / NAME).mkdir()
        lost.clock.ms += RETRY_MS
        await lost.detour.bring_back(lost.writer)
        assert (lost.detour.open, lost.detour.retry_due) == (True, False)

    with_detour(tmp_path, test)


def test_a_document_of_the_wrong_shape_is_lost_and_holds_nothing_up(tmp_path: Path) -> None:
    async def test(lost: Lost) -> None:
        lost.detour.store_lost(StoreFailed("gone"))
        await lost.detour.keep([{**turn("s1", 0), "schema": "one"}, turn("s1", 1)])
        await lost.detour.bring_back(lost.writer)
        assert (lost.detour.open, lost.counts.lost) == (False, 1)
        assert len(await lost.store.query("default", "s1", "turn")) == 1

    with_detour(tmp_path, test)


def test_what_the_file_cannot_take_waits_in_memory_until_the_store_is_back(tmp_path: Path) -> None:
    async def test(lost: Lost) -> None:
        lost.detour.store_lost(StoreFailed("gone"))
        await lost.detour.keep([turn("s1", 0, text="x" * 600)])
        await lost.detour.keep([turn("s1", 0, text="y" * 600)])
        assert (lost.counts.lost, lost.counts.spooled, lost.detour.waiting) == (0, 0, 1)
        await lost.detour.bring_back(lost.writer)
        assert (lost.detour.open, lost.detour.waiting) == (False, 0)
        assert (await lost.store.get("default", "s1", "turn_00000"))["text"] == "y" * 600

    with_detour(tmp_path, test)


def test_what_is_no_json_is_lost_alone(tmp_path: Path) -> None:
    async def test(lost: Lost) -> None:
        await lost.detour.keep([turn("s1", 0), turn("s1", 1, text={1, 2}), turn("s1", 2)])
        assert (lost.counts.lost, lost.counts.spooled) == (1, 2)

    with_detour(tmp_path, test)


def test_what_waits_goes_into_the_file_once_the_disk_takes_it(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.touch()

    async def test(lost: Lost) -> None:
        lost.detour.store_lost(StoreFailed("gone"))
        await lost.detour.keep([turn("s1", 0, n=1), turn("s1", 1, n=1)])
        await lost.detour.keep([turn("s1", 0, n=2)])
        assert lost.detour.waiting == 2
        folder.unlink()
        await lost.detour.keep([turn("s1", 2, n=1)])
        assert lost.detour.waiting == 3  # the disk is not asked again at once
        lost.clock.ms += RETRY_MS
        await lost.detour.keep([turn("s1", 2, n=2)])
        assert (lost.detour.waiting, lost.counts.spooled) == (0, 3)
        await lost.detour.bring_back(lost.writer)
        turns = await lost.store.query("default", "s1", "turn")
        assert [found["n"] for found in turns] == [2, 1, 2]

    with_detour(folder, test)


def test_past_the_bound_the_oldest_go_and_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "state"
    folder.touch()

    async def test(lost: Lost) -> None:
        lost.detour.store_lost(StoreFailed("gone"))
        for index in range(10):
            await lost.detour.keep([turn("s1", index, text="x" * 10_000)])
        assert (lost.detour.waiting, lost.counts.lost) == (4, 6)
        await lost.detour.bring_back(lost.writer)
        turns = await lost.store.query("default", "s1", "turn")
        assert [found["id"] for found in turns] == ["turn_00006", "turn_00007", "turn_00008", "turn_00009"]

    with_detour(folder, test, waiting_max_bytes=45_000)
    assert "neither the store nor the disk takes session documents; they wait in memory" in caplog.messages
    assert "session documents were lost" in caplog.messages


def test_a_document_that_the_store_refuses_alone_is_lost_and_holds_nothing_up(tmp_path: Path) -> None:
    async def test(lost: Lost) -> None:
        lost.detour.store_lost(StoreFailed("gone"))
        lost.picky.refuses = {"turn_00001"}
        await lost.detour.keep([turn("s1", index) for index in range(3)])
        await lost.detour.bring_back(lost.writer)
        assert (lost.detour.open, lost.counts.lost) == (False, 1)
        assert len(await lost.store.query("default", "s1", "turn")) == 2

    with_detour(tmp_path, test)


@pytest.mark.parametrize("disk", ["well", "refuses"])
def test_a_store_that_refuses_all_of_them_so_is_lost_and_they_wait(tmp_path: Path, disk: str) -> None:
    folder = tmp_path / "state"
    if disk == "refuses":
        folder.touch()

    async def test(lost: Lost) -> None:
        lost.detour.store_lost(StoreFailed("gone"))
        lost.picky.refuses = {"turn_00000", "turn_00001"}
        await lost.detour.keep([turn("s1", 0), turn("s1", 1)])
        for _ in range(3):
            await lost.detour.bring_back(lost.writer)
            assert (lost.detour.open, lost.counts.lost) == (True, 0)
        lost.picky.refuses = set()
        await lost.detour.bring_back(lost.writer)
        assert (lost.detour.open, lost.counts.lost) == (False, 0)
        assert len(await lost.store.query("default", "s1", "turn")) == 2

    with_detour(folder, test)


def test_a_long_file_is_brought_back_piece_by_piece_in_its_newest_versions(tmp_path: Path) -> None:
    async def test(lost: Lost) -> None:
        lost.detour.store_lost(StoreFailed("gone"))
        for version in range(3):
            for first in range(0, 250, 50):
                await lost.detour.keep([turn("s1", first + number, n=version) for number in range(50)])
        assert lost.counts.spooled == 750
        await lost.detour.bring_back(lost.writer)
        turns = await lost.store.query("default", "s1", "turn")
        assert len(turns) == 250
        assert {found["n"] for found in turns} == {2}
        assert not (tmp_path / NAME).exists()

    with_detour(tmp_path, test, spool_max_bytes=1_000_000)


def test_a_deleted_session_is_not_brought_back(tmp_path: Path) -> None:
    async def test(lost: Lost) -> None:
        await lost.detour.keep([turn("s1", 0), turn("s2", 0)])
        await lost.detour.forget(SessionKey("default", "s1"))
        await lost.detour.bring_back(lost.writer)
        assert await lost.store.query("default", "s1", "turn") == []
        assert len(await lost.store.query("default", "s2", "turn")) == 1

    with_detour(tmp_path, test)
