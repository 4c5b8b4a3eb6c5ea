"""A server on Cosmos DB while the store is gone, busy, or loses its answers: no call and no document is lost.

The store is the stand-in, in a process of its own. By default each trouble is short.
`TEST_OUTAGE_S=60 TEST_CALLS=100 TEST_RUNS=3 TEST_CUTS=300` makes it as long as a real one; `-s` shows
the figures.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cosmos.process import Remote, running
from peers.cosmos_servers import FAULTS, LEAVES, cosmos_settings, documents, mend, readiness
from peers.scheduled_calls import ScheduledCall, changes, hold_all, records
from peers.server_callers import all_of, calling, run, soon
from peers.server_process import Server, serving

pytestmark = [pytest.mark.sockets, pytest.mark.timed]

OUTAGE_S = float(os.environ.get("TEST_OUTAGE_S", "4"))
CALLS = int(os.environ.get("TEST_CALLS", "20"))
RUNS = int(os.environ.get("TEST_RUNS", "1"))
CUTS = int(os.environ.get("TEST_CUTS", "75"))
CUTS_AT_ONCE = 25
CUT_OF = 7  # the most requests between two that are cut
CUTS_S = 5.0  # calls that have to wait for the store make fewer requests
TURN_S = max(1.0, CALLS / 50)  # a turn of every call, so that there are 50 turns a second at most
BEFORE_S = 2.0
AFTER_S = 2.0
BACK_S = 45.0  # a store that is lost is tried again after 30 s at the latest
SETTLED_S = 20.0 + CALLS  # recordings are made one after the other
# A hung store is lost once the first write is given up; a shorter trouble may pass unseen.
SEEN_S = {"hung": 12.0, "429 on every second request": 30.0}


def schedule() -> list[ScheduledCall]:
    """Calls that last through the whole trouble; beside them, a fifth that end in it, and a fifth that begin in it."""
    whole = round((BEFORE_S + OUTAGE_S + AFTER_S) / TURN_S)
    half = round((BEFORE_S + OUTAGE_S / 2) / TURN_S)
    more = CALLS // 5
    begins = [(0.0, whole)] * CALLS + [(0.0, half)] * more + [(BEFORE_S + OUTAGE_S / 2, whole - half)] * more
    phase = TURN_S / len(begins)
    return [
        ScheduledCall(number, begin_s + number * phase, turns, TURN_S) for number, (begin_s, turns) in enumerate(begins)
    ]


@dataclass
class Watch:
    """What /readyz says all the time."""

    states: set[str] = field(default_factory=set)
    most: int = 0  # documents that waited beside the store

    async def look(self, server: Server) -> None:
        """Look until cancelled."""
        while True:
            state, beside = await asyncio.to_thread(readiness, server)
            self.states.add(state)
            self.most = max(self.most, beside)
            await asyncio.sleep(0.1)


async def trouble(server: Server, remote: Remote, fault: str) -> dict[str, Any]:
    """Wait, let the store fail for OUTAGE_S, and see it come back; what was seen meanwhile."""
    watch = Watch()
    await asyncio.sleep(BEFORE_S)
    async with asyncio.TaskGroup() as tasks:
        looking = tasks.create_task(watch.look(server))
        began_s = time.monotonic()
        await asyncio.to_thread(FAULTS[fault], remote.url, OUTAGE_S)
        await asyncio.sleep(began_s + OUTAGE_S - time.monotonic())
        await asyncio.to_thread(mend, remote.url, fault)
        mended_s = time.monotonic()
        await soon(lambda: readiness(server) == ("ok", 0), "the store does not come back", BACK_S)
        looking.cancel()
    return {"states": sorted(watch.states), "most beside": watch.most, "ok after s": time.monotonic() - mended_s}


def settle(server: Server, calls: list[ScheduledCall]) -> None:
    """Wait until all calls have ended and their recordings are made."""

    def is_ready(session_id: str) -> bool:
        return bool(server.ended(session_id, within_s=SETTLED_S)["recording"]["state"] == "ready")

    async def main() -> None:
        for call in calls:
            await soon(lambda call=call: is_ready(call.session_id), "not settled", SETTLED_S)

    run(main, SETTLED_S + 60)


def one_run(folder: Path, fault: str | None) -> tuple[dict[int, list[Any]], dict[str, Any]]:
    """Make all calls on a new server and a new store; their records, and figures."""
    calls = schedule()
    figures: dict[str, Any] = {}

    async def main(server: Server, remote: Remote) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(hold_all(server, calls))
            if fault is not None:
                figures.update(await trouble(server, remote, fault))

    with running() as remote, serving(folder, **cosmos_settings(remote)) as server:
        run(lambda: main(server, remote), OUTAGE_S + BACK_S + 60)
        settle(server, calls)
        figures["calls"] = len(calls)
        for name in ("calls_broken_total", "documents_lost_total", "documents_dropped_total", "sessions_fenced_total"):
            figures[name] = server.figure(name)
        figures["documents_spooled_total"] = server.figure("documents_spooled_total")
        assert readiness(server) == ("ok", 0)
        found = documents(remote)
        figures["documents"] = sum(map(len, found.values()))
        return records(calls, found), figures


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[int, list[Any]]:
    """The records of calls that nothing disturbs."""
    folder = tmp_path_factory.mktemp("undisturbed")
    found, figures = one_run(folder, None)
    print("undisturbed", figures)
    return found


@pytest.mark.parametrize("number", range(RUNS))
@pytest.mark.parametrize("fault", FAULTS)
def test_all_records_are_as_those_of_an_undisturbed_run(
    tmp_path: Path, undisturbed: dict[int, list[Any]], fault: str, number: int
) -> None:
    found, figures = one_run(tmp_path, fault)
    print(f"{fault}, run {number + 1}, {OUTAGE_S:g} s:", figures)
    assert (figures["calls_broken_total"], figures["documents_lost_total"]) == (0, 0)
    assert (figures["documents_dropped_total"], figures["sessions_fenced_total"]) == (0, 0)
    assert len(found) == len(schedule())
    different = {call: changes(record, undisturbed[call]) for call, record in found.items()}
    assert not any(different.values()), {call: paths for call, paths in different.items() if paths}
    if fault in LEAVES or fault == "503" or SEEN_S[fault] <= OUTAGE_S:
        assert ("busy" if fault.startswith("429") else "lost") in figures["states"]
    if fault.startswith("429"):
        assert "lost" not in figures["states"]
    elif "lost" in figures["states"]:
        assert figures["most beside"] > 0


@dataclass
class Talk:
    """A call that takes one turn after the other until it is told to end."""

    number: int
    session_id: str = ""
    texts: list[str] = field(default_factory=list)

    async def hold(self, server: Server, over: asyncio.Event) -> None:
        """Talk until `over` is set."""
        async with calling(server) as caller:
            self.session_id = caller.session_id
            while not over.is_set():
                self.texts.append(f"ping {self.number} {len(self.texts)}")
                await caller.turn(self.texts[-1])
                await asyncio.sleep(0.4 + 0.01 * self.number)


def cut_some(remote: Remote, chance: random.Random) -> None:
    """Cut the answers of CUTS_AT_ONCE requests to come, chosen at random, and wait until they were."""
    remote.control("DELETE", "faults")
    cut = counters(remote)["cut"]
    skipped = 0
    for _ in range(CUTS_AT_ONCE):
        skipped += chance.randrange(CUT_OF)
        remote.control("POST", "faults", {"kind": "cut", "after_commit": True, "count": 1, "skip": skipped})
    until_s = time.monotonic() + CUTS_S
    while counters(remote)["cut"] < cut + CUTS_AT_ONCE and time.monotonic() < until_s:
        time.sleep(0.05)


def test_answers_that_are_lost_after_the_commit_double_lose_and_fence_nothing(tmp_path: Path) -> None:
    talks = [Talk(number) for number in range(20)]
    chance = random.Random(7)

    async def main(server: Server, remote: Remote) -> None:
        over = asyncio.Event()

        async def cutting() -> None:
            while counters(remote)["cut"] < CUTS:
                await asyncio.to_thread(cut_some, remote, chance)
            over.set()

        await all_of(cutting(), *(talk.hold(server, over) for talk in talks))

    with running() as remote, serving(tmp_path, **cosmos_settings(remote)) as server:
        remote.control("POST", "journal")
        run(lambda: main(server, remote), 120)
        for talk in talks:
            server.ended(talk.session_id, within_s=SETTLED_S)
        found = documents(remote)
        seen = counters(remote)
        names = ("documents_lost_total", "documents_dropped_total", "sessions_fenced_total", "documents_spooled_total")
        figures: dict[str, Any] = {name: server.figure(name) for name in names}
    figures |= {"cut": seen["cut"], "requests": seen["requests"], "conflicts": seen["conflicts"]}
    print("connections cut after the commit:", figures)
    assert seen["cut"] >= CUTS
    assert [figures[name] for name in names[:3]] == [0, 0, 0]
    assert found.keys() == {talk.session_id for talk in talks}
    for talk in talks:
        session, *turns = found[talk.session_id]
        assert (session["id"], session["owner"]["fence"]) == ("session", 1)
        assert [turn["entries"][0]["text"] for turn in turns] == talk.texts
        assert session["summary"]["turns"] == len(talk.texts)


def counters(remote: Remote) -> Any:
    """What the stand-in has counted."""
    return remote.control("GET", "counters")
