"""One proof a promise, of single items and batches: it holds while the promise is kept, and fails when it is broken."""

from __future__ import annotations

from typing import Any

from azure.core import MatchConditions
from azure.cosmos.exceptions import CosmosBatchOperationError

from cosmos.faults import Fault
from cosmos.rig import KEY_OF_A, World, item, status

STALE: dict[str, Any] = {"etag": '"stale"', "match_condition": MatchConditions.IfNotModified}
BIG = "x" * (2 * 1024 * 1024)


async def missing_read(world: World) -> None:
    assert await status(world.read("none")) == 404
    await world.put("here")
    assert await status(world.read("here")) == 200
    assert await status(world.read("here", ["acme", "s2"])) == 404


async def missing_replace(world: World) -> None:
    assert await status(world.items.replace_item("none", item("none"))) == 404
    assert await world.ask("SELECT VALUE c.id FROM c", KEY_OF_A) == []


async def missing_delete(world: World) -> None:
    assert await status(world.items.delete_item("none", KEY_OF_A)) == 404


async def create_conflict(world: World) -> None:
    await world.put("here", n=1)
    assert await status(world.items.create_item(item("here", n=2))) == 409
    assert (await world.read("here"))["n"] == 1


async def if_match_replace(world: World) -> None:
    etag = (await world.put("here", n=1))["_etag"]
    assert await status(world.items.replace_item("here", item("here", n=2), **STALE)) == 412
    assert (await world.read("here"))["n"] == 1
    await world.items.replace_item("here", item("here", n=3), **(STALE | {"etag": etag}))
    assert (await world.read("here"))["n"] == 3


async def if_match_upsert(world: World) -> None:
    await world.put("here", n=1)
    assert await status(world.items.upsert_item(item("here", n=2), **STALE)) == 412
    assert (await world.read("here"))["n"] == 1


async def if_match_delete(world: World) -> None:
    etag = (await world.put("here"))["_etag"]
    assert await status(world.items.delete_item("here", KEY_OF_A, **STALE)) == 412
    await world.read("here")
    await world.items.delete_item("here", KEY_OF_A, **(STALE | {"etag": etag}))


async def if_match_batch(world: World) -> None:
    etag = (await world.put("here", n=1))["_etag"]
    for name, arguments in (("replace", ("here", item("here", n=2))), ("upsert", (item("here", n=2),))):
        failed = await _failed(world, [(name, arguments, {"if_match_etag": '"stale"'})])
        assert (failed.status_code, failed.error_index) == (412, 0)
    await _failed(world, [("delete", ("here",), {"if_match_etag": '"stale"'})])
    assert (await world.read("here"))["n"] == 1
    operation = ("replace", ("here", item("here", n=3)), {"if_match_etag": etag})
    (result,) = await world.items.execute_item_batch([operation], KEY_OF_A)
    assert (result["statusCode"], result["resourceBody"]["n"]) == (200, 3)
    assert result["eTag"] == (await world.read("here"))["_etag"] != etag


async def new_etag(world: World) -> None:
    etags = [(await world.put("here", n=1))["_etag"] for _ in range(3)]
    await world.items.delete_item("here", KEY_OF_A)
    etags.append((await world.put("here", n=1))["_etag"])
    assert len(set(etags)) == 4


async def whole_item(world: World) -> None:
    await world.put("here", old=1)
    await world.put("here", new=1)
    assert "old" not in await world.read("here")


async def deleted(world: World) -> None:
    await world.put("here")
    await world.items.delete_item("here", KEY_OF_A)
    assert await status(world.read("here")) == 404
    assert await world.ask("SELECT VALUE c.id FROM c", KEY_OF_A) == []


async def batch_atomic(world: World) -> None:
    await world.put("here", n=1)
    operations = [
        ("upsert", (item("here", n=2),)),
        ("create", (item("new"),)),
        ("delete", ("none",)),
        ("upsert", (item("last"),)),
    ]
    failed = await _failed(world, operations)
    assert (failed.status_code, failed.error_index) == (404, 2)
    assert [one["statusCode"] for one in failed.operation_responses] == [424, 424, 404, 424]
    assert (await world.read("here"))["n"] == 1
    assert await world.ask("SELECT VALUE c.id FROM c", KEY_OF_A) == ["here"]


