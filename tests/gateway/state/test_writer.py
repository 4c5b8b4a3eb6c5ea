"""Documents of a session are written under the ETag of its own document, until another process takes the session."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from support.stores.faulty_store import FaultyStore, LostAnswers
from support.stores.store_contract import HandClock, session, turn
from support.virtual import run

from gateway.state.kept import Fence
from gateway.state.writer import MAX_TRIES, StateWriter, WriteCounts
from sessions.stores.contract import (
    BATCH_MAX_BYTES,
    BATCH_MAX_DOCUMENTS,
    BadDocument,
    Conflict,
    Document,
    Missing,
    SessionKey,
    StoreFailed,
    Write,
)

KEY = SessionKey("default", "s1")
Test = Callable[[StateWriter, FaultyStore, WriteCounts], Awaitable[None]]


def with_writer(test: Test, store: type[FaultyStore] = FaultyStore, **options: Any) -> None:
    async def main() -> None:
        opened, counts = store(HandClock()), WriteCounts()
        await opened.open()
        await test(StateWriter(opened, counts, timeout_s=2.0, **options), opened, counts)
        await opened.close()

    run(main())


def live(*, boot: str = "own", fence: int = 1, **more: Any) -> Any:
    return {"session": session("s1", **{"state": "live", "owner": {"boot": boot, "fence": fence}, **more})}


async def number_of(store: FaultyStore) -> object:
    return (await store.get("default", "s1", "session"))["n"]


def test_a_change_that_does_not_take_the_session_is_overwritten_and_counted() -> None:
    async def test(writer: StateWriter, store: FaultyStore, counts: WriteCounts) -> None:
        await writer.write(KEY, live(n=1))
        await store.put(live(n=99)["session"], None)
        await writer.write(KEY, {**live(n=2), "turn_00000": turn("s1", 0)})
        assert (counts.conflicts, await number_of(store)) == (1, 2)
        await writer.write(KEY, live(n=3))
        assert (counts.conflicts, counts.fenced) == (1, 0)

    with_writer(test)


@pytest.mark.parametrize("taker", [{"boot": "other"}, {"boot": "other", "fence": 2}, {"fence": 2}])
def test_a_session_with_another_owner_is_not_written_any_more(taker: Any) -> None:
    fenced: list[SessionKey] = []

    async def test(writer: StateWriter, store: FaultyStore, counts: WriteCounts) -> None:
        await writer.write(KEY, live(n=1))
        await store.put(live(n=99, **taker)["session"], None)
        for index in range(3):
            await writer.write(KEY, {**live(n=2), "turn_00000": turn("s1", index)})
            await writer.write_one(turn("s1", index))
        assert await number_of(store) == 99
        assert await store.query("default", "s1", "turn") == []
        assert (counts.fenced, fenced, writer.refuses(KEY)) == (1, [KEY], True)

    with_writer(test, on_fenced=fenced.append)


def test_the_first_write_creates_the_session_and_takes_none_from_another_owner() -> None:
    async def test(writer: StateWriter, store: FaultyStore, counts: WriteCounts) -> None:
        await store.put(live(n=99, boot="other")["session"], None)
        await writer.write(KEY, live(n=1))
        assert (await number_of(store), counts.fenced) == (99, 1)

    with_writer(test)


def test_turns_alone_are_protected_by_the_session_as_it_was_written_last() -> None:
    async def test(writer: StateWriter, store: FaultyStore, counts: WriteCounts) -> None:
        await writer.write(KEY, live(n=1))
        await writer.write(KEY, {"turn_00000": turn("s1", 0)})
        assert (await number_of(store), counts.conflicts) == (1, 0)
        await store.put(live(n=99, boot="other")["session"], None)
        await writer.write(KEY, {"turn_00001": turn("s1", 1)})
        assert [found["id"] for found in await store.query("default", "s1", "turn")] == ["turn_00000"]
        assert counts.fenced == 1

    with_writer(test)


@pytest.mark.parametrize(("owner", "turns"), [("own", 1), ("other", 0), (None, 1)])
def test_turns_of_a_session_that_this_writer_has_not_written_are_stored_if_its_instance_owns_it(
    owner: str | None, turns: int
) -> None:
    async def test(writer: StateWriter, store: FaultyStore, counts: WriteCounts) -> None:
        if owner is not None:
            await store.put(live(n=1, boot=owner)["session"], None)
        await writer.write(KEY, {"turn_00000": turn("s1", 0)})
        assert len(await store.query("default", "s1", "turn")) == turns

    with_writer(test, boot="own")


def test_a_write_whose_answer_was_lost_is_written_again_and_not_taken_for_a_fence() -> None:
    async def test(writer: StateWriter, store: FaultyStore, counts: WriteCounts) -> None:
        assert isinstance(store, LostAnswers)
        for number in range(20):
            store.loses = 1
            await writer.write(KEY, {**live(n=number), f"turn_{number:05}": turn("s1", number)})
            assert await number_of(store) == number
        assert (counts.fenced, counts.conflicts) == (0, 20)
        assert len(await store.query("default", "s1", "turn")) == 20

    with_writer(test, LostAnswers)


def test_a_store_that_answers_each_write_with_a_conflict_counts_as_failed() -> None:
    async def test(writer: StateWriter, store: FaultyStore, counts: WriteCounts) -> None:
        assert isinstance(store, LostAnswers)
        store.loses = MAX_TRIES
        with pytest.raises(StoreFailed):
            await writer.write(KEY, live(n=1))
        await writer.write(KEY, live(n=2))
        assert await number_of(store) == 2

    with_writer(test, LostAnswers)


def test_a_session_that_was_deleted_is_not_written_again() -> None:
    async def test(writer: StateWriter, store: FaultyStore, counts: WriteCounts) -> None:
        await writer.write(KEY, live())
        await store.delete_session("default", "s1")
        await writer.write(KEY, live(n=2))
        await writer.write(KEY, live(n=3))
        with pytest.raises(Missing):
            await store.get("default", "s1", "session")
        assert (writer.refuses(KEY), counts.fenced) == (True, 0)

    with_writer(test)


class Replaced(FaultyStore):
    """A store whose documents can all be lost at once."""

    lost = 0

    @property
    def generation(self) -> int:
        return self.lost


def test_a_session_that_the_store_lost_with_all_others_is_written_again() -> None:
    async def test(writer: StateWriter, store: FaultyStore, counts: WriteCounts) -> None:
        assert isinstance(store, Replaced)
        await writer.write(KEY, live())
        await store.delete_session("default", "s1")
        store.lost += 1
        await writer.write(KEY, {**live(n=2), "turn_00001": turn("s1", 1)})
        assert await number_of(store) == 2
        assert len(await store.query("default", "s1", "turn")) == 1
        await store.delete_session("default", "s1")  # this time it was deleted
        await writer.write(KEY, live(n=3))
        assert writer.refuses(KEY)

    with_writer(test, Replaced)


def test_the_etag_is_kept_until_the_recording_is_settled() -> None:
    async def test(writer: StateWriter, store: FaultyStore, counts: WriteCounts) -> None:
        await writer.write(KEY, live())
        await writer.write(KEY, live(state="ended", recording={"state": "running"}))
        await writer.write(KEY, live(state="ended", recording={"state": "ready"}))
        assert counts.conflicts == 0
        await writer.write(KEY, live(state="ended", n=2))  # the writer has dropped its ETag
        assert (counts.conflicts, await number_of(store)) == (1, 2)

    with_writer(test)


def test_a_session_that_was_taken_is_written_under_the_etag_of_the_take() -> None:
    async def test(writer: StateWriter, store: FaultyStore, counts: WriteCounts) -> None:
        taken = live(fence=2)["session"]
        writer.refuse(KEY)
        writer.hold({**taken, "etag": await store.put(taken, None)})
        await writer.write(KEY, live(fence=2, n=1))
        assert (counts.conflicts, counts.fenced, await number_of(store)) == (0, 0, 1)

    with_writer(test)


def test_what_one_batch_does_not_take_is_written_in_several_with_the_session_in_each() -> None:
    async def test(writer: StateWriter, store: FaultyStore, counts: WriteCounts) -> None:
        many = {f"turn_{index:05}": turn("s1", index) for index in range(BATCH_MAX_DOCUMENTS + 1)}
        await writer.write(KEY, {**many, **live(n=1)})
        assert (store.transactions, len(await store.query("default", "s1", "turn"))) == (2, len(many))
        large = {f"turn_{index:05}": turn("s1", index, text="é" * (BATCH_MAX_BYTES // 5)) for index in range(4)}
        await writer.write(KEY, large)
        assert store.transactions == 4
        await store.put(live(n=99, boot="other")["session"], None)
        await writer.write(KEY, many)
        assert (counts.fenced, store.transactions) == (1, 5)

    with_writer(test)


def test_a_document_that_the_store_does_not_take_raises_and_the_others_can_be_written_alone() -> None:
    async def test(writer: StateWriter, store: FaultyStore, counts: WriteCounts) -> None:
        bad = {**turn("s1", 0), "text": {1, 2}}
        with pytest.raises(BadDocument):
            await writer.write(KEY, {**live(n=1), "turn_00000": bad})
        await writer.write_one(live(n=1)["session"])
        await writer.write_one(turn("s1", 1))
        await writer.write(KEY, live(n=2))
        assert (counts.conflicts, await number_of(store)) == (0, 2)

    with_writer(test)


def test_a_write_raises_if_the_store_fails_or_hangs() -> None:
    async def test(writer: StateWriter, store: FaultyStore, counts: WriteCounts) -> None:
        store.broken = True
        with pytest.raises(StoreFailed):
            await writer.write(KEY, live())
        store.hanging = True
        with pytest.raises(TimeoutError):
            await writer.write(KEY, live())
        with pytest.raises(TimeoutError):
            await writer.write_one(live()["session"])

    with_writer(test)


def test_what_waited_while_the_session_was_taken_and_taken_back_is_dropped() -> None:
    async def test(writer: StateWriter, store: FaultyStore, counts: WriteCounts) -> None:
        await writer.write(KEY, live(n=1))
        turns = {"turn_00000": turn("s1", 0)}
        (waiting,) = writer.keep(KEY, turns, 0)
        assert waiting.fence == Fence("own", 1, (await store.get("default", "s1", "session"))["etag"])  # type: ignore[arg-type]
        taken = live(fence=3, n=3)["session"]
        writer.hold({**taken, "etag": await store.put(taken, None)})
        await writer.write(KEY, {**live(n=2), **turns})
        await writer.write(KEY, turns, waiting.fence)
        assert (counts.dropped, counts.fenced, await number_of(store)) == (3, 0, 3)
        assert await store.query("default", "s1", "turn") == []
        await writer.write(KEY, {**live(fence=3, n=4), **turns})
        assert (counts.conflicts, await number_of(store)) == (0, 4)

    with_writer(test)


@pytest.mark.parametrize("state", ["unchanged", "newer", "taken", "deleted"])
@pytest.mark.parametrize("with_session", [True, False])
def test_what_another_process_kept_is_written_unless_its_session_was_taken_or_deleted(
    state: str, with_session: bool
) -> None:
    async def test(writer: StateWriter, store: FaultyStore, counts: WriteCounts) -> None:
        etag = await store.put(live(n=1)["session"], None)
        if state == "newer":
            await store.put(live(n=2)["session"], None)  # an answer of the store was lost
        elif state == "taken":
            await store.put(live(n=99, boot="other", fence=2)["session"], None)
        elif state == "deleted":
            await store.delete_session("default", "s1")
        turns = {"turn_00000": turn("s1", 0)}
        await writer.write(KEY, {**live(n=3), **turns} if with_session else turns, Fence("own", 1, etag))
        written = state in ("unchanged", "newer")
        assert len(await store.query("default", "s1", "turn")) == written
        if state != "deleted":
            expected = {"unchanged": 1, "newer": 2, "taken": 99}[state]
            assert await number_of(store) == (3 if with_session and written else expected)
        else:
            with pytest.raises(Missing):
                await store.get("default", "s1", "session")
        assert (counts.fenced, counts.dropped) == (state == "taken", 0 if written else 1 + with_session)

    with_writer(test, boot="own")


def test_a_session_that_was_taken_back_by_its_instance_has_another_fence() -> None:
    async def test(writer: StateWriter, store: FaultyStore, counts: WriteCounts) -> None:
        await store.put(live(n=1, fence=3)["session"], None)
        await writer.write(KEY, {"turn_00000": turn("s1", 0)}, Fence("own", 1, None))
        assert (counts.fenced, await store.query("default", "s1", "turn")) == (1, [])

    with_writer(test, boot="own")


class Unreadable(FaultyStore):
    """Another program has made the session's document unreadable, until it is written over."""

    ruined = False

    async def put_many(self, writes: Sequence[Write]) -> list[str]:
        if any(write.document["type"] == "session" for write in writes):
            self.ruined = self.ruined and writes[0].if_match is not None
        if self.ruined:
            raise Conflict("it has changed")
        return await super().put_many(writes)

    async def get(self, tenant: str, session_id: str, document_id: str) -> Document:
        if self.ruined:
            raise BadDocument("an item lacks a type")
        return await super().get(tenant, session_id, document_id)


