"""kill -9 in the middle of writing: what was saved 250 ms before is in the file, and the file is whole."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gateway.boots import Boots
from gateway.clock import SystemClock
from gateway.staterecovery import recover
from sessions.stores.sqlite import SqliteStore

pytestmark = pytest.mark.timed

ROOT = Path(__file__).parents[2]
BUSY_CALLS = 40
GRACE_MS = 250

# A server's state in small: calls whose turns end all the time; a line on stdout for each turn when it ends.
SERVER = """
import asyncio, sys
from pathlib import Path
from gateway.boots import Boots
from gateway.clock import SystemClock
from gateway.statekeeper import StateKeeper
from sessions.documents import *
from sessions.record import CallSummary, Turn
from sessions.stores.sqlite import SqliteStore

def live(session_id):
    return session_document(SessionRecord("default", session_id, "harbour", "1", "local/offline", "realtime",
        SessionState.LIVE, 1000.0, None, CallSummary(), (), RecordingInfo(RecordingState.OFF),
        Owner("test", "doomed")), ttl_s=None)

async def talk(keeper, clock, number):
    for index in range(10_000):
        await asyncio.sleep(0.02)
        turn = Turn(index, index * 20, index * 20 + 20, latency_ms=number)
        keeper.save(turn_document("default", f"s{number}", turn, ttl_s=None))
        keeper.save(live(f"s{number}"))
        print(f"s{number}", index, clock.now_ms(), flush=True)

async def main(folder):
    clock = SystemClock()
    boots = Boots(folder / "boots", "doomed")
    boots.hold()
    store = SqliteStore(str(folder / "patchbay.db"), clock)
    await store.open()
    keeper = StateKeeper(store, boots.folder, clock)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(keeper.run())
        for number in range(int(sys.argv[2])):
            tasks.create_task(talk(keeper, clock, number))

asyncio.run(main(Path(sys.argv[1])))
"""


def killed_server(folder: Path) -> tuple[dict[tuple[str, str], int], int]:
    """Run the server for a moment and kill it: the turns that ended, with their times, and the time of the kill."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, str(folder), str(BUSY_CALLS)],
        cwd=ROOT,
        env={"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])},
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout is not None
        first = server.stdout.readline()
        time.sleep(1.0)
        killed_ms = time.monotonic_ns() // 1_000_000
        server.send_signal(signal.SIGKILL)
        rest = server.stdout.read()
    ended = {}
    for line in (first + rest).splitlines():
        session_id, index, at_ms = line.split()
        ended[session_id, index] = int(at_ms)
    return ended, killed_ms


def test_a_turn_that_ended_250_ms_before_a_kill_is_in_the_record(tmp_path: Path) -> None:
    ended, killed_ms = killed_server(tmp_path)

    async def main() -> None:
        boots = Boots(tmp_path / "boots", "next")
        boots.hold()
        dead = boots.take_dead()
        assert [folder.name for folder in dead] == ["doomed"]
        store = SqliteStore(str(tmp_path / "patchbay.db"), SystemClock())
        async with asyncio.timeout(30):
            await store.open()
            lost = await recover(store, boots, dead)
            assert {record.session_id for record in lost} == {session_id for session_id, _ in ended}
            stored = set()
            for number in range(BUSY_CALLS):
                for turn in await store.query("default", f"s{number}", "turn"):
                    stored.add((f"s{number}", str(turn["index"])))
                session = await store.get("default", f"s{number}", "session")
                assert (session["state"], session["end_reason"]) == ("ended", "server_lost")
            await store.close()
        due = {turn for turn, at_ms in ended.items() if at_ms <= killed_ms - GRACE_MS}
        assert len(due) >= BUSY_CALLS
        assert due <= stored
        boots.release()

    asyncio.run(main())
