"""What the service answers beside its promises: properties, request units, regions, ranges, refusals."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from azure.cosmos import PartitionKey
from azure.cosmos.aio import CosmosClient
from azure.cosmos.exceptions import CosmosBatchOperationError

from cosmos.epk import effective_key
from cosmos.faults import Fault
from cosmos.rig import KEY_OF_A, POLICY, World, in_world, item, status
from cosmos.templates import KNOWN

pytestmark = pytest.mark.sockets

PAGE = (
    "SELECT TOP @top * FROM c WHERE c.tenant = @tenant AND c.type = 'session' AND c.started_at >= 0"
    " ORDER BY c.started_at DESC, c.session_id DESC"
)
DOCS = "/dbs/patchbay/colls/calls/docs"
KEY = '["acme","s1"]'


def test_the_query_texts_are_those_of_the_store_and_no_others() -> None:
    store = pytest.importorskip("sessions.stores.cosmos_queries")
    assert KNOWN.keys() == store.TEXTS


def test_a_container_keeps_its_properties() -> None:
    async def test(world: World) -> None:
        properties = await world.items.read()
        assert properties["partitionKey"] == {"paths": ["/tenant", "/session_id"], "kind": "MultiHash", "version": 2}
        assert properties["indexingPolicy"] == POLICY
        assert properties["defaultTtl"] == -1
        again = world.database.create_container("calls", PartitionKey("/tenant"))
        assert await status(again) == 409
        other = await world.database.create_container("other", PartitionKey("/tenant"))
        assert "defaultTtl" not in await other.read()
        await other.upsert_item({"id": "here", "tenant": "acme", "ttl": 1})
        world.server.clock.advance(10)
        await other.read_item("here", "acme")  # without defaultTtl nothing expires
        assert await status(world.client.get_database_client("none").read()) == 404
        assert await status(world.database.get_container_client("none").read()) == 404
        await world.database.delete_container("other")
        assert await status(other.read()) == 404

    in_world(test)


def test_operations_cost_what_the_published_figures_say() -> None:
    async def test(world: World) -> None:
        charges: list[float] = []

        def note(headers: Any, _: Any) -> None:
            charges.append(float(headers["x-ms-request-charge"]))

        session = item("session", type="session", state="live", agent="a", started_at=1, purge_after=2)
        session["owner"] = {"boot": "b"}
        await world.items.upsert_item(session, response_hook=note)
        await world.items.replace_item("session", session, response_hook=note)
        await world.items.upsert_item(item("big", words="x" * 10_000), response_hook=note)
        await world.items.read_item("big", KEY_OF_A, response_hook=note)
        turn = ("create", (item("t1", type="turn"),))
        await world.items.execute_item_batch([turn, ("upsert", (session,))], KEY_OF_A, response_hook=note)
        await world.items.delete_item("big", KEY_OF_A, response_hook=note)
        named: list[dict[str, object]] = [{"name": "@type", "value": "turn"}]
        text = "SELECT * FROM c WHERE c.type = @type ORDER BY c.id"
        found = world.items.query_items(text, parameters=named, partition_key=KEY_OF_A, response_hook=note)
        assert len([one async for one in found]) == 1
        assert charges == pytest.approx([6.1, 12.2, 11.0, 10.0, 17.8, 6.0, 4.0], abs=0.05)
        counted = world.server.counters
        assert sum(counted.charge[name] for name in ("upsert", "read", "batch")) == pytest.approx(
            6.1 + 11 + 10 + 17.8, abs=0.1
        )
        assert counted.requests["batch"] == 1

    in_world(test)


def test_a_tenant_that_lies_in_two_physical_ranges_is_found_whole() -> None:
    tenant = effective_key(("acme",))

    async def test(world: World) -> None:
        for number in range(20):
            await world.put("session", session_id=f"s{number}", type="session", started_at=number)
        await world.put("session", "other", "s1", type="session", started_at=1)
        assert all(list(shard.all()) for shard in world.server.service.shards())
        world.server.counters.reset()
        pages = await world.pages(PAGE, ["acme"], size=3, top=100, tenant="acme")
        assert len({one["session_id"] for page in pages for one in page}) == 20
        assert max(len(page) for page in pages) <= 3

    in_world(test, ranges=[tenant + "20"])


def test_a_prefix_query_visits_only_the_ranges_of_its_tenant() -> None:
    async def test(world: World) -> None:
        await world.put("session", type="session", started_at=1)
        world.server.counters.reset()
        await world.ask(PAGE, ["acme"], top=10, tenant="acme")
        assert world.server.counters.requests["query"] == 1
        live = "SELECT * FROM c WHERE c.type = 'session' AND c.state = 'live'"
        await world.ask(live)
        assert world.server.counters.requests["query"] == 1 + 5

    in_world(test, ranges=5)


def test_an_account_with_several_write_regions_says_so() -> None:
    async def test(world: World) -> None:
        account = await world.client._get_database_account()
        assert account._EnableMultipleWritableLocations is True
        assert len(account.WritableLocations) == 2
        await world.put("here")
        await world.read("here")

    in_world(test, write_regions=2)


def test_one_write_region_is_the_rule() -> None:
    async def test(world: World) -> None:
        assert (await world.client._get_database_account())._EnableMultipleWritableLocations is False

    in_world(test)


@pytest.mark.parametrize(
    "wrong",
    [
        {"ttl": 0},
        {"ttl": None},
        {"ttl": "60"},
        {"ttl": True},
        {"ttl": 2**31},
        {"id": "a/b"},
        {"id": "a?b"},
        {"id": "x" * 1024},
        {"id": 5},
    ],
    ids=repr,
)
def test_an_item_of_the_wrong_shape_is_refused(wrong: dict[str, Any]) -> None:
    async def test(world: World) -> None:
        body = orjson.dumps(item("here") | wrong)
        told = {"x_ms_documentdb_partitionkey": KEY, "x_ms_documentdb_is_upsert": "True"}
        assert (await world.raw("POST", DOCS, body, **told))[0] == 400
        assert await world.ask("SELECT VALUE c.id FROM c", KEY_OF_A) == []

    in_world(test)


def test_a_request_that_makes_no_sense_is_refused() -> None:
    async def test(world: World) -> None:
        key = {"x_ms_documentdb_partitionkey": KEY}
        query = {"content_type": "application/query+json", "x_ms_documentdb_isquery": "True"}
        text = b'{"query": "SELECT VALUE c.id FROM c"}'
        cases = [
            world.raw("POST", DOCS, b"not json", **key),
            world.raw("POST", DOCS, b"[]", **key),
            world.raw("POST", DOCS, b"{}", x_ms_documentdb_partitionkey='["acme"]'),
            world.raw("GET", DOCS + "/here"),
            world.raw("GET", DOCS, b"", **key),  # neither a query nor the change feed
            world.raw("GET", DOCS, a_im="Incremental feed"),  # of no range
            world.raw("POST", DOCS, b"[]", **key, x_ms_cosmos_is_batch_request="True"),
            world.raw(
                "POST", DOCS, b'[{"operationType": "Patch", "id": "a"}]', **key, x_ms_cosmos_is_batch_request="True"
            ),
            world.raw("POST", DOCS, text, **query, **key, x_ms_continuation="made up"),
            world.raw("POST", DOCS, text, **query, **key, x_ms_max_item_count="many"),
            world.raw("POST", DOCS, text, **query, **key, x_ms_session_token="0:newest"),
            world.raw("POST", DOCS, b'{"query": "SELECT * FROM c WHERE c.type = @type ORDER BY c.id"}', **query, **key),
            world.raw("POST", DOCS, text, **query, x_ms_cosmos_is_query_plan_request="True"),
        ]
        assert [(await case)[0] for case in cases] == [400] * len(cases)
        assert (await world.raw("GET", "/offers"))[0] == 405
        gone = {**query, "x_ms_documentdb_partitionkeyrangeid": "9"}
        code, headers = await world.raw("POST", DOCS, text, **gone)
        assert (code, headers["x-ms-substatus"]) == (410, "1002")

    in_world(test)


def test_an_item_that_its_reader_has_is_not_sent_again() -> None:
    async def test(world: World) -> None:
        etag = (await world.put("here"))["_etag"]
        key = {"x_ms_documentdb_partitionkey": KEY}
        assert (await world.raw("GET", DOCS + "/here", b"", **key, if_none_match=etag))[0] == 304
        assert (await world.raw("GET", DOCS + "/here", b"", **key, if_none_match='"old"'))[0] == 200

    in_world(test)


def test_an_upsert_under_an_etag_creates_what_is_not_there() -> None:
    async def test(world: World) -> None:
        body = orjson.dumps(item("here"))
        told = {"x_ms_documentdb_partitionkey": KEY, "x_ms_documentdb_is_upsert": "True"}
        assert (await world.raw("POST", DOCS, body, **told, if_match='"old"'))[0] == 201

    in_world(test)


def test_what_one_transaction_wrote_comes_in_one_page_of_the_feed() -> None:
    async def test(world: World) -> None:
        batch = [("create", (item(f"t{number}"),)) for number in range(5)]
        await world.items.execute_item_batch(batch, KEY_OF_A)
        await world.put("later")
        pages = world.items.query_items_change_feed(start_time="Beginning", max_item_count=2).by_page()
        found = [[one["id"] async for one in page] async for page in pages]
        assert [page for page in found if page] == [["t0", "t1", "t2", "t3", "t4"], ["later"]]

    in_world(test)


def test_a_server_that_was_away_has_what_it_had() -> None:
    async def test(world: World) -> None:
        await world.put("here")
        await world.server.stop()
        await world.server.start()
        async with CosmosClient(world.server.url, world.server.key) as client:
            items = client.get_database_client("patchbay").get_container_client("calls")
            assert (await items.read_item("here", KEY_OF_A))["id"] == "here"

    in_world(test)


def test_the_journal_has_each_committed_write_in_order() -> None:
    async def test(world: World) -> None:
        await world.put("before")
        await world.raw("POST", "/_control/journal")
        made = await world.put("session")
        await world.items.create_item(item("turn"))
        assert await status(world.items.create_item(item("turn"))) == 409
        await world.items.execute_item_batch(
            [("replace", ("session", item("session", n=2)), {"if_match_etag": made["_etag"]}), ("delete", ("turn",))],
            partition_key=KEY_OF_A,
        )
        with pytest.raises(CosmosBatchOperationError):
            await world.items.execute_item_batch([("upsert", (item("new"),)), ("delete", ("turn",))], KEY_OF_A)
        await world.items.delete_item("session", KEY_OF_A)
        journal = world.server.journal or []
        assert [[(found["id"], found.get("n")) for found in write] for write in journal] == [
            [("session", None)],
            [("turn", None)],
            [("session", 2), ("turn", None)],
            [("session", None)],
        ]

    in_world(test)


def test_control_routes_do_what_the_methods_do() -> None:
    async def test(world: World) -> None:
        assert (await world.raw("POST", "/_control/clock", b'{"set_s": 1000000}'))[0] == 200
        await world.raw("POST", "/_control/clock", b'{"advance_s": 5}')
        assert (await world.put("here"))["_ts"] == 1_000_005
        fault = orjson.dumps({"kind": "status", "status": 400, "operations": ["read"], "count": 1})
        assert (await world.raw("POST", "/_control/faults", fault))[0] == 200
        assert await status(world.read("here")) == 400
        assert world.server.faults == [Fault("status", status=400, operations=("read",), count=1, _seen=1, struck=1)]
        await world.raw("DELETE", "/_control/faults")
        assert world.server.faults == []
        await world.raw("POST", "/_control/broken", b'["missing_read"]')
        assert await status(world.read("none")) == 200
        assert (await world.raw("POST", "/_control/broken", b'["thrift"]'))[0] == 400
        assert (await world.raw("GET", "/_control/counters"))[0] == 200
        await world.raw("DELETE", "/_control/counters")
        assert sum(world.server.counters.requests.values()) == 0
        assert (await world.raw("GET", "/_control/nothing"))[0] == 404

    in_world(test)


def test_a_token_of_more_than_the_server_has_is_refused() -> None:
    async def test(world: World) -> None:
        await world.put("here")
        code, headers = await world.raw(
            "GET", DOCS + "/here", b"", x_ms_documentdb_partitionkey=KEY, x_ms_session_token="0:-1#9"
        )
        assert (code, headers["x-ms-substatus"]) == (404, "1002")

    in_world(test)


def test_an_item_of_no_container_is_told_from_a_missing_item() -> None:
    async def test(world: World) -> None:
        for place, substatus in (("calls", None), ("none", "1003")):
            path = f"/dbs/patchbay/colls/{place}/docs/here"
            code, headers = await world.raw("GET", path, b"", x_ms_documentdb_partitionkey=KEY)
            assert (code, headers.get("x-ms-substatus")) == (404, substatus)

    in_world(test)


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
def test_a_page_holds_four_megabytes() -> None:
    async def test(world: World) -> None:
        for number in range(3):
            await world.put(f"t{number}", type="turn", words="x" * 1_900_000)
        text = "SELECT * FROM c WHERE c.type = @type ORDER BY c.id"
        pages = await world.pages(text, KEY_OF_A, type="turn")
        assert [[one["id"] for one in page] for page in pages] == [["t0", "t1"], ["t2"]]

    in_world(test)