def test_a_stored_session_that_cannot_be_read_is_written_over_and_costs_no_turn() -> None:
    async def test(writer: StateWriter, store: FaultyStore, counts: WriteCounts) -> None:
        assert isinstance(store, Unreadable)
        await writer.write(KEY, live(n=1))
        store.ruined = True
        await writer.write(KEY, {**live(n=2), "turn_00000": turn("s1", 0)})
        await writer.write(KEY, {"turn_00001": turn("s1", 1)})
        assert len(await store.query("default", "s1", "turn")) == 2
        assert (counts.lost, counts.fenced, await number_of(store)) == (0, 0, 2)

    with_writer(test, Unreadable)


@pytest.mark.parametrize("owner", [None, "nobody", {}, {"boot": 5}])
def test_a_stored_session_without_an_owner_was_taken_by_nobody(owner: Any) -> None:
    async def test(writer: StateWriter, store: FaultyStore, counts: WriteCounts) -> None:
        await writer.write(KEY, live(n=1))
        await store.put({**live(n=99)["session"], "owner": owner}, None)
        await writer.write(KEY, {**live(n=2), "turn_00000": turn("s1", 0)})
        await store.put({**live(n=99)["session"], "owner": owner}, None)
        await StateWriter(store, counts, 2.0, boot="own").write(KEY, {"turn_00001": turn("s1", 1)})
        assert len(await store.query("default", "s1", "turn")) == 2
        assert (counts.lost, counts.fenced) == (0, 0)

    with_writer(test, boot="own")


