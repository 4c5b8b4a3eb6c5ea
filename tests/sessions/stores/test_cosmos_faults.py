"""The store in Cosmos DB where the service is busy, lost, wrong or foreign: what each operation raises."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from cosmos.epk import effective_key
from cosmos.faults import Fault, gone, lost_answer, throttled, unavailable
from support.stores.cosmos_rig import CosmosRig, cosmos_client, with_rig
from support.stores.store_contract import session, turn

from sessions.stores.contract import (
    ABSENT,
    BadDocument,
    Conflict,
    Missing,
    SessionKey,
    Store,
    StoreBusy,
    StoreFailed,
    StoreMisconfigured,
    Write,
)


@pytest.mark.parametrize("operations", [("upsert",), ("batch",), ("read",), ("query",), ("feed",), ("delete",)])
def test_a_busy_store_says_how_long_to_wait(operations: tuple[str, ...]) -> None:
    async def test(rig: CosmosRig) -> None:
        await rig.store.put(session("s1"), None)
        fault = rig.server.inject(throttled(70, operations=operations))
        with pytest.raises(StoreBusy) as busy:
            await use(rig.store)
        assert busy.value.retry_after_ms == 70
        assert fault.struck <= 4  # the SDK tries once more, for queries and feeds on two levels, and not nine times
        assert rig.meter.throttled == fault.struck
        rig.server.clear_faults()
        await use(rig.store)

    with_rig(test)


async def use(store: Store) -> None:
    """Each kind of request once."""
    await store.put(session("s1"), None)
    await store.put_many([Write(session("s1"), None), Write(turn("s1", 0), None)])
    await store.get("default", "s1", "session")
    await store.query("default", "s1", "turn")
    await store.changes(None, 10)
    await store.delete_document("default", "s1", "turn_00000")


def test_a_busy_store_without_a_hint_is_asked_again_after_a_second() -> None:
    async def test(rig: CosmosRig) -> None:
        rig.server.inject(throttled(None))
        with pytest.raises(StoreBusy) as busy:
            await rig.store.put(session("s1"), None)
        assert busy.value.retry_after_ms == 1000

    with_rig(test)


@pytest.mark.parametrize("fault", [unavailable(), gone(), Fault("status", status=449), Fault("status", status=500)])
def test_a_store_that_fails_is_lost_for_now(fault: Fault) -> None:
    async def test(rig: CosmosRig) -> None:
        rig.server.inject(fault)
        with pytest.raises(StoreFailed, match=str(fault.status)) as failed:
            await rig.store.put(session("s1"), None)
        assert not isinstance(failed.value, StoreBusy | StoreMisconfigured)
        rig.server.clear_faults()
        await rig.store.put(session("s1"), None)

    with_rig(test)


def test_the_answer_that_was_lost_after_the_write_looks_like_a_conflict_and_the_write_is_there() -> None:
    async def test(rig: CosmosRig) -> None:
        store = rig.store
        etag = await store.put(session("s1", n=1), None)
        for write in (
            [Write(session("s1", n=2), etag)],
            [Write(turn("s1", 0), ABSENT)],
            [Write(turn("s1", 1), ABSENT), Write(turn("s1", 2), None)],
        ):
            rig.server.inject(lost_answer(count=1, operations=("replace", "create", "batch")))
            with pytest.raises(Conflict):
                await store.put_many(write)
        assert (await store.get("default", "s1", "session"))["n"] == 2
        assert len(await store.query("default", "s1", "turn")) == 3
        rig.server.inject(lost_answer(count=1, operations=("upsert",)))
        await store.put(session("s1", n=3), None)  # without a condition it is just written twice
        rig.server.inject(lost_answer(count=1, operations=("batch",)))
        assert await store.delete_session("default", "s1") == 4

    with_rig(test)


def test_a_write_under_an_etag_never_creates_and_a_batch_with_one_leaves_nothing() -> None:
    async def test(rig: CosmosRig) -> None:
        etag = await rig.store.put(turn("s1", 0), None)
        await rig.store.delete_document("default", "s1", "turn_00000")
        with pytest.raises(Conflict):
            await rig.store.put(turn("s1", 0), etag)
        with pytest.raises(Conflict):
            await rig.store.put_many([Write(turn("s1", 1), None), Write(turn("s1", 0), etag)])
        assert await rig.store.query("default", "s1", "turn") == []

    with_rig(test)


def test_what_is_written_may_be_written_again_under_the_etag_that_came_back() -> None:
    async def test(rig: CosmosRig) -> None:
        first, _ = await rig.store.put_many([Write(session("s1"), ABSENT), Write(turn("s1", 0), ABSENT)])
        write = Write(session("s1", n=2), first)
        second, _ = await rig.store.put_many([write, Write(turn("s1", 0), None)])
        assert second == (await rig.store.get("default", "s1", "session"))["etag"]
        with pytest.raises(Conflict):  # the same list a second time still has its condition
            await rig.store.put_many([write, Write(turn("s1", 0), None)])

    with_rig(test)


def test_a_session_of_many_documents_is_deleted_in_batches() -> None:
    async def test(rig: CosmosRig) -> None:
        for start in (0, 80, 160):
            await rig.store.put_many([Write(turn("s1", start + number), None) for number in range(80)])
        rig.server.counters.reset()
        assert await rig.store.delete_session("default", "s1") == 240
        assert rig.server.counters.requests["batch"] == 3
        assert await rig.store.query("default", "s1", "turn") == []

    with_rig(test)


def test_a_document_that_another_server_deletes_meanwhile_does_not_stop_a_deletion() -> None:
    async def test(rig: CosmosRig) -> None:
        await rig.store.put_many([Write(turn("s1", number), None) for number in range(5)])
        rig.server.counters.reset()
        rig.server.inject(Fault("delay", delay_ms=20_000, operations=("batch",), count=1))
        async with asyncio.TaskGroup() as tasks:
            deleting = tasks.create_task(rig.store.delete_session("default", "s1"))
            while not rig.server.counters.requests["batch"]:
                await rig.store.get("default", "s1", "turn_00000")
            assert await rig.store.delete_document("default", "s1", "turn_00002")
            rig.server.clear_faults()
        assert deleting.result() == 5
        assert await rig.store.query("default", "s1", "turn") == []

    with_rig(test)


def test_a_tenant_in_two_physical_partitions_is_listed_in_one_order() -> None:
    names = [f"s{number}" for number in range(12)]
    middle = sorted(effective_key(("default", name)) for name in names)[6]

    async def test(rig: CosmosRig) -> None:
        for number, name in enumerate(names):
            await rig.store.put(session(name, started_at=number // 2), None)
        for limit in (1, 5, 12):
            seen: list[object] = []
            after = None
            while True:
                page = await rig.store.sessions("default", limit=limit, after=after)
                assert len(page.items) <= limit
                seen += [found["session_id"] for found in page.items]
                after = page.next_cursor
                if after is None:
                    break
            assert seen == sorted(names, key=lambda name: (int(name[1:]) // 2, name), reverse=True)

    with_rig(test, ranges=[middle])


@pytest.mark.parametrize("bad_id", ["", "a/b", "a\\b", "a?b", "a#b", "x" * 1024, "é" * 512, "\ud800"])
def test_ids_that_cosmos_db_cannot_hold_are_refused_and_never_found(bad_id: str) -> None:
    async def test(rig: CosmosRig) -> None:
        rig.server.counters.reset()
        with pytest.raises(BadDocument):
            await rig.store.put({**turn("s1", 0), "id": bad_id}, None)
        with pytest.raises(Missing):
            await rig.store.get("default", "s1", bad_id)
        assert not await rig.store.delete_document("default", "s1", bad_id)
        assert not rig.server.counters.requests

    with_rig(test)


@pytest.mark.parametrize("session_id", ["x" * 3000, "\ud800"])
def test_partitions_that_cosmos_db_cannot_hold_are_refused_and_are_empty(session_id: str) -> None:
    async def test(rig: CosmosRig) -> None:
        store = rig.store
        with pytest.raises(BadDocument):
            await store.put(turn(session_id, 0), None)
        assert await store.query("default", session_id, "turn") == []
        assert await store.delete_session("default", session_id) == 0
        assert (await store.sessions(session_id, limit=1, after=None)).items == ()

    with_rig(test)


def test_odd_signs_in_sessions_and_ids_are_kept() -> None:
    async def test(rig: CosmosRig) -> None:
        odd = "sess/ #?ü\\\"'☎ %2F"
        await rig.store.put(session(odd, tenant="größe"), None)
        await rig.store.put({**turn(odd, 0, tenant="größe"), "id": "ü %41'\"&+"}, None)
        assert (await rig.store.get("größe", odd, "ü %41'\"&+"))["id"] == "ü %41'\"&+"
        assert [found["session_id"] for found in (await rig.store.sessions("größe", limit=5, after=None)).items] == [
            odd
        ]
        assert await rig.store.delete_session("größe", odd) == 2

    with_rig(test)


def test_the_fields_of_the_store_and_of_cosmos_db_stay_out_of_documents() -> None:
    async def test(rig: CosmosRig) -> None:
        given = {**session("s1", ttl=100), "_ts": 5, "_etag": "made up", "_rid": "x", "purge_after": 1}
        etag = await rig.store.put(given, None)
        found = await rig.store.get("default", "s1", "session")
        assert found == {**session("s1", ttl=100), "etag": etag, "written_s": rig.clock.wall}
        assert (await rig.store.changes(None, 10)).items == (found,)
        async with cosmos_client(rig.server) as container:
            item = await container.read_item("session", partition_key=["default", "s1"])
        assert item["ttl"] == 100 + 30 * 86_400
        assert item["purge_after"] == rig.clock.wall + 100

    with_rig(test)


def test_the_longest_ttl_comes_back_as_it_was() -> None:
    async def test(rig: CosmosRig) -> None:
        longest = 2**31 - 1
        await rig.store.put(session("s1", ttl=longest), None)
        assert (await rig.store.get("default", "s1", "session"))["ttl"] == longest

    with_rig(test)


def test_what_another_program_has_written_is_skipped_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def test(rig: CosmosRig) -> None:
        await rig.store.put(session("s1", state="live", ttl=10), None)
        odd: list[dict[str, Any]] = [
            {"id": "a", "type": "session", "state": "live", "started_at": "yesterday", "purge_after": "soon"},
            {"id": "b", "state": "live", "started_at": 5, "purge_after": 7},
            {"id": "c", "type": "session", "state": "live", "started_at": None, "purge_after": None},
        ]
        async with cosmos_client(rig.server) as container:
            for item in odd:
                await container.upsert_item({"tenant": "default", "session_id": "odd", **item})
        rig.clock.wall += 20
        store = rig.store
        assert [found["session_id"] for found in (await store.sessions("default", limit=9, after=None)).items] == ["s1"]
        assert "s1" in {found["session_id"] for found in await store.left_live()}
        assert await store.expired(rig.clock.wall) == [SessionKey("default", "s1")]
        assert {found["id"] for found in (await store.changes(None, 9)).items} >= {"session"}
        with pytest.raises(BadDocument):
            await store.get("default", "odd", "b")

    with caplog.at_level(logging.ERROR, "patchbay.state"):
        with_rig(test)
    found = [vars(one) for one in caplog.records if one.message == "a stored document cannot be read"]
    named = {(one["tenant"], one["session_id"], one["document"]) for one in found}
    assert named == {("default", "odd", "b")}
    assert any("document 'b' of session 'odd' of tenant 'default'" in one["reason"] for one in found)
    assert "yesterday" not in str(found)


def test_an_item_that_no_list_can_place_is_named(caplog: pytest.LogCaptureFixture) -> None:
    async def test(rig: CosmosRig) -> None:
        await rig.store.put(session("s1"), None)
        async with cosmos_client(rig.server) as container:
            odd = {"tenant": "default", "session_id": 5, "id": "session", "type": "session", "started_at": 7}
            await container.upsert_item(odd)
        page = await rig.store.sessions("default", limit=9, after=None)
        assert [found["session_id"] for found in page.items] == ["s1"]

    with_rig(test)
    (found,) = [vars(one) for one in caplog.records if one.message == "a stored document cannot be read"]
    assert (found["tenant"], found["session_id"], found["document"]) == ("default", None, "session")


def test_a_read_that_lags_behind_our_own_write_never_shows_the_past() -> None:
    async def test(rig: CosmosRig) -> None:
        await rig.store.put(session("s1", n=1), None)
        rig.server.inject(Fault("lag"))
        await rig.store.put(session("s1", n=2), None)
        assert (await rig.store.get("default", "s1", "session"))["n"] == 2

    with_rig(test)


def test_the_session_goes_last_so_that_a_deletion_that_broke_off_is_found_again() -> None:
    async def test(rig: CosmosRig) -> None:
        await rig.store.put(session("s1", ttl=60), None)
        for start in range(0, 240, 80):
            await rig.store.put_many([Write(turn("s1", start + index, ttl=900), None) for index in range(80)])
        fault = rig.server.inject(unavailable(operations=("batch",), skip=1))
        with pytest.raises(StoreFailed):
            await rig.store.delete_session("default", "s1")
        assert fault.struck >= 1
        rig.server.clear_faults()
        rig.clock.wall += 60
        assert await rig.store.expired(rig.clock.wall) == [SessionKey("default", "s1")]
        assert 1 < await rig.store.delete_session("default", "s1") < 241
        assert await rig.store.query("default", "s1", "turn") == []

    with_rig(test)


@pytest.mark.parametrize("ranges", [1, 3])
@pytest.mark.parametrize("turns", [0, 1])  # one document is written alone, two in a batch
def test_a_read_that_lags_behind_the_first_writes_never_shows_the_past(ranges: int, turns: int) -> None:
    async def test(rig: CosmosRig) -> None:
        rig.server.inject(Fault("lag"))  # nothing was read before
        tenants = [f"t{number}" for number in range(6)]
        for tenant in tenants:
            first = Write(session("s1", tenant=tenant, n=2), ABSENT)
            await rig.store.put_many([first, *([Write(turn("s1", 0, tenant=tenant), None)] * turns)])
        for tenant in tenants:
            assert (await rig.store.get(tenant, "s1", "session"))["n"] == 2
            assert len(await rig.store.query(tenant, "s1", "turn")) == turns

    with_rig(test, ranges=ranges)
