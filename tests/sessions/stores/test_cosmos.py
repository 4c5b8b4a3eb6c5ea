"""The store in Cosmos DB: the contract, on a stand-in with one physical partition and with several."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar

import pytest
from cosmos.server import StandIn
from support.stores.cosmos_rig import cosmos_rig
from support.stores.store_contract import HandClock, StoreContract, session, turn

from sessions.stores.contract import Store, Write


# aiohttp warns of bodies over 1 MB, which are rare here: they take 15 ms of the loop.
@pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")
class TestContract(StoreContract):
    ranges: ClassVar[int] = 1
    servers: ClassVar[dict[tuple[int, Path], StandIn]] = {}  # what one holds is there when it is opened again

    @asynccontextmanager
    async def opened(self, folder: Path) -> AsyncIterator[tuple[Store, HandClock]]:
        server = self.servers.setdefault((self.ranges, folder), StandIn(ranges=self.ranges))
        async with cosmos_rig(server) as rig:
            yield rig.store, rig.clock


@pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")
class TestSeveralPartitions(TestContract):
    ranges = 3

    def test_changes_come_in_their_order_once_each_and_go_on_from_a_position(self, tmp_path: Path) -> None:
        async def test(store: Store, _: HandClock) -> None:
            for number in range(12):
                await store.put_many([Write(session(f"s{number}"), None), Write(turn(f"s{number}", 0), None)])
            seen: dict[object, int] = {}
            position = None
            while (page := await store.changes(position, 3)).items:
                position = page.position
                for found in page.items:
                    seen[found["session_id"], found["id"]] = seen.get((found["session_id"], found["id"]), 0) + 1
            assert len(seen) == 24
            assert set(seen.values()) == {1}
            assert (await store.changes(page.position, 3)).items == ()
            await store.put(session("s7", state="live"), None)
            await store.delete_session("default", "s3")
            later = await store.changes(page.position, 10)
            assert [(found["session_id"], found["state"]) for found in later.items] == [("s7", "live")]

        self.with_store(tmp_path, test)
