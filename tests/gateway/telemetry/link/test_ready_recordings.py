"""Calls whose recordings are ready: their turns are read from the store, and the courier is told; in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from support.telemetry.telemetry_records import SESSION, call_document, document_of, turn_of
from support.virtual import run

from gateway.telemetry.link.link import LinkParts, TelemetryLink
from gateway.telemetry.link.ready_recordings import MAX_WAITING, PATIENCE_S, ReadyRecordings
from gateway.telemetry.link.wire import Report
from sessions.stores.contract import Document, StoreFailed
from sessions.stores.documents import RecordingInfo, RecordingState

READY = RecordingInfo(RecordingState.READY, stereo="recording.flac")


class Told(TelemetryLink):
    """A link that keeps what it is told."""

    def __init__(self) -> None:
        super().__init__(LinkParts({}, _no_courier, lambda agent: "none", dict, Report()))
        self.orders: list[Mapping[str, Any]] = []

    def sound(self, tenant: str, session: str, order: Mapping[str, Any]) -> None:
        """Keep an order."""
        self.orders.append(order)


async def _no_courier() -> Any:
    raise OSError


class Turns:
    """A store of turns that can be away."""

    def __init__(self) -> None:
        self.away = False
        self.kept: list[Document] = []

    async def query(self, tenant: str, session_id: str, document_type: str) -> list[Document]:
        """The turns; fails while it is away."""
        if self.away:
            raise StoreFailed("away")
        assert (tenant, session_id, document_type) == ("default", SESSION, "turn")
        return list(self.kept)


class World:
    """The queue, its store, and who may be heard."""

    def __init__(self) -> None:
        self.link, self.store, self.counts = Told(), Turns(), Report()
        self.allowed = True
        self.recordings = ReadyRecordings(self.link, self.store.query, lambda session: self.allowed, self.counts)

    def keep(self, *turns: int) -> None:
        """Store these turns."""
        self.store.kept += [document_of(turn_of(index)) for index in turns]

    @property
    def told(self) -> list[list[int]]:
        """The turns of each order."""
        return [[turn[0] for turn in order["turns"]] for order in self.link.orders]


def tried(main: Callable[[World], Coroutine[Any, Any, None]]) -> World:
    async def whole() -> World:
        world = World()
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(world.recordings.run())
            await main(world)
            running.cancel()
        return world

    return run(whole())


def test_a_call_is_told_once_its_recording_is_ready() -> None:
    async def main(world: World) -> None:
        world.keep(0, 1)
        for info in (RecordingInfo(RecordingState.RUNNING), RecordingInfo(RecordingState.FAILED), READY):
            world.recordings.saved(call_document(turns=2, recording=info))
        world.recordings.saved(document_of(turn_of()))
        await asyncio.sleep(1)

    world = tried(main)
    assert world.told == [[0, 1]]
    assert world.link.orders[0]["session"] == SESSION


def test_who_may_not_be_heard_is_not() -> None:
    async def main(world: World) -> None:
        world.allowed = False
        world.recordings.saved(call_document(turns=0, recording=READY))
        await asyncio.sleep(1)

    assert tried(main).told == []


def test_it_waits_for_turns_that_are_not_in_the_store_yet() -> None:
    async def main(world: World) -> None:
        world.keep(0)
        world.store.away = True
        world.recordings.saved(call_document(turns=2, recording=READY))
        await asyncio.sleep(30)
        world.store.away = False
        await asyncio.sleep(30)
        assert world.told == []
        world.keep(1)
        await asyncio.sleep(5)

    assert tried(main).told == [[0, 1]]


def test_it_does_not_wait_for_ever() -> None:
    async def main(world: World) -> None:
        world.keep(0)
        world.recordings.saved(call_document(turns=2, recording=READY))
        await asyncio.sleep(PATIENCE_S + 5)
        assert world.told == [[0]]
        world.store.away = True
        world.recordings.saved(call_document(turns=2, recording=READY))
        await asyncio.sleep(PATIENCE_S + 5)

    world = tried(main)
    assert world.told == [[0]]
    assert world.counts.dropped == {("audio", "store"): 1}


def test_at_the_end_the_courier_is_told_what_the_store_has() -> None:
    async def main(world: World) -> None:
        world.keep(0)
        world.recordings.saved(call_document(turns=2, recording=READY))
        await asyncio.sleep(1)
        await world.recordings.close()
        assert world.told == [[0]]
        world.store.away = True
        world.recordings.saved(call_document(turns=2, recording=READY))
        await world.recordings.close()

    assert tried(main).counts.dropped == {("audio", "shutdown"): 1}


def test_a_deleted_session_is_dropped_and_too_many_are_bounded() -> None:
    async def main(world: World) -> None:
        world.store.away = True
        world.recordings.saved(call_document(turns=2, recording=READY))
        world.recordings.forget("default", SESSION)
        await world.recordings.close()
        assert not world.counts.dropped
        for number in range(MAX_WAITING + 3):
            world.recordings.saved(call_document(turns=2, recording=READY, session_id=f"sess_{number}"))

    assert tried(main).counts.dropped == {("audio", "queue_full"): 3}


def test_a_fault_costs_one_call() -> None:
    async def main(world: World) -> None:
        world.recordings.saved({"type": "session", "recording": {"state": "ready", "stereo": "x"}})
        world.keep(0)
        world.recordings.saved(call_document(turns=1, recording=READY))
        await asyncio.sleep(1)

    world = tried(main)
    assert world.told == [[0]]
    assert world.counts.dropped == {("audio", "fault"): 1}
