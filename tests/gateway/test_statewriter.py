"""Documents of running calls go in under the ETags of our own writes, and ours stand."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from faulty_store import FaultyStore
from store_contract import HandClock, session, turn
from virtual import run

from gateway.statewriter import KeeperCounts, StateWriter
from sessions.stores.contract import Missing, SessionKey, StoreFailed

KEY = SessionKey("default", "s1")
Test = Callable[[StateWriter, FaultyStore, KeeperCounts], Awaitable[None]]


def with_writer(test: Test) -> None:
    async def main() -> None:
        store, counts = FaultyStore(HandClock()), KeeperCounts()
        await store.open()
        await test(StateWriter(store, counts, timeout_s=2.0), store, counts)
        await store.close()

    run(main())


def live(**more: Any) -> Any:
    return {"session": session("s1", state="live", **more)}


def test_what_somebody_else_changed_is_written_over_and_counted() -> None:
    async def test(writer: StateWriter, store: FaultyStore, counts: KeeperCounts) -> None:
        await writer.write(KEY, live(n=1))
        await store.put(live(n=99)["session"], None)
        await writer.write(KEY, {**live(n=2), "turn_00000": turn("s1", 0)})
        assert counts.conflicts == 1
        assert (await store.get("default", "s1", "session"))["n"] == 2
        await writer.write(KEY, live(n=3))
        assert counts.conflicts == 1

    with_writer(test)


def test_a_session_that_was_deleted_is_not_written_again() -> None:
    async def test(writer: StateWriter, store: FaultyStore, counts: KeeperCounts) -> None:
        await writer.write(KEY, live())
        await store.delete_session("default", "s1")
        with pytest.raises(Missing):
            await writer.write(KEY, live(n=2))
        writer.forget(KEY)
        await writer.write(KEY, live(n=3))  # nothing is known of it any more
        assert (await store.get("default", "s1", "session"))["n"] == 3

    with_writer(test)


def test_a_session_that_has_ended_is_nobodys_any_more() -> None:
    async def test(writer: StateWriter, store: FaultyStore, counts: KeeperCounts) -> None:
        await writer.write(KEY, live())
        await writer.write(KEY, {"session": session("s1")})
        await store.put(session("s1", n=99), None)
        await writer.write(KEY, {"session": session("s1", n=2)})
        assert counts.conflicts == 0

    with_writer(test)


def test_a_document_that_is_written_over_is_known_by_its_new_etag() -> None:
    async def test(writer: StateWriter, store: FaultyStore, counts: KeeperCounts) -> None:
        await writer.overwrite(turn("s2", 0))  # of a session that is not ours
        await writer.write(KEY, live(n=1))
        await writer.overwrite(live(n=2)["session"])
        await writer.write(KEY, live(n=3))
        assert counts.conflicts == 0

    with_writer(test)


def test_a_store_that_fails_or_hangs_is_told_of() -> None:
    async def test(writer: StateWriter, store: FaultyStore, counts: KeeperCounts) -> None:
        store.broken = True
        with pytest.raises(StoreFailed):
            await writer.write(KEY, live())
        store.hanging = True
        with pytest.raises(TimeoutError):
            await writer.write(KEY, live())
        with pytest.raises(TimeoutError):
            await writer.overwrite(live()["session"])

    with_writer(test)
