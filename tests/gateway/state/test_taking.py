"""A session is taken by one conditional write; after it, no write of the former owner reaches the store."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from support.calls.call_rig import later
from support.stores.faulty_store import FaultyStore, LostAnswers
from support.stores.records import session_record
from support.stores.store_contract import HandClock
from support.virtual import run

from gateway.state.taking import take_session
from gateway.state.writer import StateWriter, WriteCounts
from sessions.record import Turn
from sessions.stores.contract import Conflict, Document, SessionKey
from sessions.stores.documents import Owner, session_document, session_from_document, turn_document
from sessions.stores.fields import owner_of

KEY = SessionKey("default", "s1")
Step = Callable[[], Awaitable[None]]


def with_store(test: Callable[[FaultyStore], Awaitable[None]], store: type[FaultyStore] = FaultyStore) -> None:
    async def main() -> None:
        opened = store(HandClock())
        await opened.open()
        await test(opened)
        await opened.close()

    run(main())


async def stored(store: FaultyStore) -> Document:
    return await store.get("default", "s1", "session")


async def take(store: FaultyStore, found: Document, boot: str) -> Document:
    return await take_session(store, found, session_from_document(found), Owner("test", boot))


def test_the_new_owner_has_the_next_fence_and_keeps_the_ttl() -> None:
    async def test(store: FaultyStore) -> None:
        await store.put(session_document(session_record("s1", boot="a"), ttl_s=500), None)
        taken = await take(store, await stored(store), "b")
        found = await stored(store)
        assert (owner_of(found), found["ttl"], found["etag"]) == (("b", 2), 500, taken["etag"])
        await take(store, found, "a")
        assert owner_of(await stored(store)) == ("a", 3)

    with_store(test)


def test_of_two_that_take_a_session_one_gets_it() -> None:
    async def test(store: FaultyStore) -> None:
        await store.put(session_document(session_record("s1", boot="a"), ttl_s=None), None)
        found = await stored(store)
        await take(store, found, "b")
        with pytest.raises(Conflict):
            await take(store, found, "c")
        await store.delete_session("default", "s1")
        with pytest.raises(Conflict):
            await take(store, found, "c")

    with_store(test)


def test_a_take_whose_answer_is_lost_has_succeeded() -> None:
    async def test(store: FaultyStore) -> None:
        assert isinstance(store, LostAnswers)
        await store.put(session_document(session_record("s1", boot="a"), ttl_s=None), None)
        found = await stored(store)
        store.loses = 1
        taken = await take(store, found, "b")
        assert (owner_of(taken), taken["etag"]) == (("b", 2), (await stored(store))["etag"])

    with_store(test, LostAnswers)


class Process:
    """One process with its writer: it writes turns, and it may take the session."""

    def __init__(self, store: FaultyStore, boot: str) -> None:
        self.boot = boot
        self.store = store
        self.fenced: list[SessionKey] = []
        self.counts = WriteCounts()
        self.writer = StateWriter(store, self.counts, 2.0, boot=boot, on_fenced=self.fenced.append)
        self.owns: Owner | None = None
        self.turns = 0
        self.read: Document | None = None

    async def begin(self) -> None:
        self.owns = Owner("test", self.boot)
        await self.writer.write(KEY, {"session": self.session()})

    def session(self) -> Document:
        assert self.owns is not None
        return session_document(replace(session_record("s1"), owner=self.owns), ttl_s=None)

    async def turn(self) -> None:
        """Write a turn, alone or with the session's document."""
        if self.owns is None:
            return
        index = self.turns * 10 + (self.boot == "b")
        self.turns += 1
        document = {**turn_document("default", "s1", Turn(index, 0), ttl_s=None), "by": self.boot}
        with_session = {"session": self.session()} if self.turns % 2 else {}
        await self.writer.write(KEY, {**with_session, str(document["id"]): document})

    async def look(self) -> None:
        self.read = await stored(self.store)

    async def take(self) -> None:
        """Take the session as it was read."""
        if self.read is None:
            return
        try:
            taken = await take(self.store, self.read, self.boot)
        except Conflict:
            return
        self.owns = session_from_document(taken).owner
        self.writer.hold(taken)


def interleavings(*rows: Sequence[str]) -> list[tuple[tuple[int, str], ...]]:
    """Every order of the steps of all rows in which each row keeps its own order."""
    if not any(rows):
        return [()]
    found: list[tuple[tuple[int, str], ...]] = []
    for who, row in enumerate(rows):
        if row:
            rest = [other[1:] if index == who else other for index, other in enumerate(rows)]
            found.extend(((who, row[0]), *order) for order in interleavings(*rest))
    return found


def test_in_every_order_there_is_one_owner_and_the_loser_writes_nothing_after_the_take() -> None:
    orders = interleavings(["turn"] * 4, ["look", "take", "turn", "turn"], ["look", "take", "turn"])
    assert len(orders) == 11550

    async def one(order: tuple[tuple[int, str], ...]) -> None:
        store = FaultyStore(HandClock())
        await store.open()
        processes = [Process(store, boot) for boot in "abc"]
        await processes[0].begin()
        for who, step in order:
            before = await contents(store)
            await getattr(processes[who], step)()
            after = await contents(store)
            owner = owner_of(after["session"])[0]
            if step == "turn" and after != before:
                assert owner == processes[who].boot
        last = owner_of(await stored(store))
        for process in processes:
            lost = process.owns is not None and (process.boot, process.owns.fence) != last
            await process.turn()
            assert (process.fenced == [KEY]) == lost == (process.counts.fenced == 1)
        await store.close()

    async def main() -> None:
        for order in itertools.islice(orders, 0, None, 7):
            await one(order)

    run(main())


async def contents(store: FaultyStore) -> dict[str, Document]:
    found = [await stored(store), *await store.query("default", "s1", "turn")]
    return {str(document["id"]): document for document in found}


def test_steps_that_overlap_inside_the_store_leave_one_owner() -> None:
    class Slow(FaultyStore):
        """Waits before each operation for as long as the test says."""

        waits: Any = itertools.cycle([0.001])

        async def put_many(self, writes: Any) -> list[str]:
            await later(next(self.waits))
            return await super().put_many(writes)

        async def get(self, tenant: str, session_id: str, document_id: str) -> Document:
            await later(next(self.waits))
            return await super().get(tenant, session_id, document_id)

    async def test(waits: Sequence[float]) -> None:
        store = Slow(HandClock())
        store.waits = itertools.cycle(waits)
        await store.open()
        first, second = Process(store, "a"), Process(store, "b")
        await first.begin()

        async def writes() -> None:
            for _ in range(4):
                await first.turn()

        async def takes() -> None:
            while second.owns is None:
                await second.look()
                await second.take()
            for _ in range(2):
                await second.turn()

        async with asyncio.TaskGroup() as both:
            both.create_task(writes())
            both.create_task(takes())
        await first.turn()
        assert (owner_of(await stored(store)), first.counts.fenced, second.counts.fenced) == (("b", 2), 1, 0)
        await store.close()

    for waits in itertools.product([0.001, 0.003, 0.007], repeat=4):
        run(test(waits))
