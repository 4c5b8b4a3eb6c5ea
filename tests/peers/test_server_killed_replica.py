"""kill -9 of one of three servers on one store in Cosmos DB: its sessions are ended, the others' are not touched.

`TEST_KILLS=20` kills as many servers as a release should; `-s` shows the figures.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cosmos.process import Remote, running
from peers.cosmos_servers import cosmos_settings, documents
from peers.server_callers import calling, run
from peers.server_process import Server, serving
from websockets.exceptions import ConnectionClosed

pytestmark = [pytest.mark.sockets, pytest.mark.timed]

ENDED_WITHIN_S = 40.0
KILLS = int(os.environ.get("TEST_KILLS", "2"))
AT_ONCE = 2  # kills, each with a store and three servers of its own
CALLS = 3  # of each server
LOOKED_S = 5.0  # after the sessions were ended: the other server looks, too


@dataclass
class Talk:
    """A call that takes a turn every second until it is told to end or its server dies."""

    session_id: str = ""
    texts: list[str] = field(default_factory=list)  # that were answered

    async def hold(self, server: Server, over: asyncio.Event) -> None:
        """Talk."""
        try:
            async with calling(server) as caller:
                self.session_id = caller.session_id
                while not over.is_set():
                    text = f"ping {len(self.texts)}"
                    await caller.turn(text)
                    self.texts.append(text)
                    await asyncio.sleep(1)
        except (ConnectionClosed, OSError, EOFError):
            assert await asyncio.to_thread(server.wait) == -signal.SIGKILL


@dataclass(frozen=True, slots=True)
class Killed:
    """What became of the sessions after a kill."""

    ended_s: float  # until the last session of the killed server had ended
    touched: int  # sessions of the others that were ended, or whose owner or fence has changed
    turns_missing: int


@contextmanager
def three_servers(folder: Path) -> Iterator[tuple[Remote, list[Server]]]:
    """A stand-in for Cosmos DB, and three servers on it."""
    with ExitStack() as stack:
        remote = stack.enter_context(running())
        for name in "abc":
            (folder / name).mkdir(parents=True)
        yield remote, [stack.enter_context(serving(folder / name, **cosmos_settings(remote))) for name in "abc"]


def owners(remote: Remote, talks: list[Talk]) -> list[Any]:
    """Who owns these sessions, with the fence, and their state."""
    found = documents(remote)
    sessions = [found[talk.session_id][0] for talk in talks]
    return [(session["owner"], session["state"]) for session in sessions]


def missing(server: Server, talk: Talk, unsure: int) -> int:
    """How many turns are not in a call's record; of the last `unsure` nobody knows whether they were written."""
    kept = [turn["entries"][0]["text"] for turn in server.turns(talk.session_id)]
    owed = talk.texts[: len(talk.texts) - unsure]
    return len(owed) if kept[: len(owed)] != owed else 0


def kill_one(folder: Path, chance: random.Random) -> Killed:
    """Let three servers hold calls, kill one of them, and wait until another has ended its sessions."""

    async def main(remote: Remote, servers: list[Server]) -> Killed:
        over = asyncio.Event()
        talks = [[Talk() for _ in range(CALLS)] for _ in servers]
        victim = chance.randrange(len(servers))
        alive = servers[victim - 1]
        others = [talk for number, of_one in enumerate(talks) if number != victim for talk in of_one]

        async def kill() -> tuple[float, int]:
            await asyncio.sleep(2 + chance.random() * 3)
            before = await asyncio.to_thread(owners, remote, others)
            servers[victim].signal(signal.SIGKILL)
            killed_s = time.monotonic()
            for talk in talks[victim]:
                await asyncio.to_thread(alive.ended, talk.session_id, within_s=ENDED_WITHIN_S)
            ended_s = time.monotonic() - killed_s
            await asyncio.sleep(LOOKED_S)
            after = await asyncio.to_thread(owners, remote, others)
            over.set()
            return ended_s, sum(one != two for one, two in zip(before, after, strict=True))

        async with asyncio.TaskGroup() as tasks:
            killing = tasks.create_task(kill())
            for server, of_one in zip(servers, talks, strict=True):
                for talk in of_one:
                    tasks.create_task(talk.hold(server, over))
        for talk in others:
            assert (await asyncio.to_thread(alive.ended, talk.session_id))["end_reason"] == "caller_hung_up"
        assert {alive.session(talk.session_id)["end_reason"] for talk in talks[victim]} == {"server_lost"}
        lost = [missing(alive, talk, 1) for talk in talks[victim]] + [missing(alive, talk, 0) for talk in others]
        return Killed(*killing.result(), turns_missing=sum(lost))

    with three_servers(folder) as (remote, servers):
        killed = run(lambda: main(remote, servers), 90)
        fenced = [server.figure("sessions_fenced_total") for server in servers if server.process.poll() is None]
        assert fenced == [0, 0]
        return killed


def test_the_sessions_of_a_killed_server_are_ended_and_those_of_the_others_are_not_touched(tmp_path: Path) -> None:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        killed = list(pool.map(lambda number: kill_one(tmp_path / str(number), random.Random(number)), range(KILLS)))
    ended_s = sorted(one.ended_s for one in killed)
    print(f"{KILLS} kills: ended after {ended_s[0]:.1f} to {ended_s[-1]:.1f} s, {killed}")
    assert ended_s[-1] < ENDED_WITHIN_S
    assert sum(one.touched for one in killed) == 0
    assert sum(one.turns_missing for one in killed) == 0
