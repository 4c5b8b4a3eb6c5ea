"""Instances on other machines are seen by their documents in the store, and taken for dead by the age of these."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from support.stores.faulty_store import FaultyStore
from support.stores.records import kept, session_record
from support.stores.store_contract import HandClock
from support.virtual import run

from gateway.state.boots import BEAT_EVERY_S, DEAD_S, GAP_S, Boots
from gateway.state.instances import Instances
from gateway.state.recovery import Recovery
from gateway.state.spool import StateSpool
from gateway.state.taking import Takeover
from sessions.record import Turn
from sessions.stores.documents import (
    Owner,
    RecordingInfo,
    RecordingState,
    SessionRecord,
    session_document,
    turn_document,
)
from sessions.stores.fields import owner_of


class Machine:
    """One instance with a data folder of its own, as each machine has one."""

    def __init__(self, folder: Path, boot: str, store: FaultyStore, clock: HandClock) -> None:
        self.store = store
        self.boots = Boots(store, boot, clock, process="1", host="here", version="1")
        self.instances = Instances(folder, boot)
        self.instances.hold()
        owner = Owner("test", boot)
        takeover = Takeover(store, owner, lambda session: None)
        self.recovery = Recovery(store, self.instances, self.boots, takeover, lambda folder, key: False, inline=True)

    async def start(self) -> list[str]:
        """Begin to beat, and end what dead instances left; return the sessions that were ended."""
        await self.boots.beat()
        return ids_of(await self.recovery.at_start(self.instances.take_dead()))

    async def look(self) -> list[str]:
        """Beat, and end the sessions of instances that have died; return these."""
        await self.boots.beat()
        return ids_of(await self.recovery.look())

    async def call(self, session_id: str) -> None:
        """Store the session of a live call of this instance."""
        record = session_record(
            session_id, boot=self.instances.boot_id, recording=RecordingInfo(RecordingState.RUNNING)
        )
        await self.store.put(session_document(record, ttl_s=None), None)


def passes(clock: HandClock, seconds: float) -> None:
    """Let time pass, by the store's clock and by that of the instances."""
    clock.wall += seconds
    clock.ms += round(seconds * 1000)


async def go_on(clock: HandClock, seconds: float, *machines: Machine) -> None:
    """Let time pass while these machines beat."""
    for _ in range(round(seconds / BEAT_EVERY_S)):
        passes(clock, BEAT_EVERY_S)
        for machine in machines:
            await machine.boots.beat()


def ids_of(ended: list[SessionRecord]) -> list[str]:
    return sorted(record.session_id for record in ended)


def with_store(test: Callable[[FaultyStore, HandClock], Awaitable[None]]) -> None:
    async def main() -> None:
        clock = HandClock()
        store = FaultyStore(clock)
        await store.open()
        await test(store, clock)
        await store.close()

    run(main())


async def owners(store: FaultyStore, *session_ids: str) -> list[tuple[str | None, int]]:
    return [owner_of(await store.get("default", session_id, "session")) for session_id in session_ids]


def test_the_start_of_another_machine_leaves_live_sessions_alone_until_the_beats_stop(tmp_path: Path) -> None:
    async def test(store: FaultyStore, clock: HandClock) -> None:
        first = Machine(tmp_path / "first", "a", store, clock)
        assert await first.start() == []
        await first.call("s1")
        passes(clock, 5)
        second = Machine(tmp_path / "second", "b", store, clock)
        assert await second.start() == []
        for _ in range(10):
            passes(clock, 5)
            await first.boots.beat()
            assert await second.look() == []
        await go_on(clock, DEAD_S, second)
        assert await second.recovery.look() == []
        passes(clock, 0.1)
        assert await second.look() == ["s1"]
        assert await owners(store, "s1") == [("b", 2)]
        found = await store.get("default", "s1", "session")
        assert (found["state"], found["end_reason"]) == ("ended", "server_lost")
        recording = found["recording"]
        assert isinstance(recording, dict)
        assert (recording["state"], recording["complete"]) == ("failed", False)  # its files are on the other machine
        assert await second.boots.beating() == {"b": True}

    with_store(test)


def test_a_start_ends_sessions_of_servers_without_a_document_and_later_those_of_silent_ones(
    tmp_path: Path,
) -> None:
    async def test(store: FaultyStore, clock: HandClock) -> None:
        machines = {boot: Machine(tmp_path / boot, boot, store, clock) for boot in ("alive", "dead", "left")}
        for boot, machine in machines.items():
            await machine.start()
            await machine.call(f"of_{boot}")
        await machines["left"].boots.leave()
        passes(clock, DEAD_S + 1)
        new = Machine(tmp_path / "new", "new", store, clock)
        assert await new.start() == ["of_left"]  # the store may just be back, and all others about to beat again
        await go_on(clock, DEAD_S + BEAT_EVERY_S, new, machines["alive"])
        assert ids_of(await new.recovery.look()) == ["of_dead"]
        assert await owners(store, "of_alive") == [("alive", 1)]
        assert set(await machines["alive"].boots.beating()) == {"alive", "new"}

    with_store(test)


def test_a_free_lock_on_this_machine_proves_the_death_of_an_instance_at_once(tmp_path: Path) -> None:
    async def test(store: FaultyStore, clock: HandClock) -> None:
        first, second = (Machine(tmp_path, boot, store, clock) for boot in "ab")
        for machine in (first, second):
            await machine.start()
            await machine.call(f"of_{machine.instances.boot_id}")
        assert await second.look() == []
        (first.instances.folder / "kept").touch()  # so that the folder stays, as after a crash
        first.instances.release()
        assert await second.look() == ["of_a"]
        assert set(await second.boots.beating()) == {"b"}

    with_store(test)


