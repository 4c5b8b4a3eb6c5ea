"""A server whose disk is full, read-only or gone for a while during calls: no document is lost, and nothing hangs.

The outage is short by default. `TEST_OUTAGE_S=30` makes it as long as a real one.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from peers.server_callers import Caller, calling, run
from peers.server_process import Server, serving
from peers.small_disk import Disk, small_disk

pytestmark = [pytest.mark.sockets, pytest.mark.timed]

OUTAGE_S = float(os.environ.get("TEST_OUTAGE_S", "6"))
CALLS = 20
BACK_S = 10.0  # how soon after the end of an outage everything must be settled
PCMU = {"type": "audio/pcmu"}
FRAME = b"\x55" * 160  # 20 ms


@dataclass
class Talk:
    """A call that sends sound all the time and takes a turn every second."""

    number: int
    session_id: str = ""
    turns: int = 0
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def hold(self, server: Server) -> None:
        """Talk until `over` is set."""
        async with calling(server) as caller:
            self.session_id = caller.session_id
            format = {"input": {"format": PCMU, "turn_detection": None}, "output": {"format": PCMU}}
            await caller.send("session.update", session={"type": "realtime", "audio": format})
            await caller.until("session.updated")
            async with asyncio.TaskGroup() as tasks:
                sound = tasks.create_task(self._sound(caller))
                while not self.over.is_set():
                    await caller.turn("ping")
                    self.turns += 1
                    await asyncio.sleep(1)
                sound.cancel()

    async def _sound(self, caller: Caller) -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time() + self.number * 0.001
        for frame in range(100_000):
            await asyncio.sleep(max(0.0, begun + frame * 0.1 - loop.time()))
            await caller.sound(FRAME * 5)


def recording(server: Server, talk: Talk) -> Any:
    """The facts of a call's recording; None while its session has not ended."""
    status, session = server.ask(f"/api/v1/sessions/{talk.session_id}")
    return session["recording"] if status == 200 and session["state"] == "ended" else None


async def settled(server: Server, talks: list[Talk], since: float, *, within_s: float = BACK_S) -> float:
    """Wait until all these calls have ended and no recording is running; returns how long it took, from `since`."""
    waiting = list(talks)
    while waiting:
        found = [(talk, await asyncio.to_thread(recording, server, talk)) for talk in waiting]
        waiting = [talk for talk, info in found if info is None or info["state"] == "running"]
        took_s = time.monotonic() - since
        assert took_s < within_s, (took_s, [(talk.number, info) for talk, info in found if talk in waiting])
        await asyncio.sleep(0.1)
    return time.monotonic() - since


@asynccontextmanager
async def filled(disk: Disk) -> AsyncIterator[None]:
    """Keep the disk full, also when the server removes files."""

    async def fill() -> None:
        while True:
            await asyncio.to_thread(disk.fill)
            await asyncio.sleep(0.2)

    async with asyncio.TaskGroup() as tasks:
        filling = tasks.create_task(fill())
        await asyncio.sleep(0.3)
        yield
        filling.cancel()
    disk.free()


def test_a_full_disk_during_twenty_calls_loses_no_document_and_only_the_sound_that_it_refused(tmp_path: Path) -> None:
    before = [Talk(number) for number in range(CALLS)]
    during = [Talk(number) for number in range(CALLS, CALLS + 4)]  # they begin while no folder can be made
    figures: dict[str, Any] = {}

    async def main(server: Server, disk: Disk) -> None:
        async with asyncio.TaskGroup() as calls:
            for talk in before:
                calls.create_task(talk.hold(server))
            await asyncio.sleep(4.5)
            async with filled(disk):
                begun = time.monotonic()
                for talk in during:
                    calls.create_task(talk.hold(server))
                await asyncio.sleep(OUTAGE_S / 2)
                for talk in (*before[:10], *during[:2]):
                    talk.over.set()
                await asyncio.sleep(OUTAGE_S / 2)
                figures["held in the outage"] = len((await asyncio.to_thread(server.ask, "/api/v1/calls"))[1]["calls"])
                assert await asyncio.to_thread(server.ask, "/healthz") == (200, {"status": "ok"})
                figures["outage s"] = round(time.monotonic() - begun, 1)
            back = time.monotonic()
            ended = [*before[:10], *during[:2]]
            figures["all ended calls settled after s"] = round(await settled(server, ended, back), 2)
            await asyncio.sleep(5)
            for talk in (*before, *during):
                talk.over.set()
        ended_at = time.monotonic()
        figures["the others settled after s"] = round(
            await settled(server, [*before, *during], ended_at, within_s=30), 2
        )

    with small_disk(tmp_path, "16m") as disk, serving(tmp_path, PATCHBAY_DATA_DIR=str(disk.folder / "data")) as server:
        run(lambda: main(server, disk), seconds=60 + OUTAGE_S)
        figures["documents lost"] = server.figure("documents_lost_total")
        assert figures["documents lost"] == 0
        assert server.figure("calls_broken_total") == 0
        assert server.figure("store_healthy") == 1
        assert figures["held in the outage"] == CALLS - 10 + 2
        for talk in (*before, *during):
            assert len(server.turns(talk.session_id)) >= talk.turns > 0, talk
        states = {talk.number: recording(server, talk) for talk in (*before, *during)}
        for number, info in states.items():
            # Of calls that began and ended in the outage, no block was written.
            expected = "failed" if number in (CALLS, CALLS + 1) else "ready"
            assert (info["state"], info["complete"]) == (expected, False), (number, info)
        for number in range(CALLS - 1, CALLS - 4, -1):  # the disk took sound before the outage and after it
            assert states[number]["duration_ms"] > (OUTAGE_S + 8) * 1000
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        print(figures)


