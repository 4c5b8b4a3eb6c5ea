"""While the store is lost its documents wait in a file, and come into the store once it answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from faulty_store import FaultyStore
from store_contract import HandClock, turn
from virtual import run

from gateway.statedetour import RETRY_MS, StateDetour
from gateway.statespool import NAME, StateSpool
from gateway.statewriter import KeeperCounts, StateWriter
from sessions.stores.contract import SessionKey, StoreFailed


class Lost:
    """A detour around a store that a test can break."""

    def __init__(self, folder: Path) -> None:
        self.clock = HandClock()
        self.store = FaultyStore(self.clock)
        self.counts = KeeperCounts()
        self.writer = StateWriter(self.store, self.counts, timeout_s=2.0)
        self.detour = StateDetour(StateSpool(folder, 500), self.counts, self.clock, inline=True)


def with_detour(folder: Path, test: Callable[[Lost], Awaitable[None]]) -> None:
    async def main() -> None:
        lost = Lost(folder)
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


def test_what_the_file_cannot_take_is_lost(tmp_path: Path) -> None:
    async def test(lost: Lost) -> None:
        await lost.detour.keep([turn("s1", 0, text="x" * 600)])
        await lost.detour.keep([turn("s1", 1, text={1, 2})])
        assert (lost.counts.lost, lost.counts.spooled) == (2, 0)

    with_detour(tmp_path, test)


def test_a_deleted_session_is_not_brought_back(tmp_path: Path) -> None:
    async def test(lost: Lost) -> None:
        await lost.detour.keep([turn("s1", 0), turn("s2", 0)])
        await lost.detour.forget(SessionKey("default", "s1"))
        await lost.detour.bring_back(lost.writer)
        assert await lost.store.query("default", "s1", "turn") == []
        assert len(await lost.store.query("default", "s2", "turn")) == 1

    with_detour(tmp_path, test)
