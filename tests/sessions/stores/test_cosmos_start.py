"""The start of a store in Cosmos DB: what it makes, what it checks, and what it says where it cannot start."""

from __future__ import annotations

import asyncio
import base64
import logging
from dataclasses import replace
from typing import Any

import pytest
from azure.cosmos import PartitionKey
from azure.cosmos.aio import CosmosClient
from cosmos.auth import TokenCredential
from cosmos.server import StandIn
from support.stores.cosmos_rig import CosmosRig, store_on, url_of, with_rig
from support.stores.store_contract import HandClock, session

from sessions.stores.contract import StoreFailed, StoreMisconfigured
from sessions.stores.cosmos import CosmosAccess, CosmosStore
from sessions.stores.cosmos_layout import check_account
from sessions.stores.cosmos_queries import INDEXING_POLICY
from sessions.stores.cosmos_setting import read_cosmos_url
from sessions.stores.opening import open_reader
from sessions.stores.store_meter import StoreMeter

GOOD: dict[str, Any] = {
    "partition_key": PartitionKey(["/tenant", "/session_id"]),
    "indexing_policy": INDEXING_POLICY,
    "default_ttl": -1,
}


def refused(server: StandIn, container: dict[str, Any] | None = None, more: str = "", **how: Any) -> StoreFailed:
    """What the start raises on a stand-in that holds such a container, or none."""
    raised: list[StoreFailed] = []

    async def main() -> None:
        async with asyncio.timeout(30), server:
            if container is not None:
                await make(server, container)
            store = store_on(server, HandClock(), more=more, **how)
            with pytest.raises(StoreFailed) as failed:
                await store.open()
            raised.append(failed.value)
            with pytest.raises(StoreFailed, match="is not open"):
                await store.get("default", "s1", "session")
            await store.close()

    asyncio.run(main())
    assert server.key not in str(raised[0])
    return raised[0]


async def make(server: StandIn, container: dict[str, Any]) -> None:
    async with CosmosClient(server.url, server.key) as client:
        database = await client.create_database("patchbay")
        await database.create_container("calls", **container)


def test_a_container_that_is_there_is_used_and_create_leaves_it_as_it_is() -> None:
    async def main() -> None:
        async with asyncio.timeout(30), StandIn() as server:
            await make(server, GOOD)
            for more in ("", "?create=1"):
                store = store_on(server, HandClock(), more=more)
                await store.open()
                await store.put(session("s1"), None)
                await store.open()  # once more: the former connections are closed
                assert (await store.get("default", "s1", "session"))["id"] == "session"
                await store.close()
                await store.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"partition_key": PartitionKey("/tenant")}, "another partition key than [/tenant, /session_id]"),
        ({"partition_key": PartitionKey(["/session_id", "/tenant"])}, "another partition key"),
        ({"default_ttl": None}, "no defaultTtl of -1"),
        ({"default_ttl": 3600}, "no defaultTtl of -1"),
        ({"indexing_policy": None}, "composite index"),
        ({"indexing_policy": {**INDEXING_POLICY, "compositeIndexes": []}}, "composite index"),
    ],
)
def test_a_container_of_another_layout_stops_the_start(other: dict[str, Any], says: str) -> None:
    found = refused(StandIn(), {name: value for name, value in {**GOOD, **other}.items() if value is not None})
    assert isinstance(found, StoreMisconfigured)
    assert says in str(found)
    assert str(found).startswith("patchbay/calls on 127.0.0.1:")


def test_a_composite_index_with_all_orders_turned_round_serves_too() -> None:
    turned = [[{**part, "order": "ascending"} for part in INDEXING_POLICY["compositeIndexes"][0]]]

    async def main() -> None:
        async with asyncio.timeout(30), StandIn() as server:
            await make(server, {**GOOD, "indexing_policy": {**INDEXING_POLICY, "compositeIndexes": turned}})
            store = store_on(server, HandClock())
            await store.open()
            await store.close()

    asyncio.run(main())


def test_what_is_missing_is_named_with_what_to_do() -> None:
    missing = refused(StandIn())
    assert isinstance(missing, StoreMisconfigured)
    assert "does not exist; make it (docs/cosmos.md), or add ?create=1" in str(missing)


def test_a_wrong_key_names_the_setting() -> None:
    found = refused(StandIn(), GOOD, key=base64.b64encode(b"another").decode())
    assert isinstance(found, StoreMisconfigured)
    assert "refuses the key (401); set PATCHBAY_COSMOS_KEY" in str(found)