def test_a_server_that_is_stopped_with_a_full_disk_ends_and_logs_what_is_lost(tmp_path: Path) -> None:
    talks = [Talk(number) for number in range(5)]

    async def main(server: Server, disk: Disk) -> None:
        async with filled(disk), asyncio.TaskGroup() as calls:
            for talk in talks:
                calls.create_task(talk.hold(server))
            await asyncio.sleep(3)
            for talk in talks:
                talk.over.set()
        begun = time.monotonic()
        async with filled(disk):
            server.signal(signal.SIGTERM)
            assert await asyncio.to_thread(server.wait, 25) == 0
            assert time.monotonic() - begun < 20
        lost = [line for line in server.log().splitlines() if "session documents were lost" in line]
        assert len(lost) == 1
        assert "the server ends" in lost[0]

    with small_disk(tmp_path, "8m") as disk, serving(tmp_path, PATCHBAY_DATA_DIR=str(disk.folder / "data")) as server:
        run(lambda: main(server, disk), seconds=60)


async def outage(server: Server, talks: list[Talk], begin: Callable[[], None], end: Callable[[], None]) -> float:
    """Hold calls before, during and after an outage; returns how long it takes until everything is settled."""
    async with asyncio.TaskGroup() as calls:
        for talk in talks:
            calls.create_task(talk.hold(server))
        await asyncio.sleep(4.5)
        begin()
        try:
            await asyncio.sleep(3)
            talks[0].over.set()
            await asyncio.sleep(2)
        finally:
            end()
        back = time.monotonic()
        took_s = await settled(server, talks[:1], back)
        for talk in talks:
            talk.over.set()
    await settled(server, talks, time.monotonic(), within_s=30)
    return took_s


def assert_all_kept(server: Server, talks: list[Talk], *, complete: bool) -> None:
    """Assert that each turn is in the record, and that each recording is ready."""
    assert server.figure("documents_lost_total") == 0
    assert server.figure("store_healthy") == 1
    for talk in talks:
        assert len(server.turns(talk.session_id)) >= talk.turns > 0
        info = recording(server, talk)
        assert (info["state"], info["complete"]) == ("ready", complete), info


def test_a_disk_that_is_read_only_for_a_while_loses_no_document(tmp_path: Path) -> None:
    """A file system becomes read-only after an error. Calls begin and end meanwhile."""
    talks = [Talk(number) for number in range(6)]

    async def main(server: Server, disk: Disk) -> None:
        async with asyncio.TaskGroup() as calls:
            for talk in talks[:3]:
                calls.create_task(talk.hold(server))
            await asyncio.sleep(4.5)
            with disk.read_only():
                for talk in talks[3:]:
                    calls.create_task(talk.hold(server))
                await asyncio.sleep(3)
                talks[0].over.set()
                talks[3].over.set()
                await asyncio.sleep(2)
            await settled(server, [talks[0], talks[3]], time.monotonic())
            await asyncio.sleep(3)
            for talk in talks:
                talk.over.set()
        await settled(server, talks, time.monotonic(), within_s=30)

    with small_disk(tmp_path, "16m") as disk, serving(tmp_path, PATCHBAY_DATA_DIR=str(disk.folder / "data")) as server:
        run(lambda: main(server, disk), seconds=60)
        assert server.figure("documents_lost_total") == 0
        assert server.figure("store_healthy") == 1
        for talk in talks:
            assert len(server.turns(talk.session_id)) >= talk.turns > 0
            assert recording(server, talk)["state"] == ("failed" if talk.number == 3 else "ready")


def test_a_store_that_another_process_locks_for_long_loses_no_document(tmp_path: Path) -> None:
    talks = [Talk(number) for number in range(4)]
    with serving(tmp_path) as server:
        locker = sqlite3.connect(tmp_path / "data" / "patchbay.db", isolation_level=None, check_same_thread=False)

        def lock() -> None:
            locker.execute("BEGIN IMMEDIATE")

        run(lambda: outage(server, talks, lock, lambda: locker.execute("ROLLBACK") and None), seconds=60)
        locker.close()
        assert_all_kept(server, talks, complete=True)


def test_a_store_on_its_own_full_disk_loses_no_document(tmp_path: Path) -> None:
    talks = [Talk(number) for number in range(4)]
    with (
        small_disk(tmp_path, "1m") as disk,
        serving(tmp_path, PATCHBAY_STORE=f"sqlite://{disk.folder}/patchbay.db") as server,
    ):
        run(lambda: outage(server, talks, disk.fill, disk.free), seconds=60)
        assert_all_kept(server, talks, complete=True)


def test_a_data_folder_that_is_deleted_is_made_again_and_used(tmp_path: Path) -> None:
    talks = [Talk(number) for number in range(4)]
    with serving(tmp_path) as server:
        run(lambda: outage(server, talks, lambda: shutil.rmtree(tmp_path / "data"), lambda: None), seconds=60)
        assert server.figure("documents_lost_total") == 0
        assert server.figure("store_healthy") == 1
        for talk in talks:
            assert server.session(talk.session_id)["state"] == "ended"
            assert server.turns(talk.session_id)
            assert recording(server, talk)["state"] == "ready"
            assert recording(server, talk)["complete"] is False
        assert list((tmp_path / "data" / "boots").glob("*/lock"))
