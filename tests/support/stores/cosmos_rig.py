"""A store in Cosmos DB on the stand-in, on a loopback port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from azure.cosmos.aio import ContainerProxy, CosmosClient
from cosmos.server import StandIn
from support.stores.store_contract import HandClock

from sessions.stores.cosmos import CosmosAccess, CosmosStore
from sessions.stores.cosmos_setting import read_cosmos_url
from sessions.stores.store_meter import StoreMeter

LIMIT_S = 30


class SharedClock(HandClock):
    """A clock that a test sets by hand, for the store and the stand-in alike."""

    def __init__(self, server: StandIn) -> None:
        self._server = server
        super().__init__()

    @property  # type: ignore[override]
    def wall(self) -> float:
        return self._wall

    @wall.setter
    def wall(self, wall: float) -> None:
        self._wall = wall
        self._server.clock.set(wall)


@dataclass
class CosmosRig:
    """A stand-in that listens, with a clock that it shares with the store, and an open store on it."""

    server: StandIn
    clock: HandClock
    meter: StoreMeter
    store: CosmosStore

    def another(self, **more: Any) -> CosmosStore:
        """A second store on the same container, not open yet."""
        return store_on(self.server, self.clock, **more)


def url_of(server: StandIn, more: str = "") -> str:
    """The setting that names the container on a stand-in."""
    scheme = "cosmos" if server.url.startswith("https") else "cosmos+http"
    return f"{scheme}://127.0.0.1:{server.port}/patchbay/calls{more}"


def store_on(
    server: StandIn, clock: HandClock, meter: StoreMeter | None = None, more: str = "", **how: Any
) -> CosmosStore:
    """A store on a stand-in, not open yet."""
    access: dict[str, Any] = {"key": server.key, "credential": None, "plain_allowed": False, **how}
    return CosmosStore(
        read_cosmos_url(url_of(server, more)), clock, CosmosAccess(meter=meter or StoreMeter(), **access)
    )


@asynccontextmanager
async def cosmos_rig(server: StandIn | None = None) -> AsyncIterator[CosmosRig]:
    """A stand-in and an open store, which makes its container. A given stand-in keeps what it holds."""
    async with asyncio.timeout(LIMIT_S), server or StandIn() as running:
        clock = SharedClock(running)
        meter = StoreMeter()
        store = store_on(running, clock, meter, "?create=1")
        await store.open()
        try:
            yield CosmosRig(running, clock, meter, store)
        finally:
            await store.close()


def with_rig(test: Callable[[CosmosRig], Awaitable[None]], **how: Any) -> None:
    """Run a test on a stand-in that is made with these options."""

    async def main() -> None:
        async with cosmos_rig(StandIn(**how)) as rig:
            await test(rig)

    asyncio.run(main())


@asynccontextmanager
async def cosmos_client(server: StandIn) -> AsyncIterator[ContainerProxy]:
    """The container of a stand-in without the store, as another program reaches it."""
    async with CosmosClient(server.url, server.key) as client:
        yield client.get_database_client("patchbay").get_container_client("calls")
