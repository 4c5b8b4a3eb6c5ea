"""Every outside part of the gateway fails in all the ways listed in one table, beside a call that must not be affected.

The healthy call (hostile_healthy.py) is a program of its own. It listens to an agent that speaks without a pause, and
records each gap. A gap counts as far as neither that program, nor an echo beside it, nor a server that was ready but
got no processor explains it; no gap may count for more than 100 ms. Other ordinary calls run meanwhile, and each must
be answered. The record says how each hostile call ended.

`TEST_SWEEP=PATTERN,PATTERN` runs only the cases whose part/kind matches one, and `!PATTERN` leaves cases out.
`TEST_SWEEP_AT_ONCE` sets how many of them run at the same time.
"""

from __future__ import annotations

import asyncio
import fnmatch
import os
import random
import time
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from peers import (
    hostile_clients,
    hostile_endpoints,
    hostile_files,
    hostile_functions,
    hostile_mcp,
    hostile_model_cases,
    hostile_store,
)
from peers.hostile_calls import talk
from peers.hostile_gateway import Healthy, hostile_world
from peers.hostile_table import Case, Says, World, judge
from support.local.local_world import parts_or_skip

pytest.importorskip("openai", reason="needs openai: pip install 'patchbay[openai]'")
pytestmark = [pytest.mark.openai_sdk, pytest.mark.sockets, pytest.mark.timed]

AT_ONCE = int(os.environ.get("TEST_SWEEP_AT_ONCE", "10"))  # the number of hostile calls at the same time
LONGEST_GAP_MS = 100
GAPS_TOLD = 12
SLOWEST_TOLD = 10
LIMIT_S = 400.0  # about two minutes on an otherwise idle machine
TABLE: list[Case] = [
    *hostile_functions.CASES,
    *hostile_mcp.CASES,
    *hostile_endpoints.CASES,
    *hostile_model_cases.CASES,
    *hostile_files.CASES,
    *hostile_clients.CASES,
    *hostile_store.CASES,
]
# Ordinary calls to the same agents, which must all go as usual.
ORDINARY = [
    Case("ordinary call", "plain", talk("plain", "ping"), Says(said="Pong.")),
    Case("ordinary call", "function", talk("functions", "do good;"), Says(said="Told.", tool=(None,))),
    Case("ordinary call", "local model", talk("local", "ping"), Says(said="Pong.", status=("completed",))),
]


@dataclass
class Report:
    """The result of the sweep."""

    cases: int = 0
    ordinary: int = 0
    wrong: dict[str, list[str]] = field(default_factory=dict)  # by case
    harmed: list[str] = field(default_factory=list)  # the ordinary calls that were affected
    took_s: float = 0.0
    healthy: dict[str, Any] = field(default_factory=dict)
    ran: list[tuple[float, float, str]] = field(default_factory=list)  # begin, end and case; in Unix seconds

    def during(self, gap: dict[str, float]) -> list[str]:
        """The cases that ran during a gap."""
        begin = gap["at"] - gap["gap_ms"] / 1000
        return [name for since, until, name in self.ran if since < gap["at"] and until > begin]

    def print(self, table: list[Case]) -> None:
        """Print a summary."""
        print()
        for part, kinds in Counter(case.part for case in table).items():
            failed = sum(name.startswith(f"{part}/") for name in self.wrong)
            print(f"{part:32} {kinds:4} kinds, {failed} not as they must be")
        for name, wrong in sorted(self.wrong.items()):
            print(f"    {name}: {'; '.join(wrong)[:400]}")
        longest = sorted(self.ran, key=lambda ran: ran[0] - ran[1])[:SLOWEST_TOLD]
        print("slowest:", *(f"{until - since:.0f} s {name}" for since, until, name in longest), sep="\n    ")
        heard = self.healthy
        print(f"{self.cases} hostile calls in {self.took_s:.0f} s beside {self.ordinary} ordinary ones")
        print(f"{len(self.harmed)} ordinary calls harmed")
        print(
            f"the healthy call got {heard.get('pieces')} pieces; longest gap that counts: {heard['longest_ms']:.0f} ms"
        )
        for gap in sorted(heard["gaps"], key=lambda gap: -float(gap["counts_ms"]))[:GAPS_TOLD]:
            print(
                "   ",
                {name: round(value) for name, value in gap.items() if name != "at"},
                *self.during(gap)[:12],
                sep="; ",
            )