def test_several_write_regions_stop_the_start() -> None:
    found = refused(StandIn(write_regions=2), more="?create=1")
    assert isinstance(found, StoreMisconfigured)
    assert "several write regions" in str(found)


@pytest.mark.parametrize("level", ["Eventual", "ConsistentPrefix"])
def test_an_account_of_weak_consistency_stops_the_start(level: str) -> None:
    class Account:
        ConsistencyPolicy = {"defaultConsistencyLevel": level}  # noqa: RUF012 - as the SDK has it

    with pytest.raises(StoreMisconfigured, match=f"default consistency {level}"):
        check_account(Account(), "acc")


def test_nobody_who_listens_and_a_name_that_does_not_exist_are_named() -> None:
    async def opened(url: str) -> None:
        access = CosmosAccess(key="a2V5", credential=None, plain_allowed=False, meter=StoreMeter())
        await CosmosStore(read_cosmos_url(url), HandClock(), access).open()

    with pytest.raises(StoreFailed, match=r"127\.0\.0\.1:9 cannot be reached \(ConnectionRefusedError\)"):
        asyncio.run(opened("cosmos+http://127.0.0.1:9/db/calls"))
    with pytest.raises(StoreFailed, match=r"no-account\.invalid cannot be resolved; check the account's name"):
        asyncio.run(opened("cosmos://no-account.invalid/db/calls"))


def test_an_identity_with_the_data_role_enters_over_tls_and_one_without_it_is_told_so() -> None:
    async def main() -> None:
        async with asyncio.timeout(30), StandIn(tls=True) as server:
            await make(server, GOOD)
            for data_role in (True, False):
                credential = TokenCredential(server.issuer.token(data_role))
                store = store_on(server, HandClock(), key=None, credential=lambda made=credential: made)
                if data_role:
                    await store.open()
                    await store.put(session("s1"), None)
                else:
                    with pytest.raises(StoreMisconfigured, match="Cosmos DB Built-in Data Contributor"):
                        await store.open()
                await store.close()

    asyncio.run(main())


def test_a_credential_that_cannot_be_made_is_named_without_its_words() -> None:
    def broken() -> Any:
        raise ValueError("secret words")

    found = refused(StandIn(), GOOD, key=None, credential=broken)
    assert "azure-identity cannot be used (ValueError)" in str(found)
    assert "needs a key or an identity" in str(refused(StandIn(), GOOD, key=None))


def test_packages_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> Any:
        raise ImportError("azure.identity")

    assert "install patchbay[cosmos]" in str(refused(StandIn(), GOOD, key=None, credential=absent))


def test_plain_http_to_another_machine_is_said_at_the_start(caplog: pytest.LogCaptureFixture) -> None:
    async def test(rig: CosmosRig) -> None:
        place = replace(read_cosmos_url(url_of(rig.server)), near=False)
        access = CosmosAccess(key=rig.server.key, credential=None, plain_allowed=True, meter=StoreMeter())
        far = CosmosStore(place, rig.clock, access)
        assert not caplog.records
        await far.open()
        await far.close()

    with caplog.at_level(logging.WARNING, "patchbay.state"):
        with_rig(test)
    assert "reached without TLS" in caplog.text


def test_a_reader_reads_changes_and_makes_nothing() -> None:
    async def main() -> None:
        async with asyncio.timeout(30), StandIn() as server:
            access = CosmosAccess(key=server.key, credential=None, plain_allowed=False, meter=StoreMeter())
            url = url_of(server, "?create=1")
            with pytest.raises(StoreMisconfigured, match="does not exist"):
                await open_reader(url, HandClock(), cosmos=access).open()
            store = store_on(server, HandClock(), more="?create=1")
            await store.open()
            await store.put(session("s1"), None)
            reader = open_reader(url, HandClock(), cosmos=access)
            await reader.open()
            assert [found["session_id"] for found in (await reader.changes(None, 5)).items] == ["s1"]
            await reader.close()
            await store.close()

    asyncio.run(main())


def test_request_units_are_counted_by_operation_as_the_service_counts_them() -> None:
    async def test(rig: CosmosRig) -> None:
        await rig.store.put(session("s1"), None)
        await rig.store.get("default", "s1", "session")
        await rig.store.left_live()
        units = rig.meter.request_units
        assert set(units) == {"open", "put", "get", "left_live"}
        assert sum(units.values()) / 100 == pytest.approx(sum(rig.server.counters.charge.values()), abs=0.05)
        assert rig.meter.operations["get", "ok"] == 1
        assert (rig.meter.throttled, rig.meter.operations["put", "ok"]) == (0, 1)

    with_rig(test)
