"""Several gateways on one store: none touches what another owns, and none writes what it has lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.calls.call_rig import later
from support.calls.whole_gateway import DESK, Client, admitted, opened, wish, within
from support.stores.records import session_record
from support.stores.store_contract import HandClock
from support.virtual import run

from gateway.app import Gateway
from gateway.ids import RandomIds
from gateway.state.boots import BOOT, DEAD_S, PARTITION, TENANT, Boots
from gateway.state.taking import take_session
from sessions.stores.contract import Document
from sessions.stores.documents import Owner, session_document, session_from_document


async def call(gateway: Gateway) -> tuple[Client, str]:
    """A client with a call in progress, and the session's id."""
    client = Client(gateway, await admitted(gateway, wish()))
    await later(1)
    return client, str(client.told[0]["session"]["id"])


async def document(gateway: Gateway, session_id: str) -> Document:
    return await gateway.store.get("default", session_id, "session")


async def boots(gateway: Gateway) -> list[object]:
    return [found["id"] for found in await gateway.store.query(TENANT, PARTITION, BOOT)]


def test_the_start_of_a_second_gateway_leaves_the_live_call_of_the_first_alone(tmp_path: Path) -> None:
    store = f"sqlite://{tmp_path}/shared.db"

    async def main() -> None:
        async with opened(tmp_path / "a", store=store, ids=RandomIds()) as first:
            client, session_id = await call(first)
            async with opened(tmp_path / "b", store=store, ids=RandomIds()) as second:
                assert len(await boots(second)) == 2
                await later(10 * DEAD_S)
                assert (await document(second, session_id))["state"] == "live"
            assert len(await boots(first)) == 1
            client.leg.hang_up()
            await first.live_calls.wait_empty()
            await first.write_behind.flush("default", session_id)
            found = await document(first, session_id)
            assert (found["state"], found["end_reason"]) == ("ended", "caller_hung_up")
            assert first.write_behind.counts.conflicts == 0

    run(main())


def test_a_call_whose_session_another_gateway_takes_ends_with_its_next_write(tmp_path: Path) -> None:
    async def main(gateway: Gateway) -> None:
        client, session_id = await call(gateway)
        found = await document(gateway, session_id)
        taken = await take_session(gateway.store, found, session_from_document(found), Owner("2", "other"))
        assert client.closed == []
        client.leg.send(TYPED)
        client.leg.send(b'{"type": "response.create"}')
        await later(5)
        assert client.closed == [(1011, "another server has taken this call over")]
        assert gateway.write_behind.counts.fenced == 1
        assert (await document(gateway, session_id))["etag"] == taken["etag"]
        assert await gateway.store.query("default", session_id, "turn") == []

    within(tmp_path, main)


TYPED = b"""{"type": "conversation.item.create", "item": {"type": "message", "role": "user",
    "content": [{"type": "input_text", "text": "Hello."}]}}"""


def test_the_sessions_of_a_gateway_that_dies_are_ended_within_40_s(tmp_path: Path) -> None:
    async def main(gateway: Gateway) -> None:
        await Boots(gateway.store, "dead", HandClock(), process="2", host="there", version="1").beat()
        await gateway.store.put(session_document(session_record("s1", boot="dead"), ttl_s=None), None)
        await later(DEAD_S)
        assert (await document(gateway, "s1"))["state"] == "live"
        await later(20)
        assert (await document(gateway, "s1"))["end_reason"] == "server_lost"
        assert len(await boots(gateway)) == 1

    within(tmp_path, main)


@pytest.mark.parametrize("deleted", [False, True])
def test_nothing_is_kept_of_a_call_whose_session_another_gateway_deletes(tmp_path: Path, deleted: bool) -> None:
    async def main(gateway: Gateway) -> None:
        client, session_id = await call(gateway)
        client.leg.send(TYPED)
        client.leg.send(b'{"type": "response.create"}')
        await later(5)
        if deleted:
            await gateway.store.delete_session("default", session_id)
        client.leg.send(TYPED)
        client.leg.send(b'{"type": "response.create"}')
        await later(5)
        # A call whose record is gone would go on without one.
        assert client.closed == ([(1011, "this call's record was deleted")] if deleted else [])
        client.leg.hang_up()
        await gateway.live_calls.wait_empty()
        await gateway.finisher.run_waiting()
        await later(5)
        kept = {path.name for path in tmp_path.rglob("*") if path.is_file() and path.parent.name == session_id}
        assert kept == (set() if deleted else {"events.jsonl"})

    within(tmp_path, main, files={"desk.yaml": f"{DESK}replay: text\nrecording: off\n"})
