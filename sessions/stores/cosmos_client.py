"""One container of Cosmos DB through azure-cosmos: bounded and counted requests that raise the contract's errors only.

This module imports azure-cosmos, which takes 0.15 s of CPU time, so it is loaded only for such a store, in a thread.
Source: azure-cosmos 4.17.1, whose behaviour on the wire was measured; some of it has no public name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar
from urllib.parse import urlsplit

from azure.core import MatchConditions
from azure.core.pipeline.transport import AioHttpTransport
from azure.cosmos import PartitionKey
from azure.cosmos.aio import CosmosClient

from sessions.errors import VoiceError
from sessions.stores import cosmos_layout, cosmos_queries
from sessions.stores.contract import StoreFailed, StoreMisconfigured
from sessions.stores.cosmos_answers import fault_in
from sessions.stores.cosmos_documents import Change
from sessions.stores.cosmos_errors import REQUEST_CHARGE, Purpose, odd_answer, translated
from sessions.stores.cosmos_feed import FeedRange, range_of, ranges_in
from sessions.stores.cosmos_setting import CosmosPlace
from sessions.stores.store_meter import StoreMeter

# The SDK looks at its own limit between two tries only, and a hung server takes several read timeouts; the outer one
# cuts off what goes on then. Both are below the ten seconds after which the writer gives up.
SDK_LIMIT_S = 8
REQUEST_LIMIT_S = 9.0
OPEN_LIMIT_S = 20.0
CLOSE_LIMIT_S = 5.0
PAGE_ROWS = 1_000
TOO_MANY = 429
OPTIONS: dict[str, Any] = {
    # With several replicas, a read sees what this client has written or read before.
    "consistency_level": "Session",
    "retry_throttle_total": 1,  # 0 would mean 9
    "retry_throttle_backoff_max": 2,
    "connection_timeout": 3,
    "read_timeout": 3,
    "enable_compact_utf8_item_writes": True,
    "user_agent_suffix": "patchbay",
}

T = TypeVar("T")


class CosmosContainer:
    """Makes the requests to one container."""

    def __init__(self, place: CosmosPlace, key: str | None, credential: Any, meter: StoreMeter) -> None:
        """Make the client, in a thread; nothing is sent yet. Without a key, `credential` is an Entra credential."""
        self._place = place
        self._meter = meter
        self._by_key = key is not None
        self._credential = credential
        self._client = CosmosClient(
            place.endpoint,
            credential if key is None else key,
            preferred_locations=list(place.regions),
            raw_response_hook=self._look_at,
            # The proxies of the environment cannot reach this machine.
            transport=AioHttpTransport(use_env_settings=not place.near),
            **OPTIONS,
        )
        self._container = self._client.get_database_client(place.database).get_container_client(place.container)
        self.rid = ""  # the container's own id, another one if it is made again

    # ---- start and stop

    async def open(self) -> None:
        """Connect, make the container if the setting says so, and check the account and the container's layout."""
        await self._request(Purpose.OPEN, self._connect(), OPEN_LIMIT_S)

    async def _connect(self) -> None:
        place = self._place
        await self._client.__aenter__()
        cosmos_layout.check_account(await self._client._get_database_account(), place.address)
        if place.create:
            database = await self._client.create_database_if_not_exists(place.database)
            await database.create_container_if_not_exists(
                place.container,
                PartitionKey(list(cosmos_queries.PARTITION_KEY_PATHS), kind=cosmos_queries.PARTITION_KEY_KIND),
                indexing_policy=cosmos_queries.INDEXING_POLICY,
                default_ttl=cosmos_queries.DEFAULT_TTL,
            )
        properties = await self._container.read()
        cosmos_layout.check_container(properties, str(place))
        self.rid = str(properties["_rid"])
        self._name_session()

    async def close(self) -> None:
        """Close all connections."""
        for closed in (self._client.close(), *([self._credential.close()] if self._credential is not None else [])):
            with suppress(Exception):
                async with asyncio.timeout(CLOSE_LIMIT_S):
                    await closed

    # ---- one document

    async def create(self, item: dict[str, Any]) -> str:
        """Create a document and return its ETag. Raises Conflict where there is one."""
        return await self._written(self._container.create_item(item, no_response=True, timeout=SDK_LIMIT_S))

    async def upsert(self, item: dict[str, Any]) -> str:
        """Write a document, whatever was there, and return its ETag."""
        return await self._written(self._container.upsert_item(item, no_response=True, timeout=SDK_LIMIT_S))

    async def replace(self, item: dict[str, Any], etag: str) -> str:
        """Replace the version of a document with this ETag. Raises Conflict where there is none."""
        return await self._written(
            self._container.replace_item(
                item["id"],
                item,
                etag=etag,
                match_condition=MatchConditions.IfNotModified,
                no_response=True,
                timeout=SDK_LIMIT_S,
            )
        )

    async def read(self, key: Sequence[str], document_id: str) -> Any:
        """Read one document. Raises Missing."""
        reading = self._container.read_item(document_id, partition_key=list(key), timeout=SDK_LIMIT_S)
        return await self._request(Purpose.READ, reading)

    async def delete(self, key: Sequence[str], document_id: str) -> None:
        """Remove one document, whatever its ETag. Raises Missing."""
        removing = self._container.delete_item(document_id, partition_key=list(key), timeout=SDK_LIMIT_S)
        await self._request(Purpose.READ, removing)

    # ---- several

    async def batch(self, key: Sequence[str], changes: Sequence[Change]) -> list[str]:
        """Make changes in one partition, all or none, and return the ETags. Raises Conflict."""
        # The SDK takes the ETags out of the operations that it is given, so they are made for this one call.
        operations = [_operation(change) for change in changes]

        async def make() -> list[str]:
            results = await self._container.execute_item_batch(operations, partition_key=list(key), timeout=SDK_LIMIT_S)
            self._note_session(results.get_response_headers())
            if len(results) != len(changes):
                raise odd_answer(self._place.address, f"{len(results)} results of {len(changes)} changes")
            return [self._etag_in(change, result) for change, result in zip(changes, results, strict=True)]

        return await self._request(Purpose.WRITE, make())

    async def rows(self, text: str, values: Mapping[str, Any], key: Sequence[str] | None, most: int) -> list[Any]:
        """What a query returns: from one partition, from those that begin with the key, or from all without one.

        It stops reading once it has `most` rows, and may return more.
        """
        where: dict[str, Any] = {} if key is None else {"partition_key": list(key)}
        parameters: list[dict[str, object]] = [{"name": f"@{name}", "value": value} for name, value in values.items()]
        pages = self._container.query_items(
            text, parameters=parameters, max_item_count=min(most, PAGE_ROWS), timeout=SDK_LIMIT_S, **where
        ).by_page()
        found: list[Any] = []
        while len(found) < most:
            page = await self._request(Purpose.READ, _next_page(pages))
            if page is None:
                break
            found += page
        return found

    async def feed_ranges(self) -> list[FeedRange]:
        """The ranges of the change feed, none of them read yet."""

        async def read() -> list[FeedRange]:
            return [range_of(found) async for found in self._container.read_feed_ranges(force_refresh=True)]

        return await self._request(Purpose.READ, read())

    async def feed_page(self, part: FeedRange, limit: int) -> tuple[list[Any], list[FeedRange]]:
        """A page of one range's changes, empty at its end, and the ranges that take its place: several after a split.

        All changes of one batch come together, even past `limit`.
        """
        continuation = part.continuation(self.rid)
        start: dict[str, Any] = {"continuation": continuation}
        if continuation is None:
            start = {"feed_range": part.as_sdk(), "start_time": "Beginning"}
        last: Mapping[str, Any] = {}

        def note(headers: Mapping[str, Any], _: object) -> None:
            nonlocal last
            last = headers  # the SDK writes the token for going on into this very mapping

        async def read() -> tuple[list[Any], list[FeedRange]]:
            feed = self._container.query_items_change_feed(max_item_count=limit, response_hook=note, **start)
            page = await _next_page(feed.by_page())
            return page or [], ranges_in(last["etag"])

        return await self._request(Purpose.READ if continuation is None else Purpose.GO_ON, read())

    # ---- the session, whose tokens make reads see what was written before

    def _name_session(self) -> None:
        """Tell the SDK the id of the container at once.

        The SDK would learn it from the first document that it reads, and then forget the tokens of all writes before.
        """
        session = self._client.client_connection.session
        if session is not None:
            names = session.session_container.collection_name_to_rid
            names[f"dbs/{self._place.database}/colls/{self._place.container}"] = self.rid

    def _note_session(self, headers: Mapping[str, Any]) -> None:
        """Keep the token in the answer to a batch, which the SDK keeps of single writes only."""
        connection: Any = self._client.client_connection
        if connection.session is not None:
            connection.session.update_session(connection, {}, headers)

    # ---- every request

    def _etag_in(self, change: Change, result: Mapping[str, Any]) -> str:
        """The ETag in one result of a batch; empty for a deletion."""
        if change.kind == "delete":
            return ""
        etag = result.get("eTag")
        if not isinstance(etag, str) or not etag:
            raise odd_answer(self._place.address, "a result without an ETag")
        return etag

    async def _written(self, writing: Awaitable[Any]) -> str:
        async def write() -> str:
            return str((await writing).get_response_headers()["etag"])  # `_look_at` has seen that there is one

        return await self._request(Purpose.WRITE, write())

    async def _request(self, purpose: Purpose, work: Awaitable[T], limit_s: float = REQUEST_LIMIT_S) -> T:
        """Do something with the SDK. Whatever it raises becomes an error of the contract."""
        try:
            async with asyncio.timeout(limit_s):
                return await work
        except VoiceError:
            raise
        except Exception as error:
            place = self._place
            raise translated(error, place.address, str(place), purpose, key=self._by_key) from error

    def _look_at(self, response: Any) -> None:
        """Count one answer, also one that the SDK answers with a second try. Raises StoreFailed for a foreign one."""
        request, answer = response.http_request, response.http_response
        try:
            units = float(answer.headers.get(REQUEST_CHARGE) or 0)
        except ValueError:
            units = 0.0
        self._meter.request(units, throttled=answer.status_code == TOO_MANY)
        fault = fault_in(
            request.method,
            urlsplit(request.url).path,
            request.headers,
            answer.status_code,
            answer.headers,
            answer.body(),
        )
        if fault is not None:
            raise odd_answer(self._place.address, fault)


