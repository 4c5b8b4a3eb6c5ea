"""kill -9 during a write: what was saved 250 ms before is in the store, and the file is intact."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gateway.clock import SystemClock
from gateway.state.boots import Boots
from gateway.state.instances import Instances
from gateway.state.recovery import Recovery
from gateway.state.taking import Takeover
from sessions.stores.documents import Owner
from sessions.stores.sqlite import SqliteStore

pytestmark = pytest.mark.timed

ROOT = Path(__file__).parents[2]
BUSY_CALLS = 40
GRACE_MS = 250

# A small server: calls whose turns end all the time, with a line on stdout for each turn that has ended.
SERVER = """
import asyncio, sys
from pathlib import Path
from gateway.state.instances import Instances
from gateway.clock import SystemClock
from gateway.state.write_behind import WriteBehind
from sessions.stores.documents import *
from sessions.record import CallSummary, Turn
from sessions.stores.sqlite import SqliteStore

def live(session_id):
    return session_document(SessionRecord("default", session_id, "harbour", "1", "local/offline", "realtime",
        SessionState.LIVE, 1000.0, None, CallSummary(), (), RecordingInfo(RecordingState.OFF),
        Owner("test", "doomed")), ttl_s=None)

async def talk(write_behind, clock, number):
    for index in range(10_000):
        await asyncio.sleep(0.02)
        turn = Turn(index, index * 20, index * 20 + 20, latency_ms=number)
        write_behind.save(turn_document("default", f"s{number}", turn, ttl_s=None))
        write_behind.save(live(f"s{number}"))
        print(f"s{number}", index, clock.now_ms(), flush=True)

async def main(folder):
    clock = SystemClock()
    instances = Instances(folder / "instances", "doomed")
    instances.hold()
    store = SqliteStore(str(folder / "patchbay.db"), clock)
    await store.open()
    write_behind = WriteBehind(store, instances.folder / "state", clock, boot="doomed")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(write_behind.run())
        for number in range(int(sys.argv[2])):
            tasks.create_task(talk(write_behind, clock, number))

asyncio.run(main(Path(sys.argv[1])))
"""


def killed_server(folder: Path) -> tuple[dict[tuple[str, str], int], int]:
    """Run the server for a second and kill it; returns the ended turns with their times, and the time of the kill."""
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
        instances = Instances(tmp_path / "instances", "next")
        instances.hold()
        dead = instances.take_dead()
        assert [folder.name for folder in dead] == ["doomed"]
        store = SqliteStore(str(tmp_path / "patchbay.db"), SystemClock())
        async with asyncio.timeout(30):
            await store.open()
            boots = Boots(store, "next", SystemClock(), process="1", host="here", version="1")
            takeover = Takeover(store, Owner("test", "next"), lambda session: None)
            lost = await Recovery(store, instances, boots, takeover, lambda folder, key: False).at_start(dead)
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
        instances.release()

    asyncio.run(main())
