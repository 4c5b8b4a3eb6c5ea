"""Two real processes write the same sessions in Cosmos DB and take them from each other: one owner at any time.

The stand-in's journal has every write that it committed, in order. `tests/gateway/state/test_interleavings.py` tries
many more orders, in virtual time. `TEST_SESSIONS=100` tries as many sessions as a release should.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest
from cosmos.process import Remote, running
from peers.cosmos_servers import cosmos_settings
from peers.server_process import ROOT

pytestmark = [pytest.mark.sockets]

SESSIONS = int(os.environ.get("TEST_SESSIONS", "20"))
FENCER = Path(__file__).with_name("cosmos_fencer.py")
RUN_S = 120


def fencer(remote: Remote, name: str) -> subprocess.Popen[str]:
    """One of the two processes, with its store open."""
    setting = cosmos_settings(remote)["PATCHBAY_STORE"]
    process = subprocess.Popen(
        [sys.executable, str(FENCER), setting, remote.key, name, "7", str(SESSIONS)],
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    return process


def owner(items: list[dict[str, Any]]) -> tuple[str, int]:
    """The owner that a write's session document names."""
    [session] = [item for item in items if item["id"] == "session"]
    return session["owner"]["boot"], session["owner"]["fence"]


def check_order(writes: list[list[dict[str, Any]]]) -> Counter[str]:
    """Check the writes of one session in the order of their commits; how many takes and turns there were."""
    seen: Counter[str] = Counter()
    now: tuple[str, int] | None = None
    for items in writes:
        written = owner(items)
        if written != now:
            assert written == (written[0], 1 if now is None else now[1] + 1), (now, written)
            assert now is None or [item["id"] for item in items] == ["session"]  # a take writes nothing else
            seen["takes"] += now is not None
            seen["changes of owner"] += now is not None and now[0] != written[0]
        now = written
        turns = [item for item in items if item["id"] != "session"]
        assert all((turn["by"], turn["fence"]) == now for turn in turns), (now, turns)
        seen["turns"] += len(turns)
    return seen


@pytest.mark.parametrize("faults", [False, True], ids=["answered", "answers lost"])
def test_each_write_comes_from_the_one_owner_and_none_from_the_loser_after_a_take(faults: bool) -> None:
    with running("--ranges", "2") as remote:
        processes = [fencer(remote, name) for name in "ab"]
        remote.control("POST", "journal")
        if faults:
            remote.control("POST", "faults", {"kind": "cut", "after_commit": True, "every": 6})
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        printed = [process.communicate(timeout=RUN_S)[0] for process in processes]
        assert [process.returncode for process in processes] == [0, 0]
        journal = remote.control("GET", "journal")
        counted = remote.control("GET", "counters")
    told = [json.loads(line) for lines in printed for line in lines.splitlines()]
    sessions: dict[str, list[list[dict[str, Any]]]] = defaultdict(list)
    for items in journal:
        sessions[items[0]["session_id"]].append(items)
    assert len(sessions) == SESSIONS
    seen: Counter[str] = Counter()
    for session_id, writes in sessions.items():
        of_one = check_order(writes)
        assert of_one["turns"] >= sum(done["saved"] for done in told if done["session_id"] == session_id)
        seen += of_one
    fenced = sum(done["fenced"] for done in told)
    print(f"{SESSIONS} sessions, two processes:", dict(seen), f"fenced {fenced}, cut {counted['cut']}")
    assert seen["changes of owner"] > SESSIONS
    assert fenced > 0
    if not faults:
        assert (seen["takes"], seen["turns"]) == (sum(d["taken"] for d in told), sum(d["saved"] for d in told))