def test_a_held_lock_on_this_machine_proves_that_an_instance_is_alive(tmp_path: Path) -> None:
    async def test(store: FaultyStore, clock: HandClock) -> None:
        first, second = (Machine(tmp_path, boot, store, clock) for boot in "ab")
        for machine in (first, second):
            await machine.start()
        await first.call("s1")
        await go_on(clock, 10 * DEAD_S, second)
        assert await second.look() == []

    with_store(test)


def test_while_an_instance_cannot_beat_it_takes_no_other_for_dead(tmp_path: Path) -> None:
    async def test(store: FaultyStore, clock: HandClock) -> None:
        first, second = (Machine(tmp_path / boot, boot, store, clock) for boot in "ab")
        await first.start()
        await second.start()
        await first.call("s1")
        await go_on(clock, 2 * DEAD_S, second)
        assert (await second.boots.beating())["a"] is False
        passes(clock, 1)
        await second.boots.leave()
        assert await second.recovery.look() == []
        await second.boots.beat()
        passes(clock, GAP_S + 1)
        assert await second.recovery.look() == []

    with_store(test)


def test_the_document_of_a_dead_instance_stays_until_all_its_sessions_are_ended(tmp_path: Path) -> None:
    async def test(store: FaultyStore, clock: HandClock) -> None:
        first, second = (Machine(tmp_path / boot, boot, store, clock) for boot in "ab")
        await first.start()
        await second.start()
        await first.call("s1")
        await go_on(clock, DEAD_S + BEAT_EVERY_S, second)
        store.broken = True
        assert await second.recovery.look() == []
        store.broken = False
        assert set(await second.boots.beating()) == {"a", "b"}
        assert ids_of(await second.recovery.look()) == ["s1"]
        assert set(await second.boots.beating()) == {"b"}

    with_store(test)


def test_a_spool_of_an_instance_that_died_beside_us_is_written_before_its_sessions_end(tmp_path: Path) -> None:
    async def test(store: FaultyStore, clock: HandClock) -> None:
        first, second = (Machine(tmp_path, boot, store, clock) for boot in "ab")
        await first.start()
        await second.start()
        await first.call("s1")
        spool = StateSpool(first.instances.folder / "state", 10_000)
        spool.append(kept(turn_document("default", "s1", Turn(0, 0, end_ms=900), ttl_s=None)))
        taken = session_document(session_record("taken", boot="a"), ttl_s=None)
        spool.append(kept(taken, turn_document("default", "taken", Turn(0, 0), ttl_s=None)))
        await store.put(session_document(session_record("taken", boot="b"), ttl_s=None), None)
        first.instances.release()
        assert await second.look() == ["s1"]
        found = await store.get("default", "s1", "session")
        assert isinstance(found["summary"], dict)
        assert found["summary"]["duration_ms"] == 900
        assert not first.instances.folder.exists()
        assert await store.query("default", "taken", "turn") == []  # its instance had lost it

    with_store(test)


def test_the_document_of_an_instance_that_has_beaten_again_stays(tmp_path: Path) -> None:
    async def test(store: FaultyStore, clock: HandClock) -> None:
        machines = [Machine(tmp_path / boot, boot, store, clock) for boot in "ab"]
        for machine in machines:
            await machine.start()
        await go_on(clock, DEAD_S + BEAT_EVERY_S, machines[1])
        assert await machines[1].boots.beating() == {"a": False, "b": True}
        await machines[0].boots.beat()  # it was only frozen
        await machines[1].boots.remove_dead("a")
        assert set(await machines[1].boots.beating()) == {"a", "b"}
        await machines[1].boots.remove_dead("a")
        await machines[1].boots.remove_dead("a")
        assert set(await machines[1].boots.beating()) == {"b"}

    with_store(test)


def test_the_first_to_beat_after_an_outage_of_the_store_takes_no_other_for_dead(tmp_path: Path) -> None:
    async def test(store: FaultyStore, clock: HandClock) -> None:
        machines = [Machine(tmp_path / boot, boot, store, clock) for boot in "abc"]
        for machine in machines:
            await machine.start()
            await machine.call(f"of_{machine.instances.boot_id}")
        await go_on(clock, 3 * DEAD_S, *machines)
        for _ in range(3):
            passes(clock, 25)  # the store is gone, or all machines stand still
            assert await machines[0].look() == []
            passes(clock, 5)
            for machine in machines:
                assert await machine.look() == []
            await go_on(clock, 2 * DEAD_S, *machines)
            assert await machines[0].look() == []
        await go_on(clock, DEAD_S + BEAT_EVERY_S, *machines[:2])
        assert await machines[0].look() == ["of_c"]

    with_store(test)


@pytest.mark.parametrize("jump_s", [3600.0, -3600.0])
def test_a_store_whose_clock_is_set_shows_no_instance_as_dead_and_later_those_that_are(
    tmp_path: Path, jump_s: float
) -> None:
    async def test(store: FaultyStore, clock: HandClock) -> None:
        machines = [Machine(tmp_path / boot, boot, store, clock) for boot in "abc"]
        for machine in machines:
            await machine.start()
            await machine.call(f"of_{machine.instances.boot_id}")
        await go_on(clock, 3 * DEAD_S, *machines)
        assert await machines[0].look() == []
        clock.wall += jump_s
        passes(clock, 1)
        assert await machines[0].look() == []
        for _ in range(12):
            await go_on(clock, BEAT_EVERY_S, *machines[:2])
            assert await owners(store, "of_b") == [("b", 1)]
            await machines[0].recovery.look()
        assert await owners(store, "of_b", "of_c") == [("b", 1), ("a", 2)]

    with_store(test)