async def batch_operations(world: World) -> None:
    many = [("upsert", (item(f"i{number}"),)) for number in range(101)]
    assert await status(world.items.execute_item_batch(many, KEY_OF_A)) == 400
    assert len(await world.items.execute_item_batch(many[:100], KEY_OF_A)) == 100


async def item_size(world: World) -> None:
    assert await status(world.put("big", words=BIG)) == 413
    assert await status(world.put("big", words=BIG[:2_000_000])) == 200


async def request_size(world: World) -> None:
    halves = [("upsert", (item(name, words=BIG[: len(BIG) // 2]),)) for name in ("one", "two")]
    assert await status(world.items.execute_item_batch(halves, KEY_OF_A)) == 413
    assert await status(world.items.execute_item_batch(halves[:1], KEY_OF_A)) == 200


async def key_in_body(world: World) -> None:
    operation = ("upsert", (item("here", session_id="s2"),))
    failed = await _failed(world, [operation])
    assert (failed.status_code, failed.operation_responses[0]["subStatusCode"]) == (400, 1001)


async def partitions(world: World) -> None:
    await world.put("session", session_id="s1", n=1)
    await world.put("session", session_id="s2", n=2)
    await world.put("session", tenant="other", session_id="s1", n=3)
    places = (["acme", "s1"], ["acme", "s2"], ["other", "s1"])
    assert [(await world.read("session", place))["n"] for place in places] == [1, 2, 3]


async def ttl(world: World) -> None:
    world.server.clock.set(1_000_000.5)
    await world.put("kept")
    await world.put("brief", ttl=60)
    world.server.clock.advance(30)
    await world.put("renewed", ttl=60)
    await world.put("brief", ttl=60)  # counts from its last write
    world.server.clock.set(1_000_089.9)
    assert await _ids(world) == ["brief", "kept", "renewed"]
    world.server.clock.set(1_000_090)
    assert await _ids(world) == ["kept"]
    assert await status(world.read("brief")) == 404
    assert [change["id"] for change in (await world.changed())[0]] == ["kept"]
    assert await status(world.items.replace_item("brief", item("brief"))) == 404
    assert await status(world.items.create_item(item("brief"))) == 200


async def ts(world: World) -> None:
    world.server.clock.set(1_000_000.9)
    assert (await world.put("here"))["_ts"] == 1_000_000
    world.server.clock.advance(5)
    assert (await world.put("here"))["_ts"] == 1_000_005
    assert (await world.read("here"))["_ts"] == 1_000_005


async def session(world: World) -> None:
    await world.put("here", n=1)
    world.server.inject(Fault("lag"))
    assert (await world.read("here"))["n"] == 1
    await world.put("here", n=2)
    assert (await world.read("here"))["n"] == 2
    assert [found["n"] for found in await world.ask(OF_TYPE, KEY_OF_A, type="t")] == []
    await world.put("typed", type="t")
    assert [found["id"] for found in await world.ask(OF_TYPE, KEY_OF_A, type="t")] == ["typed"]


async def charge(world: World) -> None:
    charged: list[str] = []
    await world.items.upsert_item(item("here"), response_hook=lambda headers, _: _note(charged, headers))
    await world.items.read_item("here", KEY_OF_A, response_hook=lambda headers, _: _note(charged, headers))
    assert charged == ["5.50", "1.00"]


OF_TYPE = "SELECT * FROM c WHERE c.type = @type ORDER BY c.id"


def _note(charged: list[str], headers: Any) -> None:
    charged.append(headers.get("x-ms-request-charge"))


async def _ids(world: World) -> list[str]:
    return sorted(await world.ask("SELECT VALUE c.id FROM c", KEY_OF_A))


async def _failed(world: World, operations: list[Any]) -> CosmosBatchOperationError:
    try:
        await world.items.execute_item_batch(operations, KEY_OF_A)
    except CosmosBatchOperationError as error:
        return error
    raise AssertionError("the batch succeeded")


PROOFS = {
    proof.__name__: proof
    for proof in (
        missing_read,
        missing_replace,
        missing_delete,
        create_conflict,
        if_match_replace,
        if_match_upsert,
        if_match_delete,
        if_match_batch,
        new_etag,
        whole_item,
        deleted,
        batch_atomic,
        batch_operations,
        item_size,
        request_size,
        key_in_body,
        partitions,
        ttl,
        ts,
        session,
        charge,
    )
}
