"""A whole gateway that starts without its store takes calls, and their records are in the store once it opens."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.api_world import asking
from support.calls.call_rig import later
from support.calls.whole_gateway import Client, admitted, opened, wish, within
from support.stores.records import kept, session_record
from support.virtual import run

from gateway.app import Gateway, StartFailed
from gateway.ids import RandomIds
from gateway.state.boots import BOOT, PARTITION, TENANT
from gateway.state.kept import Fence
from gateway.state.spool import NAME, StateSpool
from gateway.telemetry.names import SPOOL_BYTES, SPOOL_DOCUMENTS
from sessions.stores.documents import session_document

TYPED = b"""{"type": "conversation.item.create", "item": {"type": "message", "role": "user",
    "content": [{"type": "input_text", "text": "Hello."}]}}"""


async def readiness(client: httpx.AsyncClient) -> tuple[int, Any]:
    answer = await client.get("/readyz")
    return answer.status_code, answer.json()


def boot_documents(gateway: Gateway) -> Any:
    return gateway.store.query(TENANT, PARTITION, BOOT)


@pytest.fixture
def blocked(tmp_path: Path) -> Path:
    """The folder of the store's file, which is a file itself."""
    path = tmp_path / "store"
    path.touch()
    return path


def mend(blocked: Path) -> None:
    blocked.unlink()
    blocked.mkdir()


def test_calls_are_taken_without_the_store_and_their_records_are_there_once_it_opens(
    tmp_path: Path, blocked: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main(gateway: Gateway) -> None:
        async with asking(gateway) as http:
            assert (await readiness(http))[0] == 200
            client = Client(gateway, await admitted(gateway, wish()))
            await later(1)
            session_id = str(client.told[0]["session"]["id"])
            client.leg.send(TYPED)
            client.leg.send(b'{"type": "response.create"}')
            await later(600)
            status, ready = await readiness(http)
            assert (status, ready["status"], ready["store"]) == (200, "ready", "lost")
            assert ready["spooled_documents"] >= 2
            assert len(ready["problems"]) == 1
            for path in ("sessions", f"sessions/{session_id}", f"sessions/{session_id}/transcript"):
                answer = await http.get(f"/api/v1/{path}")
                assert (answer.status_code, answer.json()["error"]["code"]) == (503, "store_unavailable")
            assert (await http.get("/api/v1/agents")).status_code == 200
            assert len((await http.get("/api/v1/calls")).json()["calls"]) == 1
            mend(blocked)
            await later(45)
            assert await readiness(http) == (
                200,
                {"status": "ready", "store": "ok", "spooled_documents": 0, "problems": []},
            )
            assert (await http.get(f"/api/v1/sessions/{session_id}")).json()["state"] == "live"
            client.leg.hang_up()
            await gateway.live_calls.wait_empty()
            await later(1)
            found = (await http.get(f"/api/v1/sessions/{session_id}/transcript")).json()
            assert len(found["turns"]) == 1
            assert (await http.get(f"/api/v1/sessions/{session_id}")).json()["state"] == "ended"
            assert len(await boot_documents(gateway)) == 1

    with caplog.at_level(logging.WARNING, "patchbay.state"):
        within(tmp_path / "here", main, store=f"sqlite://{blocked}/x.db", store_at_start="spool")
    told = [record.message for record in caplog.records if record.name in ("patchbay.state", "patchbay")]
    assert [message for message in told if "request" not in message] == [
        "the store is lost; state is spooled",
        "the store is back",
    ]


def test_what_a_dead_instance_left_is_recovered_when_the_store_opens(tmp_path: Path, blocked: Path) -> None:
    folder = tmp_path / "here" / "data" / "boots" / "dead"
    folder.mkdir(parents=True)
    (folder / "lock").touch()
    live = session_document(session_record("s1", boot="dead"), ttl_s=None)
    StateSpool(folder / "state", 10_000).append(kept(live, fence=Fence("dead", 1, None)))

    size_bytes = (folder / "state" / NAME).stat().st_size

    def spooled(gateway: Gateway) -> tuple[float, float]:
        figures = gateway.write_behind.report.figures()
        return figures[SPOOL_DOCUMENTS], figures[SPOOL_BYTES]

    async def main(gateway: Gateway) -> None:
        async with asking(gateway) as http:
            await later(60)
            assert (await readiness(http))[1]["spooled_documents"] == 1
            assert spooled(gateway) == (1, size_bytes)
            mend(blocked)
            await later(45)
            assert (await readiness(http))[1]["spooled_documents"] == 0
            assert spooled(gateway) == (0, 0)
        found = await gateway.store.get("default", "s1", "session")
        assert (found["state"], found["end_reason"]) == ("ended", "server_lost")
        assert not folder.exists()

    within(tmp_path / "here", main, store=f"sqlite://{blocked}/x.db", store_at_start="spool")


def start(tmp_path: Path, **settings: Any) -> Callable[[], None]:
    async def main() -> None:
        async with opened(tmp_path / "here", **settings):
            raise AssertionError("it has started")

    return lambda: run(main())


def test_a_server_that_requires_its_store_does_not_start_without_it(tmp_path: Path, blocked: Path) -> None:
    with pytest.raises(StartFailed, match=r"PATCHBAY_STORE: .*x\.db"):
        start(tmp_path, store=f"sqlite://{blocked}/x.db")()


def test_a_store_of_another_program_stops_the_start_in_any_case(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE letters (text)")
    with pytest.raises(StartFailed, match=r"PATCHBAY_STORE: .*x\.db"):
        start(tmp_path, store=f"sqlite://{path}", store_at_start="spool")()


def test_a_server_that_stops_before_its_store_was_open_leaves_its_records_to_the_next_start(
    tmp_path: Path, blocked: Path
) -> None:
    store = f"sqlite://{blocked}/x.db"
    session_ids: list[str] = []

    async def main() -> None:
        async with opened(tmp_path / "here", store=store, store_at_start="spool", ids=RandomIds()) as gateway:
            client = Client(gateway, await admitted(gateway, wish()))
            await later(1)
            session_ids.append(str(client.told[0]["session"]["id"]))
        mend(blocked)
        (tmp_path / "there").mkdir()
        (tmp_path / "here" / "data").rename(tmp_path / "there" / "data")
        async with opened(tmp_path / "there", store=store, ids=RandomIds()) as gateway:
            found = await gateway.store.get("default", session_ids[0], "session")
            assert found["state"] == "ended"

    run(main())
