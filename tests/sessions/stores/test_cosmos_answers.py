"""Answers that Cosmos DB does not send, as a proxy or a login page gives them: none is taken for an empty store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from cosmos.faults import Fault
from support.stores.cosmos_rig import CosmosRig, with_rig
from support.stores.store_contract import session, turn

from sessions.stores.contract import ABSENT, SessionKey, Store, StoreBusy, StoreFailed, StoreMisconfigured, Write

REQUESTS: dict[str, Callable[[Store], Awaitable[Any]]] = {
    "upsert": lambda store: store.put(session("s1"), None),
    "create": lambda store: store.put(session("s2"), ABSENT),
    "batch": lambda store: store.put_many([Write(session("s1"), None), Write(turn("s1", 0), None)]),
    "read": lambda store: store.get("default", "s1", "session"),
    "query": lambda store: store.query("default", "s1", "session"),
    "sessions": lambda store: store.sessions("default", limit=5, after=None),
    "left_live": lambda store: store.left_live(),
    "expired": lambda store: store.expired(1e10),
    "feed": lambda store: store.changes(None, 5),
    "delete": lambda store: store.delete_document("default", "s1", "turn_00009"),
    "delete_session": lambda store: store.delete_session("default", "s9"),
}
NONSENSE = [
    (200, b""),
    (200, b"null"),
    (200, b"[]"),
    (200, b"{}"),
    (200, b'{"Documents":null}'),
    (200, b"<html>please log in</html>"),
    (204, b""),
    (302, b""),
    (304, b""),
    (307, b"<html></html>"),
]


@pytest.mark.parametrize(
    ("request_of", "status", "body"),
    [
        (request_of, *answer)
        for request_of in REQUESTS
        for answer in NONSENSE
        if not (request_of == "delete" and answer[0] in (200, 204))  # a deletion has no content
    ],
)
def test_an_answer_of_another_shape_is_a_fault_of_the_store(request_of: str, status: int, body: bytes) -> None:
    async def test(rig: CosmosRig) -> None:
        await rig.store.put(session("s1", state="live"), None)
        await rig.store.changes(None, 5)  # the SDK knows the ranges
        rig.server.inject(Fault("odd", status=status, body=body))
        with pytest.raises(StoreFailed, match=r"^127\.0\.0\.1:\d+ answered with something that Cosmos DB") as failed:
            await REQUESTS[request_of](rig.store)
        assert not isinstance(failed.value, StoreBusy | StoreMisconfigured)
        rig.server.clear_faults()
        await REQUESTS[request_of](rig.store)

    with_rig(test)


@pytest.mark.parametrize("status", [200, 204, 302])
def test_a_list_of_ranges_without_ranges_is_a_fault_of_the_store(status: int) -> None:
    async def test(rig: CosmosRig) -> None:
        await rig.store.put(session("s1", state="live"), None)
        rig.server.inject(Fault("odd", status=status, operations=("ranges",)))
        for request_of in ("sessions", "feed"):
            with pytest.raises(StoreFailed, match="does not send"):
                await REQUESTS[request_of](rig.store)
        rig.server.clear_faults()
        assert len((await rig.store.sessions("default", limit=5, after=None)).items) == 1

    with_rig(test)


@pytest.mark.parametrize("request_of", ["upsert", "create", "batch", "read", "query", "sessions", "left_live", "feed"])
def test_an_answer_without_etags_is_a_fault_of_the_store(request_of: str) -> None:
    async def test(rig: CosmosRig) -> None:
        await rig.store.put(session("s1", state="live"), None)
        rig.server.inject(Fault("bare"))
        with pytest.raises(StoreFailed, match="Cosmos DB does not send"):
            await REQUESTS[request_of](rig.store)

    with_rig(test)


@pytest.mark.parametrize("body", [b"[]", b'[{"statusCode":200,"eTag":"x"}]', b'[{"statusCode":200,"eTag":""},{"a":1}]'])
def test_a_batch_answers_for_each_change(body: bytes) -> None:
    async def test(rig: CosmosRig) -> None:
        rig.server.inject(Fault("odd", status=200, body=body))
        with pytest.raises(StoreFailed, match="does not send"):
            await REQUESTS["batch"](rig.store)

    with_rig(test)


def test_rows_that_are_no_items_are_a_fault_of_the_store() -> None:
    async def test(rig: CosmosRig) -> None:
        await rig.store.put(session("s1"), None)
        rig.server.inject(Fault("odd", status=200, body=b'{"Documents":[5]}', operations=("query",)))
        with pytest.raises(StoreFailed, match="does not send"):
            await REQUESTS["query"](rig.store)

    with_rig(test)


def test_an_account_that_answers_nonsense_was_reached() -> None:
    async def test(rig: CosmosRig) -> None:
        rig.server.inject(Fault("odd", status=302, operations=("read_container",)))
        other = rig.another()
        with pytest.raises(StoreFailed, match="does not send"):
            await other.open()

    with_rig(test)


def test_what_was_written_while_answers_had_no_etags_is_found_under_its_key() -> None:
    async def test(rig: CosmosRig) -> None:
        rig.server.inject(Fault("bare", count=1, operations=("create",)))
        with pytest.raises(StoreFailed):
            await REQUESTS["create"](rig.store)
        found = await rig.store.get("default", "s2", "session")
        assert SessionKey("default", "s2") == SessionKey(str(found["tenant"]), str(found["session_id"]))
        assert await rig.store.put(session("s2", n=2), str(found["etag"]))

    with_rig(test)
