"""Two processes write one session, take it from each other, and meet faults: many orders, each from its seed.

`TEST_ORDERS=1000` tries as many as a release should.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from support.calls.call_rig import later
from support.stores.faulty_store import FaultyStore
from support.stores.records import session_record
from support.virtual import run

from gateway.clock import LoopClock
from gateway.state.taking import take_session
from gateway.state.write_behind import WriteBehind
from sessions.errors import VoiceError
from sessions.record import Turn
from sessions.stores.contract import Conflict, Document, Missing, SessionKey, StoreBusy, StoreFailed, Write
from sessions.stores.documents import Owner, session_document, session_from_document, turn_document
from sessions.stores.fields import owner_of

RUNS = int(os.environ.get("TEST_ORDERS", "200"))
STEPS = 25
KEY = SessionKey("default", "s1")


class Referee(FaultyStore):
    """Checks each write that is stored: it comes from the owner, or takes the session. Fails as a seed says."""

    def __init__(self, clock: LoopClock, chance: random.Random) -> None:
        super().__init__(clock)
        self.chance = chance
        self.faults = 0.0  # the share of operations that fail
        self.takes = 0
        self.wrong: list[str] = []  # writes that should not have reached the store

    async def put_many(self, writes: Sequence[Write]) -> list[str]:
        await self._before()
        had = await self._owner()
        etags = await super().put_many(writes)
        owner = await self._owner()
        if owner != had:
            self.takes += 1
            if owner != (owner[0], 1 if had is None else had[1] + 1):
                self.wrong.append(f"{owner} after {had}")
        self.wrong += [f"{write.document['id']} of {owner}" for write in writes if not _may(owner[0], write.document)]
        self._after()
        return etags

    async def get(self, tenant: str, session_id: str, document_id: str) -> Document:
        await self._before()
        return await super().get(tenant, session_id, document_id)

    async def _owner(self) -> tuple[str | None, int]:
        try:
            return owner_of(await super().get(*stored_at))
        except Missing:
            return None  # type: ignore[return-value]

    async def _before(self) -> None:
        await later(self.chance.choice([0, 0.001, 0.02, 0.3]))
        if self.chance.random() < self.faults:
            if self.chance.random() < 0.3:
                raise StoreBusy("too many requests", retry_after_ms=self.chance.randrange(500))
            if self.chance.random() < 0.1:
                await asyncio.Event().wait()
            raise StoreFailed("nobody listens")

    def _after(self) -> None:
        """The write is stored, but its answer may be lost: the client's second try meets the first one's result."""
        if self.chance.random() < self.faults:
            raise Conflict("the document has changed") if self.chance.random() < 0.5 else StoreFailed("cut off")


def _may(boot: str | None, document: Document) -> bool:
    return document.get("by", boot) == boot


stored_at = (KEY.tenant, KEY.session_id, "session")


class Process:
    """A process that writes the session as long as it believes that it owns it."""

    def __init__(self, name: str, store: Referee, folder: Path, clock: LoopClock) -> None:
        self.name = name
        self.store = store
        self.owner: Owner | None = None
        self.turns = 0
        self.takes = False  # True while it takes the session
        self.written = WriteBehind(
            store, folder, clock, inline=True, boot=name, on_fenced=self._fenced, write_timeout_s=2.0
        )

    def _fenced(self, key: SessionKey) -> None:
        self.owner = None

    def save(self) -> None:
        """Save a turn and the session, as a call does."""
        if self.owner is None:
            return
        turn = turn_document("default", "s1", Turn(self.turns, 0), ttl_s=None)
        self.written.save({**turn, "id": f"{self.name}_{self.turns:05}", "by": self.name})
        self.turns += 1
        self.written.save(session_document(replace(session_record("s1"), owner=self.owner), ttl_s=None))

    async def take(self) -> None:
        """Take the session from whoever has it."""
        if self.owner is not None or self.takes:
            return
        self.takes = True
        with suppress(VoiceError, TimeoutError):
            async with asyncio.timeout(2):
                found = await self.store.get(*stored_at)
                await later(self.store.chance.choice([0, 0.05]))
                taken = await take_session(self.store, found, session_from_document(found), Owner("test", self.name))
                self.written.hold(taken)
                self.owner = session_from_document(taken).owner
        self.takes = False


async def one_order(seed: int, folder: Path) -> None:
    chance = random.Random(seed)
    clock = LoopClock(asyncio.get_running_loop(), 1e9)
    store = Referee(clock, chance)
    await store.open()
    processes = [Process(name, store, folder / str(seed) / name, clock) for name in "ab"]
    processes[0].owner = Owner("test", "a")
    processes[0].save()
    async with asyncio.TaskGroup() as tasks:
        for process in processes:
            tasks.create_task(process.written.run())
        for _ in range(STEPS):
            store.faults = chance.choice([0, 0, 0.3, 1])
            process = chance.choice(processes)
            if chance.random() < 0.2:
                tasks.create_task(process.take())
            else:
                process.save()
            await later(chance.choice([0, 0.03, 0.2, 3]))
        store.faults = 0
        await later(60)
        for process in processes:
            process.save()  # whoever does not know yet that it has lost the session learns it now
        await later(5)
        owner = owner_of(await store.get(*stored_at))
        owners = [(process.name, process.owner.fence) for process in processes if process.owner is not None]
        assert owners in ([], [owner])  # nobody knows it if the answer to the last take was lost
        assert (store.takes, store.wrong) == (owner[1], [])
        for process in processes:
            assert (process.written.report.healthy, process.written.counts.lost) == (True, 0)
            await process.written.close()
        kept = {found["id"] for found in await store.query("default", "s1", "turn")}
        if owner[1] == 1:  # nobody has taken the session, so every turn is there
            assert kept == {f"a_{index:05}" for index in range(processes[0].turns)}
    await store.close()


def test_at_any_time_there_is_one_owner_and_the_loser_writes_nothing_after_the_take(tmp_path: Path) -> None:
    for seed in range(RUNS):
        try:
            run(one_order(seed, tmp_path))
        except BaseException as error:
            raise AssertionError(f"the order with seed {seed} went wrong") from error
