"""What every store must do: the test class of a store inherits these tests and makes its store in `make`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from sessions.stores.contract import (
    ABSENT,
    BATCH_MAX_BYTES,
    BATCH_MAX_DOCUMENTS,
    DOCUMENT_MAX_BYTES,
    BadCursor,
    BadDocument,
    Conflict,
    Document,
    Missing,
    SessionKey,
    Store,
    Write,
)


@dataclass
class HandClock:
    """A clock that a test sets by hand."""

    wall: float = 1_000_000.0
    ms: int = 0

    def now_ms(self) -> int:
        return self.ms

    def wall_s(self) -> float:
        return self.wall


def session(session_id: str, *, tenant: str = "default", started_at: float = 1.0, **more: Any) -> Document:
    base = {"id": "session", "tenant": tenant, "session_id": session_id, "type": "session", "schema": 1}
    return {**base, "started_at": started_at, "agent": "harbour", "state": "ended", **more}


def turn(session_id: str, index: int, *, tenant: str = "default", **more: Any) -> Document:
    base = {"id": f"turn_{index:05}", "tenant": tenant, "session_id": session_id, "type": "turn", "schema": 1}
    return {**base, **more}


class StoreContract:
    """The tests of the contract; a subclass implements `make`."""

    def make(self, folder: Path, clock: HandClock) -> Store:
        raise NotImplementedError

    def with_store(self, folder: Path, test: Callable[[Store, HandClock], Awaitable[None]]) -> None:
        async def main() -> None:
            async with asyncio.timeout(20), self.opened(folder) as (store, clock):
                await test(store, clock)

        asyncio.run(main())

    @asynccontextmanager
    async def opened(self, folder: Path) -> AsyncIterator[tuple[Store, HandClock]]:
        clock = HandClock()
        store = self.make(folder, clock)
        await store.open()
        try:
            yield store, clock
        finally:
            await store.close()

    def test_a_document_comes_back_as_it_was_written_with_its_etag(self, tmp_path: Path) -> None:
        async def test(store: Store, clock: HandClock) -> None:
            written = turn("s1", 0, text="ein Tisch für zwei ☎", nested={"a": [1, 2.5, None, True]})
            etag = await store.put(written, None)
            found = await store.get("default", "s1", "turn_00000")
            assert found == {**written, "etag": etag, "written_s": clock.wall}

        self.with_store(tmp_path, test)

    def test_reading_a_missing_document_raises_missing(self, tmp_path: Path) -> None:
        async def test(store: Store, _: HandClock) -> None:
            with pytest.raises(Missing):
                await store.get("default", "s1", "session")
            assert await store.query("default", "s1", "turn") == []

        self.with_store(tmp_path, test)

    def test_one_document_is_removed_and_the_others_stay(self, tmp_path: Path) -> None:
        async def test(store: Store, _: HandClock) -> None:
            for index in range(2):
                await store.put(turn("s1", index), None)
            assert await store.delete_document("default", "s1", "turn_00000")
            assert not await store.delete_document("default", "s1", "turn_00000")
            assert not await store.delete_document("other", "s1", "turn_00001")
            assert [found["id"] for found in await store.query("default", "s1", "turn")] == ["turn_00001"]

        self.with_store(tmp_path, test)

    def test_each_write_returns_a_new_etag_and_an_old_one_conflicts(self, tmp_path: Path) -> None:
        async def test(store: Store, _: HandClock) -> None:
            first = await store.put(turn("s1", 0, n=1), None)
            second = await store.put(turn("s1", 0, n=2), first)
            assert first != second
            with pytest.raises(Conflict):
                await store.put(turn("s1", 0, n=3), first)
            assert (await store.get("default", "s1", "turn_00000"))["n"] == 2
            third = await store.put(turn("s1", 0, n=4), None)
            assert (await store.get("default", "s1", "turn_00000"))["etag"] == third

        self.with_store(tmp_path, test)

    def test_an_etag_for_a_document_that_is_gone_conflicts(self, tmp_path: Path) -> None:
        async def test(store: Store, _: HandClock) -> None:
            etag = await store.put(turn("s1", 0), None)
            assert await store.delete_session("default", "s1") == 1
            with pytest.raises(Conflict):
                await store.put(turn("s1", 0), etag)
            again = await store.put(turn("s1", 0), None)
            assert again != etag

        self.with_store(tmp_path, test)

    def test_an_etag_inside_a_document_is_ignored(self, tmp_path: Path) -> None:
        async def test(store: Store, _: HandClock) -> None:
            etag = await store.put(turn("s1", 0, etag="made up"), None)
            assert (await store.get("default", "s1", "turn_00000"))["etag"] == etag

        self.with_store(tmp_path, test)

    def test_the_time_of_a_write_is_the_stores_and_a_given_one_is_ignored(self, tmp_path: Path) -> None:
        async def test(store: Store, clock: HandClock) -> None:
            await store.put(turn("s1", 0, written_s=5.0), None)
            clock.wall += 30
            await store.put(session("s1"), None)
            begun = clock.wall - 30
            assert [found["written_s"] for found in await store.query("default", "s1", "turn")] == [begun]
            assert (await store.sessions("default", limit=1, after=None)).items[0]["written_s"] == clock.wall

        self.with_store(tmp_path, test)

    def test_absent_creates_a_document_and_conflicts_with_one_that_exists(self, tmp_path: Path) -> None:
        async def test(store: Store, _: HandClock) -> None:
            await store.put(turn("s1", 0, n=1), ABSENT)
            with pytest.raises(Conflict):
                await store.put(turn("s1", 0, n=2), ABSENT)
            with pytest.raises(Conflict):
                await store.put_many([Write(turn("s1", 1), ABSENT), Write(turn("s1", 0, n=3), ABSENT)])
            assert [found["n"] for found in await store.query("default", "s1", "turn")] == [1]
            await store.delete_session("default", "s1")
            await store.put(turn("s1", 0, n=4), ABSENT)
            assert (await store.get("default", "s1", "turn_00000"))["n"] == 4

        self.with_store(tmp_path, test)

    def test_a_document_of_the_largest_size_is_taken_and_a_larger_one_is_refused(self, tmp_path: Path) -> None:
        async def test(store: Store, _: HandClock) -> None:
            empty = len(orjson.dumps(turn("s1", 0, text="")))
            fits = "é" * ((DOCUMENT_MAX_BYTES - empty) // 2)
            await store.put(turn("s1", 0, text=fits), None)
            with pytest.raises(BadDocument, match="bytes"):
                await store.put(turn("s1", 0, text=fits + "éé"), None)

        self.with_store(tmp_path, test)

    def test_a_batch_that_is_too_large_is_refused_whole(self, tmp_path: Path) -> None:
        async def test(store: Store, _: HandClock) -> None:
            most = [Write(turn("s1", index), None) for index in range(BATCH_MAX_DOCUMENTS)]
            assert len(await store.put_many(most)) == BATCH_MAX_DOCUMENTS
            with pytest.raises(BadDocument):
                await store.put_many([*most, Write(turn("s1", BATCH_MAX_DOCUMENTS), None)])
            half = "x" * (BATCH_MAX_BYTES // 2)
            with pytest.raises(BadDocument):
                await store.put_many([Write(turn("s2", index, text=half), None) for index in range(2)])
            assert await store.query("default", "s2", "turn") == []

        self.with_store(tmp_path, test)

    def test_documents_written_together_are_all_written_or_none(self, tmp_path: Path) -> None:
        async def test(store: Store, _: HandClock) -> None:
            etags = await store.put_many([Write(session("s1"), None), Write(turn("s1", 0), None)])
            assert len(set(etags)) == 2
            with pytest.raises(Conflict):
                await store.put_many([Write(turn("s1", 1), None), Write(turn("s1", 0), "stale")])
            assert [found["id"] for found in await store.query("default", "s1", "turn")] == ["turn_00000"]
            with pytest.raises(BadDocument):
                await store.put_many([Write(turn("s1", 2), None), Write(turn("s2", 2), None)])
            assert await store.put_many([]) == []

        self.with_store(tmp_path, test)

    def test_a_query_returns_one_type_of_one_partition_in_order_of_ids(self, tmp_path: Path) -> None:
        async def test(store: Store, _: HandClock) -> None:
            for index in (10, 2, 1):
                await store.put(turn("s1", index), None)
            await store.put(session("s1"), None)
            await store.put(turn("s2", 7), None)
            await store.put(turn("s1", 8, tenant="other"), None)
            ids = [found["id"] for found in await store.query("default", "s1", "turn")]
            assert ids == ["turn_00001", "turn_00002", "turn_00010"]

        self.with_store(tmp_path, test)

    def test_sessions_are_listed_newest_first_page_by_page(self, tmp_path: Path) -> None:
        async def test(store: Store, _: HandClock) -> None:
            for number in range(7):
                await store.put(session(f"s{number}", started_at=number // 2), None)  # some began at the same time
            await store.put(session("elsewhere", tenant="other", started_at=99), None)
            seen: list[object] = []
            after = None
            while True:
                page = await store.sessions("default", limit=3, after=after)
                seen.extend(item["session_id"] for item in page.items)
                after = page.next_cursor
                if after is None:
                    break
            assert seen == ["s6", "s5", "s4", "s3", "s2", "s1", "s0"]

        self.with_store(tmp_path, test)

    def test_a_session_that_starts_between_two_pages_does_not_shift_the_next_page(self, tmp_path: Path) -> None:
        async def test(store: Store, _: HandClock) -> None:
            for number in range(4):
                await store.put(session(f"s{number}", started_at=number), None)
            first = await store.sessions("default", limit=2, after=None)
            await store.put(session("new", started_at=50), None)
            rest = await store.sessions("default", limit=2, after=first.next_cursor)
            assert [item["session_id"] for item in rest.items] == ["s1", "s0"]
            assert rest.next_cursor is None

        self.with_store(tmp_path, test)

    def test_sessions_are_filtered_by_agent_and_state(self, tmp_path: Path) -> None:
        async def test(store: Store, _: HandClock) -> None:
            await store.put(session("a", agent="desk", state="live", started_at=1), None)
            await store.put(session("b", agent="desk", state="ended", started_at=2), None)
            await store.put(session("c", agent="harbour", state="live", started_at=3), None)

            async def listed(**filters: str) -> list[object]:
                page = await store.sessions("default", limit=10, after=None, **filters)
                return [item["session_id"] for item in page.items]

            assert await listed(agent="desk") == ["b", "a"]
            assert await listed(state="live") == ["c", "a"]
            assert await listed(agent="desk", state="live") == ["a"]
            assert await listed(agent="nobody") == []

        self.with_store(tmp_path, test)

    @pytest.mark.parametrize("cursor", ["x", "!!!", "W10", "WzEsMl0", "bnVsbA", "é"])
    def test_a_made_up_cursor_is_refused(self, tmp_path: Path, cursor: str) -> None:
        async def test(store: Store, _: HandClock) -> None:
            with pytest.raises(BadCursor):
                await store.sessions("default", limit=10, after=cursor)

        self.with_store(tmp_path, test)

    def test_sessions_left_live_are_found_in_every_tenant(self, tmp_path: Path) -> None:
        async def test(store: Store, _: HandClock) -> None:
            await store.put(session("a", tenant="one", state="live"), None)
            await store.put(session("b", tenant="two", state="live"), None)
            await store.put(session("c", tenant="two", state="ended"), None)
            assert {found["session_id"] for found in await store.left_live()} == {"a", "b"}

        self.with_store(tmp_path, test)

    def test_the_live_sessions_of_one_instance_are_found(self, tmp_path: Path) -> None:
        async def test(store: Store, _: HandClock) -> None:
            for name, boot in (("a", "boot_1"), ("b", "boot_2"), ("c", "boot_1")):
                await store.put(session(name, state="live", owner={"process": "p", "boot": boot}), None)
            await store.put(session("old", state="live"), None)  # it names no instance
            assert [found["session_id"] for found in await store.left_live("boot_2")] == ["b"]
            await store.put(session("a", state="ended", owner={"process": "p", "boot": "boot_1"}), None)
            assert [found["session_id"] for found in await store.left_live("boot_1")] == ["c"]
            assert len(await store.left_live()) == 3

        self.with_store(tmp_path, test)

    def test_changes_come_in_their_order_once_each_and_go_on_from_a_position(self, tmp_path: Path) -> None:
        async def test(store: Store, _: HandClock) -> None:
            await store.put_many([Write(session("s1"), None), Write(turn("s1", 0), None)])
            await store.put(session("s2", tenant="other"), None)
            first = await store.changes(None, 2)
            assert [(found["session_id"], found["id"]) for found in first.items] == [
                ("s1", "session"),
                ("s1", "turn_00000"),
            ]
            await store.put(session("s1", state="live"), None)
            rest = await store.changes(first.position, 10)
            assert [found["session_id"] for found in rest.items] == ["s2", "s1"]
            assert rest.items[-1]["state"] == "live"
            nothing = await store.changes(rest.position, 10)
            assert nothing.items == ()
            await store.delete_session("default", "s1")
            await store.put(turn("s2", 0, tenant="other"), None)
            assert [found["id"] for found in (await store.changes(nothing.position, 10)).items] == ["turn_00000"]

        self.with_store(tmp_path, test)

    @pytest.mark.parametrize("position", ["", "x", "5", "sqlite-", "sqlite-x", "sqlite--1", "sqlite-" + "9" * 40, "é"])
    def test_a_made_up_position_is_refused(self, tmp_path: Path, position: str) -> None:
        async def test(store: Store, _: HandClock) -> None:
            with pytest.raises(BadCursor):
                await store.changes(position, 10)

        self.with_store(tmp_path, test)

    def test_deleting_a_session_removes_all_its_documents_and_no_others(self, tmp_path: Path) -> None:
        async def test(store: Store, _: HandClock) -> None:
            await store.put_many([Write(session("s1"), None), Write(turn("s1", 0), None)])
            await store.put(session("s1", tenant="other"), None)
            assert await store.delete_session("default", "s1") == 2
            assert await store.delete_session("default", "s1") == 0
            with pytest.raises(Missing):
                await store.get("default", "s1", "session")
            assert (await store.get("other", "s1", "session"))["session_id"] == "s1"

        self.with_store(tmp_path, test)

    def test_a_partition_is_forgotten_when_its_last_document_is_past_its_ttl(self, tmp_path: Path) -> None:
        async def test(store: Store, clock: HandClock) -> None:
            start_s = clock.wall
            await store.put(turn("s1", 0, ttl=100), None)
            await store.put(session("kept"), None)
            clock.wall += 50
            await store.put(session("s1", ttl=100), None)
            assert await store.expired(start_s + 149) == []
            assert await store.expired(start_s + 150) == [SessionKey("default", "s1")]

        self.with_store(tmp_path, test)

    def test_one_document_without_a_ttl_keeps_its_partition(self, tmp_path: Path) -> None:
        async def test(store: Store, clock: HandClock) -> None:
            await store.put_many([Write(session("s1"), None), Write(turn("s1", 0, ttl=1), None)])
            assert await store.expired(clock.wall + 1000) == []

        self.with_store(tmp_path, test)

    def test_a_partition_expires_with_its_session_document(self, tmp_path: Path) -> None:
        async def test(store: Store, clock: HandClock) -> None:
            await store.put_many([Write(session("s1", ttl=10), None), Write(turn("s1", 0), None)])
            await store.put(turn("loose", 0, ttl=20), None)
            await store.put(turn("loose", 1, ttl=30), None)
            assert await store.expired(clock.wall + 9) == []
            assert await store.expired(clock.wall + 20) == [SessionKey("default", "s1")]
            assert await store.expired(clock.wall + 30) == [SessionKey("default", "s1"), SessionKey("default", "loose")]

        self.with_store(tmp_path, test)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"id": None},
            {"type": 3},
            {"tenant": None},
            {"schema": "1"},
            {"schema": True},
            {"ttl": 0},
            {"ttl": -1},
            {"ttl": 2**40},
            {"ttl": 1.5},
            {"body": {"not json": 2**80}},
        ],
    )
    def test_a_document_without_the_fields_that_all_have_is_refused(
        self, tmp_path: Path, wrong: dict[str, Any]
    ) -> None:
        async def test(store: Store, _: HandClock) -> None:
            with pytest.raises(BadDocument):
                await store.put({**turn("s1", 0), **wrong}, None)

        self.with_store(tmp_path, test)

    def test_a_session_document_needs_its_start_agent_and_state(self, tmp_path: Path) -> None:
        async def test(store: Store, _: HandClock) -> None:
            for missing in ("started_at", "agent", "state"):
                lacking = {**session("s1"), missing: None}
                with pytest.raises(BadDocument):
                    await store.put(lacking, None)

        self.with_store(tmp_path, test)

    def test_many_concurrent_writers_lose_nothing(self, tmp_path: Path) -> None:
        async def test(store: Store, _: HandClock) -> None:
            async def talk(session_id: str) -> None:
                etag = await store.put(session(session_id), None)
                for index in range(3):
                    await store.put(turn(session_id, index), None)
                    etag = await store.put(session(session_id, turns=index + 1), etag)

            async with asyncio.TaskGroup() as calls:
                for number in range(50):
                    calls.create_task(talk(f"s{number}"))
            for number in range(50):
                assert len(await store.query("default", f"s{number}", "turn")) == 3
                assert (await store.get("default", f"s{number}", "session"))["turns"] == 3

        self.with_store(tmp_path, test)

    def test_closing_twice_is_harmless_and_written_documents_are_there_after_opening_again(
        self, tmp_path: Path
    ) -> None:
        async def main() -> None:
            async with self.opened(tmp_path) as (store, _):
                await store.put(session("s1"), None)
                await store.close()
            async with self.opened(tmp_path) as (store, _):
                assert (await store.get("default", "s1", "session"))["session_id"] == "s1"

        asyncio.run(main())
