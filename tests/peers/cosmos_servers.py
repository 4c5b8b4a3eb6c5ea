"""Servers whose store is the stand-in for Cosmos DB: their settings, what the store holds, and how it fails."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from azure.cosmos.aio import CosmosClient
from cosmos.process import Remote, control
from peers.server_process import Server

DATABASE, CONTAINER = "patchbay", "calls"
CUT_S = 0.5  # how long a store that is killed still carries out what it does not answer any more
HINT_MS = 100
Fault = Callable[[str, float], None]  # the address of a stand-in, and for how long it fails


def cosmos_settings(remote: Remote) -> dict[str, str]:
    """The settings of a server on this stand-in."""
    return {
        "PATCHBAY_STORE": f"cosmos+http://127.0.0.1:{remote.port}/{DATABASE}/{CONTAINER}?create=1",
        "PATCHBAY_COSMOS_KEY": remote.key,
    }


def documents(remote: Remote) -> dict[str, list[dict[str, Any]]]:
    """All documents of calls in the store, by session id, in the order of their ids and without Cosmos DB's fields."""

    async def read() -> list[dict[str, Any]]:
        async with CosmosClient(remote.url, remote.key) as client:
            container = client.get_database_client(DATABASE).get_container_client(CONTAINER)
            return [dict(found) async for found in container.query_items_change_feed(start_time="Beginning")]

    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for item in sorted(asyncio.run(read()), key=lambda item: str(item["id"])):
        if item["tenant"] != "_boots":
            shown = {name: value for name, value in item.items() if not name.startswith("_")}
            found[item["session_id"]].append(shown)
    return found


def refuse(url: str, seconds: float) -> None:
    """Connections are refused; those that are there are cut."""
    control(url, "POST", "gone", {"for_s": seconds})


def kill_while_it_answers(url: str, seconds: float) -> None:
    """What comes is carried out and not answered, as if the process died in between; then connections are refused."""
    control(url, "POST", "faults", {"kind": "cut", "after_commit": True})
    asyncio.run(asyncio.sleep(CUT_S))
    control(url, "DELETE", "faults")
    refuse(url, seconds - CUT_S)


def hang(url: str, _: float) -> None:
    """No request is answered."""
    control(url, "POST", "faults", {"kind": "hang"})


def be_unavailable(url: str, _: float) -> None:
    """Every request is answered with 503."""
    control(url, "POST", "faults", {"kind": "status", "status": 503})


def throttle(url: str, _: float) -> None:
    """Every second request is answered with 429."""
    told = {"kind": "status", "status": 429, "substatus": 3200, "retry_after_ms": HINT_MS, "every": 2}
    control(url, "POST", "faults", told)


FAULTS: dict[str, Fault] = {
    "refused": refuse,
    "killed while it answers": kill_while_it_answers,
    "hung": hang,
    "503": be_unavailable,
    "429 on every second request": throttle,
}
LEAVES = ("refused", "killed while it answers")  # these end by themselves


def mend(url: str, fault: str) -> None:
    """End a fault that does not end by itself."""
    if fault not in LEAVES:
        control(url, "DELETE", "faults")


def readiness(server: Server) -> tuple[str, int]:
    """What /readyz says of the store: how it does, and how many documents wait beside it. Calls are taken always."""
    status, ready = server.ask("/readyz")
    assert (status, ready["status"]) == (200, "ready"), ready
    return ready["store"], ready["spooled_documents"]