class Bare(FaultyStore):
    """What is read lacks a field, as if another program or a proxy had taken it away."""

    lacks = ""

    async def get(self, tenant: str, session_id: str, document_id: str) -> Document:
        found = await super().get(tenant, session_id, document_id)
        return {name: value for name, value in found.items() if name != self.lacks}


@pytest.mark.parametrize("ruined", [True, False])
def test_turns_alone_are_written_beside_a_session_that_cannot_be_written_again(ruined: bool) -> None:
    async def test(writer: StateWriter, store: FaultyStore, counts: WriteCounts) -> None:
        assert isinstance(store, Bare)
        await store.put(live(n=1)["session"], None)
        store.lacks = "agent" if ruined else ""
        await writer.write(KEY, {"turn_00000": turn("s1", 0)})
        assert len(await store.query("default", "s1", "turn")) == 1

    with_writer(test, Bare, boot="own")


def test_a_read_without_an_etag_is_a_fault_of_the_store_and_not_of_the_documents() -> None:
    async def test(writer: StateWriter, store: FaultyStore, counts: WriteCounts) -> None:
        assert isinstance(store, Bare)
        await writer.write(KEY, live(n=1))
        await store.put(live(n=99)["session"], None)
        store.lacks = "etag"
        with pytest.raises(StoreFailed):
            await writer.write(KEY, {**live(n=2), "turn_00000": turn("s1", 0)})
        with pytest.raises(StoreFailed):
            await StateWriter(store, counts, 2.0, boot="own").write(KEY, {"turn_00001": turn("s1", 1)})

    with_writer(test, Bare, boot="own")
