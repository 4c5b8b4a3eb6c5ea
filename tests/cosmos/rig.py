"""A stand-in with one container laid out as the store's, and the real client at it."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any
from urllib.parse import quote

from aiohttp import ClientSession
from azure.core.exceptions import HttpResponseError
from azure.cosmos import PartitionKey
from azure.cosmos.aio import ContainerProxy, CosmosClient, DatabaseProxy

from cosmos.auth import signature
from cosmos.server import StandIn

KEY_OF_A = ["acme", "s1"]
BOUND_S = 5
POLICY: dict[str, Any] = {
    "indexingMode": "consistent",
    "automatic": True,
    "includedPaths": [
        {"path": f"/{path}/?"} for path in ("type", "state", "agent", "started_at", "purge_after", "owner/boot")
    ],
    "excludedPaths": [{"path": "/*"}],
    "compositeIndexes": [
        [{"path": "/started_at", "order": "descending"}, {"path": "/session_id", "order": "descending"}]
    ],
}


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a test on a loop of its own, bounded by seconds."""

    async def bounded() -> None:
        async with asyncio.timeout(BOUND_S):
            await main

    asyncio.run(bounded())


@dataclass(frozen=True, slots=True)
class World:
    """What a test has in hand."""

    server: StandIn
    client: CosmosClient
    database: DatabaseProxy
    items: ContainerProxy

    async def put(self, item_id: str, tenant: str = "acme", session_id: str = "s1", **fields: Any) -> dict[str, Any]:
        """Upsert an item."""
        return dict(await self.items.upsert_item(item(item_id, tenant, session_id, **fields)))

    async def read(self, item_id: str, key: Sequence[str] = ("acme", "s1")) -> dict[str, Any]:
        """Read an item."""
        return dict(await self.items.read_item(item_id, list(key)))

    async def ask(self, text: str, key: Sequence[str] | None = None, **parameters: Any) -> list[Any]:
        """All answers to a query; a parameter is named without its @."""
        return [answer for page in await self.pages(text, key, **parameters) for answer in page]

    async def pages(
        self, text: str, key: Sequence[str] | None = None, size: int | None = None, **parameters: Any
    ) -> list[list[Any]]:
        """The answers page by page, `size` items each."""
        options: dict[str, Any] = {} if key is None else {"partition_key": list(key)}
        named = [{"name": f"@{name}", "value": value} for name, value in parameters.items()]
        pages = self.items.query_items(text, parameters=named, max_item_count=size, **options).by_page()
        return [[answer async for answer in page] async for page in pages]

    async def changed(self, continuation: str | None = None, size: int | None = None) -> tuple[list[Any], str]:
        """All that the change feed shows behind a continuation, and where it stands then."""
        where: dict[str, Any] = {"start_time": "Beginning"} if continuation is None else {"continuation": continuation}
        feed = self.items.query_items_change_feed(max_item_count=size, **where)
        found = [change async for page in feed.by_page() async for change in page]
        return found, self.client.client_connection.last_response_headers["etag"]

    async def raw(
        self, verb: str, path: str, body: bytes = b"", *, key: str | None = None, **headers: str
    ) -> tuple[int, dict[str, str]]:
        """A request that the SDK would not send: its status and headers. `x_ms_date` is the header x-ms-date."""
        date = formatdate(usegmt=True)
        segments = [part for part in path.split("/") if part]
        signed = signature(b64decode(self.server.key if key is None else key), verb, segments, date)
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        told |= {"x-ms-date": date, "authorization": quote(f"type=master&ver=1.0&sig={signed}", safe="")}
        async with (
            ClientSession() as session,
            session.request(verb, self.server.url.rstrip("/") + path, data=body, headers=told) as answer,
        ):
            return answer.status, {name.lower(): value for name, value in answer.headers.items()}


def item(item_id: str, tenant: str = "acme", session_id: str = "s1", **fields: Any) -> dict[str, Any]:
    """An item of the store's shape."""
    return {"id": item_id, "tenant": tenant, "session_id": session_id, **fields}


async def status(doing: Awaitable[Any]) -> int:
    """The status with which a request fails; 200 if it does not."""
    try:
        await doing
    except HttpResponseError as error:
        return int(error.status_code or 0)
    return 200


@asynccontextmanager
async def world(policy: dict[str, Any] | None = None, ttl: int | None = -1, **options: Any) -> AsyncIterator[World]:
    """A server and a client with a database and a container; the options are those of StandIn."""
    async with (
        StandIn(**options) as server,
        CosmosClient(server.url, server.key, retry_throttle_total=1, enable_compact_utf8_item_writes=True) as client,
    ):
        database = await client.create_database("patchbay")
        key = PartitionKey(["/tenant", "/session_id"], kind="MultiHash")
        items = await database.create_container("calls", key, indexing_policy=policy or POLICY, default_ttl=ttl)
        yield World(server, client, database, items)


def in_world(test: Callable[[World], Awaitable[None]], **options: Any) -> None:
    """Run a test in a world of its own."""

    async def main() -> None:
        async with world(**options) as here:
            await test(here)

    run(main())
