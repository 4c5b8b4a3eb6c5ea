"""The store in Cosmos DB stands on what the service promises: what the contract's tests do not reach of it."""

from __future__ import annotations

import pytest
from cosmos.auth import TokenCredential
from cosmos.faults import Fault
from support.stores.cosmos_rig import CosmosRig, with_rig
from support.stores.store_contract import session, turn

from sessions.stores.contract import Missing, StoreFailed, Write
from sessions.stores.cosmos import CosmosStore
from sessions.stores.cosmos_documents import NET_S

OTHER_KEY = "YW5vdGhlciBrZXk="


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK asks for the account three times, half a second apart, also where its key is refused."""
    monkeypatch.setenv("AZURE_COSMOS_HEALTH_CHECK_RETRY_AFTER_MS", "1")


def test_a_wrong_key_stops_the_opening() -> None:
    async def test(rig: CosmosRig) -> None:
        with pytest.raises(StoreFailed):
            await opened_and_closed(rig.another(key=OTHER_KEY))

    with_rig(test)


def test_an_identity_without_the_role_stops_the_opening() -> None:
    async def test(rig: CosmosRig) -> None:
        for token in ("made up", rig.server.issuer.token(data_role=False)):
            lame = rig.another(key=None, credential=lambda token=token: TokenCredential(token))
            with pytest.raises(StoreFailed):
                await opened_and_closed(lame)
        await opened_and_closed(rig.another(key=None, credential=lambda: TokenCredential(rig.server.issuer.token())))

    with_rig(test, tls=True)


def test_a_document_is_written_whole() -> None:
    async def test(rig: CosmosRig) -> None:
        await rig.store.put(turn("s1", 0, old=1), None)
        await rig.store.put(turn("s1", 0, new=1), None)
        assert "old" not in await rig.store.get("default", "s1", "turn_00000")

    with_rig(test)


def test_a_documents_time_is_that_of_its_last_write() -> None:
    async def test(rig: CosmosRig) -> None:
        await rig.store.put(turn("s1", 0), None)
        rig.clock.wall += 30
        await rig.store.put(turn("s1", 0), None)
        assert (await rig.store.get("default", "s1", "turn_00000"))["written_s"] == rig.clock.wall

    with_rig(test)


def test_a_document_outlives_its_own_ttl_by_the_net_and_no_longer() -> None:
    async def test(rig: CosmosRig) -> None:
        await rig.store.put(turn("s1", 0, ttl=60), None)
        rig.clock.wall += NET_S + 59
        await rig.store.get("default", "s1", "turn_00000")
        rig.clock.wall += 1
        with pytest.raises(Missing):
            await rig.store.get("default", "s1", "turn_00000")

    with_rig(test)


def test_a_query_brings_more_documents_than_a_page_holds() -> None:
    async def test(rig: CosmosRig) -> None:
        for start in range(0, 1_050, 50):
            await rig.store.put_many([write_of(index) for index in range(start, start + 50)])
        assert len(await rig.store.query("default", "s1", "turn")) == 1_050

    with_rig(test)


def test_what_is_written_is_read_where_a_replica_lags() -> None:
    async def test(rig: CosmosRig) -> None:
        etag = await rig.store.put(session("s1", n=1), None)
        assert (await rig.store.get("default", "s1", "session"))["n"] == 1
        rig.server.inject(Fault("lag"))
        await rig.store.put(session("s1", n=2), etag)
        assert (await rig.store.get("default", "s1", "session"))["n"] == 2

    with_rig(test)


def test_request_units_are_counted() -> None:
    async def test(rig: CosmosRig) -> None:
        await rig.store.put(turn("s1", 0), None)
        assert rig.meter.request_units["put"] > 500

    with_rig(test)


async def opened_and_closed(store: CosmosStore) -> None:
    """Open a store, and close it whatever happens."""
    try:
        await store.open()
    finally:
        await store.close()


def write_of(index: int) -> Write:
    """A turn, written whatever is there."""
    return Write(turn("s1", index), None)
