"""The contract of a store, on a real account of Cosmos DB: `make cosmos-contract`.

`TEST_CONTRACT_STORE=cosmos://ACCOUNT.documents.azure.com/DATABASE/CONTAINER?create=1` names a container that is for
these tests alone: all documents in it are deleted before each test and at the end. A container that holds documents of
others is left alone. `TEST_CONTRACT_COSMOS_KEY` is the account's key; without it Entra ID is used.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from support.stores.store_contract import HandClock, StoreContract

from gateway.entra.credential import load_credential
from sessions.stores.contract import PAGE_MAX, SessionKey, Store
from sessions.stores.cosmos import CosmosAccess, CosmosStore
from sessions.stores.cosmos_setting import read_cosmos_url
from sessions.stores.store_meter import StoreMeter

STORE = os.environ.get("TEST_CONTRACT_STORE", "")
KEY = os.environ.get("TEST_CONTRACT_COSMOS_KEY")
TENANTS = {"default", "other", "one", "two"}  # of the contract's tests
HAND_SET = "the clock of a real account cannot be set by hand, and this test compares the time of a write with it"
NEEDS_HAND_SET_CLOCK = {
    "test_a_document_comes_back_as_it_was_written_with_its_etag",
    "test_the_time_of_a_write_is_the_stores_and_a_given_one_is_ignored",
}

pytestmark = [
    pytest.mark.sockets,
    pytest.mark.skipif(not STORE, reason="TEST_CONTRACT_STORE names no container of Cosmos DB: docs/cosmos.md"),
    pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning"),
]


def account(clock: HandClock) -> CosmosStore:
    """The store in the container that the environment names, not open yet."""
    access = CosmosAccess(key=KEY, credential=load_credential, plain_allowed=False, meter=StoreMeter())
    return CosmosStore(read_cosmos_url(STORE), clock, access)


async def partitions(store: Store) -> set[SessionKey]:
    """All partitions that hold documents."""
    found: set[SessionKey] = set()
    position = None
    while (page := await store.changes(position, PAGE_MAX)).items:
        position = page.position
        found |= {SessionKey(str(item["tenant"]), str(item["session_id"])) for item in page.items}
    return found


async def empty(store: Store) -> None:
    """Delete the documents of these tests. Fails where the container holds others."""
    found = await partitions(store)
    foreign = sorted({key.tenant for key in found} - TENANTS)
    assert not foreign, f"the container holds documents of {foreign}; name one that is for these tests alone"
    for key in found:
        await store.delete_session(key.tenant, key.session_id)


@pytest.fixture(scope="module", autouse=True)
def _emptied() -> Iterator[None]:
    """Leave nothing behind."""

    async def main() -> None:
        store = account(HandClock())
        await store.open()
        await empty(store)
        await store.close()

    if not STORE:
        yield
        return
    asyncio.run(main())
    yield
    asyncio.run(main())


class TestAccount(StoreContract):
    """The contract's tests, each in an empty container."""

    begun: Path | None = None  # the folder of the test that runs: a store that it opens again keeps what it holds

    @pytest.fixture(autouse=True)
    def _clock(self, request: pytest.FixtureRequest) -> None:
        if request.function.__name__ in NEEDS_HAND_SET_CLOCK:
            pytest.skip(HAND_SET)

    @asynccontextmanager
    async def opened(self, folder: Path) -> AsyncIterator[tuple[Store, HandClock]]:
        clock = HandClock()
        store = account(clock)
        await store.open()
        try:
            if TestAccount.begun != folder:
                await empty(store)
                TestAccount.begun = folder
            yield store, clock
        finally:
            await store.close()
