"""One proof a promise, of queries, the change feed and access."""

from __future__ import annotations

from typing import Any

import orjson
from azure.cosmos.aio import CosmosClient

from cosmos.auth import TokenCredential
from cosmos.rig import KEY_OF_A, POLICY, World, item, status

OF_TYPE = "SELECT * FROM c WHERE c.type = @type ORDER BY c.id"
LIVE = "SELECT * FROM c WHERE c.type = 'session' AND c.state = 'live'"
PAGE = (
    "SELECT TOP @top * FROM c WHERE c.tenant = @tenant AND c.type = 'session' AND c.started_at >= 0"
    " ORDER BY c.started_at DESC, c.session_id DESC"
)
OTHER_KEY = "YW5vdGhlciBrZXk="


async def sessions(world: World, tenants: tuple[str, ...] = ("acme", "birch", "cedar", "dune"), each: int = 5) -> None:
    """Some live sessions of some tenants; each third starts in the same millisecond as the one before it."""
    for tenant in tenants:
        for number in range(each):
            fields: dict[str, Any] = {
                "type": "session",
                "state": "live",
                "started_at": 1000 + number - (number % 3 == 2),
            }
            await world.put("session", tenant, f"s{number}", **fields)


async def prefix(world: World) -> None:
    await sessions(world)
    for tenant in ("acme", "birch", "cedar", "dune", "elm"):
        found = await world.ask(PAGE, [tenant], top=100, tenant=tenant)
        assert len(found) == (0 if tenant == "elm" else 5)
    # The text names another tenant than the key: what the range does not hold is not found.
    assert await world.ask(PAGE, ["acme"], top=100, tenant="birch") == []


async def cross_partition(world: World) -> None:
    await sessions(world)
    assert len(await world.ask(LIVE)) == 20
    await world.put("ended", "acme", "s9", type="session", state="ended")
    assert len(await world.ask(LIVE)) == 20
    # The SDK always sends the header with a query that has no key.
    body = orjson.dumps({"query": LIVE, "parameters": []})
    told = {"content_type": "application/query+json", "x_ms_documentdb_isquery": "True"}
    assert (await world.raw("POST", "/dbs/patchbay/colls/calls/docs", body, **told))[0] == 400
    told["x_ms_documentdb_query_enablecrosspartition"] = "True"
    assert (await world.raw("POST", "/dbs/patchbay/colls/calls/docs", body, **told))[0] == 200


async def filter(world: World) -> None:
    await world.put("one", type="turn")
    await world.put("two", type="note")
    await world.put("three")
    assert [found["id"] for found in await world.ask(OF_TYPE, KEY_OF_A, type="turn")] == ["one"]


async def order(world: World) -> None:
    await sessions(world, ("acme",))
    found = await world.ask(PAGE, ["acme"], top=100, tenant="acme")
    assert [one["session_id"] for one in found] == ["s4", "s3", "s2", "s1", "s0"]
    for item_id in ("t2", "t10", "t1"):
        await world.put(item_id, type="turn")
    assert [one["id"] for one in await world.ask(OF_TYPE, KEY_OF_A, type="turn")] == ["t1", "t10", "t2"]


async def top(world: World) -> None:
    await sessions(world, ("acme",))
    pages = await world.pages(PAGE, ["acme"], size=2, top=3, tenant="acme")
    assert [[one["session_id"] for one in page] for page in pages] == [["s4", "s3"], ["s2"]]


async def continuation(world: World) -> None:
    for number in range(7):
        await world.put(f"t{number}", type="turn")
    pages = await world.pages(OF_TYPE, KEY_OF_A, size=3, type="turn")
    assert [[one["id"] for one in page] for page in pages] == [["t0", "t1", "t2"], ["t3", "t4", "t5"], ["t6"]]
    await sessions(world)
    found = [(one["tenant"], one["session_id"]) for page in await world.pages(LIVE, size=2) for one in page]
    assert len(found) == len(set(found)) == 20