def make_container(
    place: CosmosPlace, key: str | None, credential: Callable[[], Any] | None, meter: StoreMeter
) -> CosmosContainer:
    """Make the client of a container, in a thread.

    Raises StoreMisconfigured where there is neither a key nor a credential, StoreFailed if the credential cannot be
    made, and ImportError if azure-identity is missing.
    """
    made = None
    if key is None:
        if credential is None:
            raise StoreMisconfigured(f"{place.address} needs a key or an identity; set PATCHBAY_COSMOS_KEY")
        try:
            made = credential()
        except ImportError:
            raise
        except Exception as error:  # azure-identity reads the environment
            kind = type(error).__name__
            raise StoreFailed(
                f"azure-identity cannot be used ({kind}); set PATCHBAY_COSMOS_KEY, or check the AZURE_* variables"
            ) from error
    return CosmosContainer(place, key, made, meter)


def _operation(change: Change) -> Any:
    condition = {} if change.etag is None else {"if_match_etag": change.etag}
    if change.kind in ("replace", "delete"):
        named = (change.document_id,) if change.item is None else (change.document_id, change.item)
        return (change.kind, named, condition)
    return (change.kind, (change.item,), condition)


async def _next_page(pages: Any) -> list[Any] | None:
    """The next page of a query or a feed; None after the last."""
    try:
        page = await anext(pages)
    except StopAsyncIteration:
        return None
    return [row async for row in page]
