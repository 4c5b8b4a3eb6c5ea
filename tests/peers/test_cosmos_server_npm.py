"""A second opinion on the store's query texts and index policy: npm `@vercel/cosmosdb-server`, a parser of its own.

It knows no hierarchical keys, so the container here has a key of one path, ids are unique in it, and every query goes
across partitions. What each text should return is what the stand-in says that it means (`tests/cosmos/templates.py`).
Batches, ETags, ttl and the change feed are wrong in that server, and are not tried.
"""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.cosmos import PartitionKey
from azure.cosmos.aio import ContainerProxy, CosmosClient
from cosmos.auth import KEY
from cosmos.indexing import UNDEFINED, look_up
from cosmos.queries import named
from cosmos.templates import CONDITIONS, KNOWN
from peers.client_calls import NODE, needs_node

from sessions.stores import cosmos_queries as queries

pytestmark = [pytest.mark.node, pytest.mark.sockets]

NOW = 1_000.0
VALUES: dict[str, Any] = {
    "@type": "turn",
    "@boot": "boot_a",
    "@now": NOW,
    "@top": 3,
    "@tenant": "acme",
    "@started_at": 104.0,
    "@session_id": "s4",
    "@agent": "desk",
    "@state": "live",
}


def items() -> list[dict[str, Any]]:
    """Sessions of two tenants, some of them started at the same time, with turns; their ids are unique."""
    found: list[dict[str, Any]] = []
    for number in range(9):
        key = {"tenant": "acme" if number % 4 else "other", "session_id": f"s{number}"}
        ends = {"purge_after": NOW + 100 * (number - 4)}
        session = {
            "started_at": 100.0 + number // 2 * 2,
            "agent": ("desk", "bar")[number % 2],
            "state": ("live", "ended", "live")[number % 3],
            "owner": {"boot": ("boot_a", "boot_b")[number % 2], "fence": 1},
        }
        found.append({"id": f"session_{number}", "type": "session", **key, **ends, **session})
        found += [{"id": f"turn_{number}_{turn}", "type": "turn", **key, **ends} for turn in range(2)]
    found.append({"id": "odd", "type": "session", "tenant": "acme", "session_id": "s9", "started_at": "noon"})
    return found


def expected(text: str) -> list[Any]:
    """What a text returns, as the stand-in understands it."""
    template = KNOWN[text]
    found = [item for item in items() if all(CONDITIONS[where](item, VALUES) for where in template.where)]
    for path, descends in reversed(template.order):
        found.sort(key=lambda item, path=path: look_up(item, path), reverse=descends)  # type: ignore[misc]
    if template.top is not None:
        found = found[: VALUES[template.top]]
    if template.columns is None:
        return found
    if template.value:
        return [item[template.columns[0]] for item in found]
    return [{path: item[path] for path in template.columns if look_up(item, path) is not UNDEFINED} for item in found]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The address of a running server."""
    needs_node("@vercel/cosmosdb-server")
    command = ["node", "cosmosdb_server.mjs"]
    with subprocess.Popen(command, cwd=NODE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        port = int(process.stdout.readline())
        yield f"http://127.0.0.1:{port}/"
        process.stdin.close()


@asynccontextmanager
async def container(url: str, name: str, policy: dict[str, Any]) -> AsyncIterator[ContainerProxy]:
    """A container with this index policy, and all items in it."""
    async with asyncio.timeout(20), CosmosClient(url, KEY, enable_endpoint_discovery=False) as client:
        database = await client.create_database_if_not_exists("patchbay")
        key = PartitionKey("/session_id")
        made = await database.create_container_if_not_exists(name, key, indexing_policy=policy)
        for item in items():
            await made.upsert_item(item)
        yield made


async def ask(made: ContainerProxy, text: str) -> list[Any]:
    """What the server returns, without the fields that it adds."""
    parameters: list[dict[str, object]] = [{"name": name, "value": VALUES[name]} for name in named(text)]
    found = [row async for row in made.query_items(text, parameters=parameters)]
    return [
        {name: value for name, value in row.items() if not name.startswith("_")} if isinstance(row, dict) else row
        for row in found
    ]


def in_order(text: str, rows: list[Any]) -> list[Any]:
    """The rows as they came where the text has an ORDER BY, and otherwise sorted."""
    return rows if KNOWN[text].order else sorted(rows, key=repr)


@pytest.mark.parametrize("text", sorted(queries.TEXTS))
def test_another_parser_understands_a_text_as_the_stand_in_does(url: str, text: str) -> None:
    async def main() -> None:
        async with container(url, "calls", queries.INDEXING_POLICY) as made:
            assert in_order(text, await ask(made, text)) == in_order(text, expected(text)) != []

    asyncio.run(main())


def test_the_pages_of_sessions_need_the_composite_index(url: str) -> None:
    text = queries.sessions_text(after=False, agent=False, state=False)
    policy = {name: value for name, value in queries.INDEXING_POLICY.items() if name != "compositeIndexes"}

    async def main() -> None:
        async with container(url, "plain", policy) as made:
            with pytest.raises(HttpResponseError) as refusal:
                await ask(made, text)
            assert refusal.value.status_code == 400
            assert "composite index" in str(refusal.value)

    asyncio.run(main())