def _chosen() -> list[Case]:
    patterns = [pattern for pattern in os.environ.get("TEST_SWEEP", "").split(",") if pattern]
    wanted = [pattern for pattern in patterns if not pattern.startswith("!")] or ["*"]
    unwanted = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
    found = [
        case
        for case in TABLE
        if any(fnmatch.fnmatchcase(case.name, pattern) for pattern in wanted)
        and not any(fnmatch.fnmatchcase(case.name, pattern) for pattern in unwanted)
    ]
    random.Random(7).shuffle(found)  # mixes the parts, in the same order each time
    return sorted(found, key=lambda case: not case.slow)


async def _one(world: World, case: Case) -> list[str]:
    """Run one case. Returns what is wrong, in words."""
    try:
        async with asyncio.timeout(case.wait_s + 20):
            seen = await case.provoke(world, case)
    except Exception as error:  # whatever goes wrong in one case, the others still run
        return [f"{type(error).__name__}: {str(error)[:300]}"]
    return judge(seen, case.says) if seen is not None else []


async def _sweep(world: World, table: list[Case], report: Report) -> None:
    """Run all cases, several at once, with ordinary calls beside them."""
    places = asyncio.Semaphore(AT_ONCE)

    async def hostile(case: Case) -> None:
        async with nullcontext() if case.slow else places:  # a slow case waits most of the time
            begun = time.time()
            wrong = await _one(world, case)
            report.ran.append((begun, time.time(), case.name))
        report.cases += 1
        if wrong:
            report.wrong[case.name] = wrong

    async def ordinary() -> None:
        while True:
            for case in ORDINARY:
                wrong = await _one(world, case)
                report.ordinary += 1
                report.harmed += [f"{case.kind}: {problem}" for problem in wrong]
                await asyncio.sleep(0.2)

    of_store = [case for case in table if case.part == hostile_store.PART]
    beside = asyncio.ensure_future(ordinary())
    async with asyncio.TaskGroup() as tasks:
        for case in table:
            if case not in of_store:
                tasks.create_task(hostile(case))
    beside.cancel()
    for case in of_store:  # one at a time and after the others, because all records are in the one store
        await hostile(case)


async def _main(folder: Path, report: Report) -> World:
    table = _chosen()
    async with asyncio.timeout(LIMIT_S), hostile_world(folder) as world:
        healthy = Healthy(world.server, folder / "healthy.json")
        begun = time.monotonic()
        try:
            await asyncio.sleep(1)
            await _sweep(world, table, report)
            report.took_s = time.monotonic() - begun
            assert world.server.process.poll() is None, "the server is gone"
            report.healthy = await asyncio.to_thread(healthy.end)
        finally:
            healthy.close()
        report.print(table)
        return world


def test_an_outside_fault_affects_only_its_own_call(tmp_path: Path) -> None:
    parts_or_skip()
    report = Report()
    world = asyncio.run(_main(tmp_path, report))
    listed = "\n".join(f"{name}: {'; '.join(wrong)}" for name, wrong in sorted(report.wrong.items()))
    assert not report.wrong, f"{len(report.wrong)} cases are not as they must be:\n{listed}"
    assert not report.harmed, report.harmed
    assert report.healthy["broke"] == []
    assert report.healthy["longest_ms"] <= LONGEST_GAP_MS
    assert "Traceback" not in world.server.log()
