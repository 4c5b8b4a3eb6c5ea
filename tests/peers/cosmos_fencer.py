"""One of two processes that write the same sessions and take them from each other, at random moments.

`python cosmos_fencer.py SETTING KEY NAME SEED SESSIONS`, with the project and its tests in PYTHONPATH. Process `a`
makes the sessions. Each process works on ten at a time.
For each it prints one JSON line: how many turns it saved, and how often it took the session and was fenced.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass

from support.stores.records import session_record

from gateway.clock import SystemClock
from gateway.state.taking import take_session
from gateway.state.writer import StateWriter, WriteCounts
from sessions.errors import VoiceError
from sessions.record import Turn
from sessions.stores.contract import SessionKey, Store, StoreFailed
from sessions.stores.cosmos import CosmosAccess, CosmosStore
from sessions.stores.cosmos_setting import read_cosmos_url
from sessions.stores.documents import (
    SESSION_ID,
    Owner,
    SessionRecord,
    session_document,
    session_from_document,
    turn_document,
)
from sessions.stores.store_meter import StoreMeter

STEPS = 30
AT_ONCE = 10
PAUSES_S = (0.0, 0.01, 0.05, 0.1, 0.2)
TAKE_PAUSES_S = (0.0, 0.0, 0.02)  # between the look at a session and its take
TRIES = 20


@dataclass
class Done:
    """What this process did with one session."""

    session_id: str
    saved: int = 0  # turns of which the writer said that they are stored
    taken: int = 0
    fenced: int = 0


class Fencer:
    """Writes one session as long as it owns it, and takes it when it does not."""

    def __init__(self, store: Store, name: str, session_id: str, chance: random.Random) -> None:
        self._store = store
        self._name = name
        self._key = SessionKey("default", session_id)
        self._chance = chance
        self._record: SessionRecord | None = None
        self._counts = WriteCounts()
        self._writer = StateWriter(store, self._counts, 10.0, boot=name, on_fenced=self._fenced)
        self.done = Done(session_id)

    def _fenced(self, _: SessionKey) -> None:
        self._record = None
        self.done.fenced += 1

    async def run(self) -> Done:
        """Begin the session, or find it begun, and then write and take."""
        if self._name == "a":
            self._record = session_record(self._key.session_id, boot=self._name)
            await self._save(0)
        for step in range(1, STEPS):
            await asyncio.sleep(self._chance.choice(PAUSES_S))
            if self._record is not None:
                await self._save(step)
            else:
                await self._take()
        return self.done

    async def _save(self, step: int) -> None:
        assert self._record is not None
        turn = turn_document("default", self._key.session_id, Turn(step, 0), ttl_s=None)
        turn = {**turn, "id": f"{self._name}_{step:03}", "by": self._name, "fence": self._record.owner.fence}
        session = session_document(self._record, ttl_s=None)
        dropped = self._counts.dropped
        for _ in range(TRIES):  # as the write-behind does
            with suppress(StoreFailed):
                await self._writer.write(self._key, {SESSION_ID: session, turn["id"]: turn})
                self.done.saved += self._counts.dropped == dropped
                return
        raise StoreFailed(f"a write has failed {TRIES} times")

    async def _take(self) -> None:
        with suppress(VoiceError):  # the other has written meanwhile, or has not begun yet
            found = await self._store.get("default", self._key.session_id, SESSION_ID)
            await asyncio.sleep(self._chance.choice(TAKE_PAUSES_S))
            taken = await take_session(self._store, found, session_from_document(found), Owner("test", self._name))
            self._writer.hold(taken)
            self._record = session_from_document(taken)
            self.done.taken += 1


async def main(arguments: Sequence[str]) -> None:
    """Write all sessions, AT_ONCE at a time."""
    logging.disable()  # each fence is an error in the log
    setting, key, name, seed, sessions = arguments
    chance = random.Random(f"{seed} {name}")
    access = CosmosAccess(key=key, credential=None, plain_allowed=False, meter=StoreMeter())
    store = CosmosStore(read_cosmos_url(setting), SystemClock(), access)
    await store.open()
    print("open", flush=True)
    sys.stdin.readline()  # both begin together
    room = asyncio.Semaphore(AT_ONCE)

    async def one(session_id: str) -> None:
        async with room:
            print(json.dumps(asdict(await Fencer(store, name, session_id, chance).run())), flush=True)

    async with asyncio.TaskGroup() as tasks:
        for number in range(int(sessions)):
            tasks.create_task(one(f"s{number:03}"))
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