async def query_texts(world: World) -> None:
    await world.put("here")
    assert await status(world.ask("SELECT * FROM c", KEY_OF_A)) == 400
    assert await status(world.ask("SELECT *  FROM c\n WHERE c.type = @type ORDER BY c.id", KEY_OF_A, type="t")) == 200


async def composite_index(world: World) -> None:
    await _bare(world)
    assert await status(world.ask(PAGE, ["acme"], top=9, tenant="acme")) == 200
    assert await status(_all(_in_bare(world, PAGE, ["acme"], top=9, tenant="acme"))) == 400


async def order_index(world: World) -> None:
    await _bare(world)
    assert await status(_all(_in_bare(world, OF_TYPE, KEY_OF_A, type="t"))) == 400


async def feed_updates(world: World) -> None:
    await world.put("one")
    await world.put("two")
    _, place = await world.changed()
    await world.put("one", n=2)
    found, _ = await world.changed(place)
    assert [(one["id"], one["n"]) for one in found] == [("one", 2)]


async def feed_order(world: World) -> None:
    for item_id in ("one", "two", "three", "one"):
        await world.put(item_id)
    found, _ = await world.changed()
    assert [one["id"] for one in found] == ["two", "three", "one"]
    assert sorted(one["_lsn"] for one in found) == [one["_lsn"] for one in found]


async def feed_position(world: World) -> None:
    await sessions(world)
    found, place = await world.changed(size=3)
    assert len({(one["tenant"], one["session_id"]) for one in found}) == len(found) == 20
    assert (await world.changed(place))[0] == []
    await world.put("new", "cedar", "s1")
    found, place = await world.changed(place)
    assert [one["id"] for one in found] == ["new"]
    assert (await world.changed(place))[0] == []


async def feed_deletions(world: World) -> None:
    await world.put("one")
    await world.put("two")
    await world.items.delete_item("one", KEY_OF_A)
    found, place = await world.changed()
    assert [one["id"] for one in found] == ["two"]
    await world.items.delete_item("two", KEY_OF_A)
    assert (await world.changed(place))[0] == []


async def key(world: World) -> None:
    assert (await world.raw("GET", "/dbs/patchbay"))[0] == 200
    assert (await world.raw("GET", "/dbs/patchbay", key=OTHER_KEY))[0] == 401
    assert (await world.raw("GET", "/dbs/patchbay", key=""))[0] == 401


async def token(world: World) -> None:
    given = world.server.issuer.token()
    async with CosmosClient(world.server.url, TokenCredential(given)) as client:
        items = client.get_database_client("patchbay").get_container_client("calls")
        await items.upsert_item(item("here"))
        world.server.issuer.revoke(given)
        assert await status(items.upsert_item(item("here"))) == 401


async def role(world: World) -> None:
    given = world.server.issuer.token()
    async with CosmosClient(world.server.url, TokenCredential(given)) as client:
        items = client.get_database_client("patchbay").get_container_client("calls")
        await items.upsert_item(item("here"))
        assert await status(client.create_database("another")) == 403
        world.server.issuer.take_role(given)
        assert await status(items.upsert_item(item("here"))) == 403


async def _all(found: Any) -> list[Any]:
    return [one async for one in found]


async def _bare(world: World) -> None:
    """A container whose index knows neither the pair of the list nor the ids."""
    nothing = POLICY | {"compositeIndexes": [], "indexingMode": "none", "automatic": False}
    properties = await world.items.read()
    await world.database.create_container("bare", properties["partitionKey"], indexing_policy=nothing)


def _in_bare(world: World, text: str, within: list[str], **parameters: Any) -> Any:
    named = [{"name": f"@{name}", "value": value} for name, value in parameters.items()]
    return world.database.get_container_client("bare").query_items(text, parameters=named, partition_key=within)


PROOFS = {
    proof.__name__: proof
    for proof in (
        prefix,
        cross_partition,
        filter,
        order,
        top,
        continuation,
        query_texts,
        composite_index,
        order_index,
        feed_updates,
        feed_order,
        feed_position,
        feed_deletions,
        key,
        token,
        role,
    )
}
