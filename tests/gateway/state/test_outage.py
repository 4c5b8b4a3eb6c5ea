"""While the store is lost, documents wait in a file or in memory, and are stored once it answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from support.stores.faulty_store import FaultyStore
from support.stores.store_contract import HandClock, turn
from support.virtual import run

from gateway.state.busy import BusyStore
from gateway.state.keeper import DocumentKeeper
from gateway.state.kept import Kept
from gateway.state.outage import RETRY_MS, StoreOutage
from gateway.state.spool import NAME, StateSpool
from gateway.state.writer import StateWriter, WriteCounts
from sessions.stores.contract import Document, SessionKey, StoreFailed, Write


class Picky(FaultyStore):
    """Raises an exception outside the contract for the documents whose ids are in `refuses`; counts the writes."""

    def __init__(self, clock: HandClock) -> None:
        super().__init__(clock)
        self.refuses: set[str] = set()
        self.never = ""  # a session that it always refuses
        self.tries = 0

    async def put_many(self, writes: Sequence[Write]) -> list[str]:
        self.tries += 1
        if any(write.document["session_id"] == self.never for write in writes):
            raise StoreFailed("not this one")
        if any(write.document["id"] in self.refuses for write in writes):
            raise RecursionError("maximum recursion depth exceeded")
        return await super().put_many(writes)


class OutageRig:
    """A StoreOutage around a store that a test can break."""

    def __init__(self, folder: Path, spool_max_bytes: int = 500, **options: Any) -> None:
        self.clock = HandClock()
        self.store = self.picky = Picky(self.clock)
        self.counts = WriteCounts()
        self.writer = StateWriter(self.store, self.counts, timeout_s=2.0)
        self.kept = DocumentKeeper(StateSpool(folder, spool_max_bytes), self.counts, self.clock, inline=True, **options)
        self.outage = StoreOutage(self.kept, self.counts, self.clock, BusyStore(self.clock))

    async def keep(self, documents: Sequence[Document]) -> None:
        """Keep documents of sessions of which nothing is known."""
        await self.kept.keep([Kept(document, None, self.clock.ms) for document in documents])


def with_outage(folder: Path, test: Callable[[OutageRig], Awaitable[None]], **options: Any) -> None:
    async def main() -> None:
        rig = OutageRig(folder, **options)
        await rig.store.open()
        await test(rig)
        await rig.store.close()

    run(main())


def test_an_outage_lasts_until_all_documents_are_in_the_store(tmp_path: Path) -> None:
    async def test(rig: OutageRig) -> None:
        outage = rig.outage
        assert not outage.open
        assert not outage.retry_due
        outage.store_lost(StoreFailed("gone"))
        await rig.keep([turn("s1", 0), turn("s1", 1)])
        assert (outage.open, outage.retry_due, rig.counts.spooled) == (True, False, 2)
        rig.clock.ms += RETRY_MS
        assert outage.retry_due
        await outage.restore(rig.writer)
        assert not outage.open
        assert len(await rig.store.query("default", "s1", "turn")) == 2
        assert not (tmp_path / NAME).exists()

    with_outage(tmp_path, test)


def test_a_store_that_still_fails_is_tried_again_later(tmp_path: Path) -> None:
    async def test(rig: OutageRig) -> None:
        rig.outage.store_lost(StoreFailed("gone"))
        await rig.keep([turn("s1", 0)])
        rig.clock.ms += RETRY_MS
        rig.store.broken = True
        await rig.outage.restore(rig.writer)
        assert (rig.outage.open, rig.outage.retry_due) == (True, False)
        assert (tmp_path / NAME).exists()

    with_outage(tmp_path, test)


@pytest.mark.parametrize("spool_max_bytes", [100_000, 1], ids=["in the file", "in memory"])
def test_a_lost_store_is_tried_with_one_session_and_gets_the_others_once_that_is_stored(
    tmp_path: Path, spool_max_bytes: int
) -> None:
    async def test(rig: OutageRig) -> None:
        rig.outage.store_lost(StoreFailed("gone"))
        await rig.keep([turn(f"s{number}", index) for number in range(20) for index in range(3)])
        rig.store.broken = True
        for number in range(1, 4):
            rig.clock.ms += RETRY_MS
            await rig.outage.restore(rig.writer)
            assert rig.store.tries == number
        rig.store.broken = False
        rig.clock.ms += RETRY_MS
        assert await rig.outage.restore_some(rig.writer, [SessionKey("default", "s7"), SessionKey("default", "s8")])
        assert (rig.outage.lost, rig.outage.open, rig.store.tries) == (False, True, 4)
        stored = [number for number in range(20) if await rig.store.query("default", f"s{number}", "turn")]
        assert len(stored) == 1
        await rig.outage.restore(rig.writer)
        assert not rig.outage.open
        for number in range(20):
            assert len(await rig.store.query("default", f"s{number}", "turn")) == 3

    with_outage(tmp_path, test, spool_max_bytes=spool_max_bytes)


def test_a_session_that_the_store_always_refuses_does_not_keep_the_others_from_it(tmp_path: Path) -> None:
    async def test(rig: OutageRig) -> None:
        rig.outage.store_lost(StoreFailed("gone"))
        await rig.keep([turn(f"s{number}", 0) for number in range(5)])
        rig.store.never = "s0"
        for _ in range(3):
            rig.clock.ms += RETRY_MS
            await rig.outage.restore(rig.writer)
        assert [len(await rig.store.query("default", f"s{number}", "turn")) for number in range(5)] == [0, 1, 1, 1, 1]
        rig.store.never = ""
        rig.clock.ms += RETRY_MS
        await rig.outage.restore(rig.writer)
        assert not rig.outage.open
        assert len(await rig.store.query("default", "s0", "turn")) == 1

    with_outage(tmp_path, test, spool_max_bytes=100_000)


def test_a_file_that_cannot_be_read_is_tried_again_later(tmp_path: Path) -> None:
    async def test(rig: OutageRig) -> None:
        rig.outage.store_lost(StoreFailed("gone"))
        (tmp_path / NAME).mkdir()
        rig.clock.ms += RETRY_MS
        await rig.outage.restore(rig.writer)
        assert (rig.outage.open, rig.outage.retry_due) == (True, False)

    with_outage(tmp_path, test)


def test_a_document_of_the_wrong_shape_is_lost_and_does_not_delay_the_others(tmp_path: Path) -> None:
    async def test(rig: OutageRig) -> None:
        rig.outage.store_lost(StoreFailed("gone"))
        await rig.keep([{**turn("s1", 0), "schema": "one"}, turn("s1", 1)])
        await rig.outage.restore(rig.writer)
        assert (rig.outage.open, rig.counts.lost) == (False, 1)
        assert len(await rig.store.query("default", "s1", "turn")) == 1

    with_outage(tmp_path, test)


def test_documents_that_the_file_cannot_take_wait_in_memory_until_the_store_is_back(tmp_path: Path) -> None:
    async def test(rig: OutageRig) -> None:
        rig.outage.store_lost(StoreFailed("gone"))
        await rig.keep([turn("s1", 0, text="x" * 600)])
        await rig.keep([turn("s1", 0, text="y" * 600)])
        assert (rig.counts.lost, rig.counts.spooled, rig.kept.waiting) == (0, 0, 1)
        await rig.outage.restore(rig.writer)
        assert (rig.outage.open, rig.kept.waiting) == (False, 0)
        assert (await rig.store.get("default", "s1", "turn_00000"))["text"] == "y" * 600

    with_outage(tmp_path, test)


def test_a_document_that_cannot_be_json_is_lost_alone(tmp_path: Path) -> None:
    async def test(rig: OutageRig) -> None:
        await rig.keep([turn("s1", 0), turn("s1", 1, text={1, 2}), turn("s1", 2)])
        assert (rig.counts.lost, rig.counts.spooled) == (1, 2)

    with_outage(tmp_path, test)


def test_documents_in_memory_go_into_the_file_once_the_disk_works_again(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.touch()

    async def test(rig: OutageRig) -> None:
        rig.outage.store_lost(StoreFailed("gone"))
        await rig.keep([turn("s1", 0, n=1), turn("s1", 1, n=1)])
        await rig.keep([turn("s1", 0, n=2)])
        assert rig.kept.waiting == 2
        folder.unlink()
        await rig.keep([turn("s1", 2, n=1)])
        assert rig.kept.waiting == 3  # the disk is not tried again at once
        rig.clock.ms += RETRY_MS
        await rig.keep([turn("s1", 2, n=2)])
        assert (rig.kept.waiting, rig.counts.spooled) == (0, 3)
        await rig.outage.restore(rig.writer)
        turns = await rig.store.query("default", "s1", "turn")
        assert [found["n"] for found in turns] == [2, 1, 2]

    with_outage(folder, test)


def test_past_the_bound_the_oldest_documents_are_dropped_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "state"
    folder.touch()

    async def test(rig: OutageRig) -> None:
        rig.outage.store_lost(StoreFailed("gone"))
        for index in range(10):
            await rig.keep([turn("s1", index, text="x" * 10_000)])
        assert (rig.kept.waiting, rig.counts.lost) == (4, 6)
        await rig.outage.restore(rig.writer)
        turns = await rig.store.query("default", "s1", "turn")
        assert [found["id"] for found in turns] == ["turn_00006", "turn_00007", "turn_00008", "turn_00009"]

    with_outage(folder, test, waiting_max_bytes=45_000)
    assert "neither the store nor the disk takes session documents; they wait in memory" in caplog.messages
    assert "session documents were lost" in caplog.messages


def test_the_only_document_that_the_store_refuses_is_lost_and_does_not_delay_the_others(tmp_path: Path) -> None:
    async def test(rig: OutageRig) -> None:
        rig.outage.store_lost(StoreFailed("gone"))
        rig.picky.refuses = {"turn_00001"}
        await rig.keep([turn("s1", index) for index in range(3)])
        await rig.outage.restore(rig.writer)
        assert (rig.outage.open, rig.counts.lost) == (False, 1)
        assert len(await rig.store.query("default", "s1", "turn")) == 2

    with_outage(tmp_path, test)


@pytest.mark.parametrize("disk", ["well", "refuses"])
def test_a_store_that_refuses_all_documents_counts_as_lost_and_they_wait(tmp_path: Path, disk: str) -> None:
    folder = tmp_path / "state"
    if disk == "refuses":
        folder.touch()

    async def test(rig: OutageRig) -> None:
        rig.outage.store_lost(StoreFailed("gone"))
        rig.picky.refuses = {"turn_00000", "turn_00001"}
        await rig.keep([turn("s1", 0), turn("s1", 1)])
        for _ in range(3):
            await rig.outage.restore(rig.writer)
            assert (rig.outage.open, rig.counts.lost) == (True, 0)
        rig.picky.refuses = set()
        await rig.outage.restore(rig.writer)
        assert (rig.outage.open, rig.counts.lost) == (False, 0)
        assert len(await rig.store.query("default", "s1", "turn")) == 2

    with_outage(folder, test)


def test_a_long_file_is_stored_in_batches_with_the_newest_versions(tmp_path: Path) -> None:
    async def test(rig: OutageRig) -> None:
        rig.outage.store_lost(StoreFailed("gone"))
        for version in range(3):
            for first in range(0, 250, 50):
                await rig.keep([turn("s1", first + number, n=version) for number in range(50)])
        assert rig.counts.spooled == 750
        await rig.outage.restore(rig.writer)
        turns = await rig.store.query("default", "s1", "turn")
        assert len(turns) == 250
        assert {found["n"] for found in turns} == {2}
        assert not (tmp_path / NAME).exists()

    with_outage(tmp_path, test, spool_max_bytes=1_000_000)


def test_a_deleted_session_is_not_stored_again(tmp_path: Path) -> None:
    async def test(rig: OutageRig) -> None:
        await rig.keep([turn("s1", 0), turn("s2", 0)])
        await rig.outage.forget(SessionKey("default", "s1"))
        await rig.outage.restore(rig.writer)
        assert await rig.store.query("default", "s1", "turn") == []
        assert len(await rig.store.query("default", "s2", "turn")) == 1

    with_outage(tmp_path, test)
