"""A server on Cosmos DB shows what one on SQLite shows: the same calls give the same JSON but for ids and times."""

from __future__ import annotations

import asyncio
import io
import json
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import soundfile
from cosmos.process import running
from peers.client_gateway import write_bookings
from peers.cosmos_servers import cosmos_settings
from peers.scheduled_calls import HEARD_S, masked
from peers.server_callers import calling, run, soon
from peers.server_process import Server, serving
from peers.server_stores import STORES, shared_store

from bench.processes import cpu_s

pytestmark = [pytest.mark.sockets]

READY_CPU_S = 2.0
STARTS = 3
AGENT = """
model: scripted/scripts/{name}.yaml
instructions: Take bookings for the Harbour Restaurant.
tools:
  - mcp: bookings
recording: on
replay: full
"""
SCRIPT = """
pace: fast
ms_per_word: 100
turns:
  - when: {text: table}
    calls:
      - {name: find_tables, arguments: {date: tomorrow, time: "19:00", party_size: 2}}
  - {when: {tool: find_tables}, say: There is one. In what name?}
  - when: {text: Robinson}
    calls:
      - name: book_table
        arguments: {date: tomorrow, time: "19:00", party_size: 2, name: Robinson, phone: "+44 1"}
  - {when: {tool: book_table}, say: It is booked.}
otherwise: {say: "Pardon?"}
"""


def write_files(folder: Path) -> None:
    """Two agents that take bookings, with a day that does not change."""
    (folder / "agents" / "scripts").mkdir(parents=True)
    for name in ("desk", "terrace"):
        (folder / "agents" / f"{name}.yaml").write_text(AGENT.format(name=name))
        (folder / "agents" / "scripts" / f"{name}.yaml").write_text(SCRIPT)
    write_bookings(folder)


def book(server: Server, agent: str, *said: str) -> str:
    """A call in which the caller types this; its session, once its recording is made."""

    async def main() -> str:
        async with calling(server, agent) as caller:
            for text in said:
                await caller.say(text)
                done = await caller.until("response.done")
                if any(item["type"] == "function_call" for item in done["response"]["output"]):
                    await caller.until("response.done")
                await asyncio.sleep(HEARD_S)
        session_id = caller.session_id
        await soon(lambda: server.ended(session_id)["recording"]["state"] == "ready", "the recording is not made", 15)
        return session_id

    return run(main)


def pages(server: Server, query: str = "") -> list[Any]:
    """The list of sessions, one a page, with what each page says."""
    found: list[Any] = []
    after = ""
    while True:
        status, page = server.ask(f"/api/v1/sessions?limit=1{query}{after}")
        assert status == 200, page
        found.append({**page, "next_cursor": page["next_cursor"] is not None})
        if page["next_cursor"] is None:
            return found
        after = f"&after={page['next_cursor']}"


def sound_of(server: Server, session_id: str) -> tuple[int, int, bool]:
    """The channels and the rate of a recording, and whether there is sound in it."""
    with urllib.request.urlopen(f"{server.url}/api/v1/sessions/{session_id}/recording", timeout=5) as answer:
        sound, rate_hz = soundfile.read(io.BytesIO(answer.read()))
    return sound.shape[1], rate_hz, bool(abs(sound[:, 1]).max() > 0.01)


def everything(server: Server) -> dict[str, Any]:
    """Make some calls and ask for all that the API shows of them; then delete one and ask again."""
    run(lambda: soon(lambda: "mcp server connected" in server.log(), "the bookings are not connected", 15))
    booked = book(server, "desk", "A table for two", "Robinson")
    for agent in ("terrace", "desk", "terrace"):
        book(server, agent, "Hello")
    of_one = f"/api/v1/sessions/{booked}"
    shown: dict[str, Any] = {
        "session": server.ask(of_one),
        "transcript": server.ask(f"{of_one}/transcript"),
        "pages": pages(server),
        "pages of an agent": pages(server, "&agent=terrace"),
        "pages of live ones": pages(server, "&state=live"),
        "a made-up cursor": server.ask("/api/v1/sessions?after=nowhere"),
        "recording": sound_of(server, booked),
        "events": server.ask(f"{of_one}/events")[0],
        "deleted": server.ask(of_one, method="DELETE"),
        "deleted again": server.ask(of_one, method="DELETE"),
        "gone": [server.ask(f"{of_one}{part}") for part in ("", "/transcript", "/recording", "/events")],
        "pages afterwards": pages(server),
    }
    return {name: masked(json.loads(json.dumps(value).replace(booked, "booked"))) for name, value in shown.items()}


def on_store(folder: Path, kind: str) -> dict[str, Any]:
    """What a server on a store of this kind shows."""
    (folder / kind).mkdir()
    write_files(folder / kind)
    with shared_store(kind, folder / kind) as store, serving(folder / kind, **store) as server:
        return everything(server)


def test_the_same_calls_give_the_same_json_on_both_stores(tmp_path: Path) -> None:
    with ThreadPoolExecutor(len(STORES)) as pool:
        on_sqlite, on_cosmos = pool.map(lambda kind: on_store(tmp_path, kind), STORES)
    for name, value in on_sqlite.items():
        assert on_cosmos[name] == value, name
    texts = json.dumps(on_cosmos["transcript"])
    assert "book_table" in texts
    assert "It is booked." in texts
    assert on_cosmos["session"][1]["recording"]["state"] == "ready"
    assert on_cosmos["recording"] == [2, 24000, True]
    assert [len(on_cosmos[name]) for name in ("pages", "pages of an agent", "pages afterwards")] == [4, 2, 3]
    assert on_cosmos["deleted"][0] == 200
    assert [status for status, _ in on_cosmos["gone"]] == [404] * 4


def test_a_server_on_cosmos_db_is_ready_within_two_seconds_of_cpu_time(tmp_path: Path) -> None:
    used_s = []
    with running() as remote:
        for _ in range(STARTS):
            with serving(tmp_path, **cosmos_settings(remote)) as server:
                until_s = time.monotonic() + 5
                while server.ask("/readyz")[0] != 200:
                    assert time.monotonic() < until_s
                    time.sleep(0.01)
                used_s.append(cpu_s(server.process.pid))
    print(f"ready on Cosmos DB after {', '.join(f'{one:.2f}' for one in used_s)} s of CPU time")
    assert max(used_s) <= READY_CPU_S
