"""After a crash: which instances are dead, what they left, and how their sessions end."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from support.calls.call_rig import later
from support.stores.faulty_store import FaultyStore
from support.stores.records import kept, session_record
from support.stores.store_contract import HandClock, session
from support.virtual import run

from gateway.clock import LoopClock
from gateway.state.boots import Boots
from gateway.state.instances import InstanceFailed, Instances
from gateway.state.kept import Fence
from gateway.state.recovery import Recovery
from gateway.state.spool import StateSpool
from gateway.state.taking import Takeover
from gateway.state.write_behind import WriteBehind
from gateway.state.writer import WriteCounts
from sessions.record import Turn
from sessions.stores.contract import Document, SessionKey, StoreBusy, StoreFailed, Write
from sessions.stores.documents import (
    Owner,
    RecordingInfo,
    RecordingState,
    SessionRecord,
    SessionState,
    session_document,
    session_from_document,
    turn_document,
)


def document(session_id: str, boot: str, **more: Any) -> Document:
    return session_document(session_record(session_id, boot=boot, **more), ttl_s=500)


def recovery_of(store: FaultyStore, own: Instances, counts: WriteCounts | None = None) -> Recovery:
    """The recovery of the instance `own`, with a document of it in the store once it beats."""
    owner = Owner("test", own.boot_id)
    boots = Boots(store, own.boot_id, HandClock(), process="1", host="here", version="1")
    takeover = Takeover(store, owner, lambda session: None)
    return Recovery(store, own, boots, takeover, has_spool, inline=True, counts=counts)


def has_spool(folder: Path, key: SessionKey) -> bool:
    return (folder / "calls" / key.tenant / key.session_id).is_dir()


def named(caplog: pytest.LogCaptureFixture, message: str) -> list[tuple[object, ...]]:
    """The documents that the log names after this message: tenant, session and document id."""
    names = ("tenant", "session_id", "document")
    return [tuple(vars(one).get(name) for name in names) for one in caplog.records if one.message == message]


async def recover(store: FaultyStore, own: Instances, dead: Iterable[Path]) -> list[SessionRecord]:
    return await recovery_of(store, own).at_start(dead)


@asynccontextmanager
async def recovering(
    folder: Path, kind: type[FaultyStore] = FaultyStore
) -> AsyncIterator[tuple[Instances, FaultyStore]]:
    """An instance that holds its lock, and an open store."""
    own, store = Instances(folder, "own"), kind(HandClock())  # type: ignore[arg-type]
    own.hold()
    await store.open()
    yield own, store
    await store.close()
    own.release()


def dead_instance(root: Path, name: str) -> Path:
    (root / name).mkdir(parents=True)
    (root / name / "lock").touch()
    return root / name


def test_an_instance_that_holds_its_lock_is_running_and_one_that_does_not_is_dead(tmp_path: Path) -> None:
    first, second = Instances(tmp_path, "first"), Instances(tmp_path, "second")
    first.hold()
    second.hold()
    assert second.is_running("first")
    assert second.take_dead() == []
    first.release()
    assert not second.is_running("first")
    assert not (tmp_path / "first").exists()
    dead = dead_instance(tmp_path, "crashed")
    assert second.take_dead() == [dead]
    second.discard(dead)
    assert not dead.exists()
    second.release()


def test_a_dead_instance_is_taken_over_by_one_process_only(tmp_path: Path) -> None:
    dead = dead_instance(tmp_path, "crashed")
    first, second = Instances(tmp_path, "first"), Instances(tmp_path, "second")
    first.hold()
    second.hold()
    assert first.take_dead() == [dead]
    assert second.take_dead() == []
    assert first.take_dead() == [dead]
    assert not first.is_running("crashed")
    first.release()
    assert second.take_dead() == [dead]
    second.release()


def test_a_folder_that_still_holds_files_stays_after_its_release(tmp_path: Path) -> None:
    instances = Instances(tmp_path, "first")
    instances.hold()
    (instances.folder / "calls").mkdir()
    (instances.folder / "calls" / "left").touch()
    instances.release()
    assert (instances.folder / "calls" / "left").exists()


def test_foreign_files_beside_the_folders_of_earlier_starts_stay_where_they_are(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dead = dead_instance(tmp_path, "crashed")
    (dead / "calls" / "default").mkdir(parents=True)
    (tmp_path / "notes.txt").write_text("keep me")
    (tmp_path / "backup" / "old").mkdir(parents=True)
    (tmp_path / "backup" / "old" / "letters").write_text("keep me")
    (tmp_path / "lost+found").mkdir()
    instances = Instances(tmp_path, "own")
    instances.hold()
    for folder in instances.take_dead():
        instances.discard(folder)
    assert not dead.exists()
    assert (tmp_path / "backup" / "old" / "letters").exists()
    assert (tmp_path / "notes.txt").exists()
    places = [getattr(record, "place", "") for record in caplog.records]
    assert places == [str(tmp_path / "backup")]
    instances.release()


def test_a_folder_that_was_deleted_under_a_running_instance_is_locked_again(tmp_path: Path) -> None:
    first, second = Instances(tmp_path / "instances", "first"), Instances(tmp_path / "instances", "second")
    first.hold()
    second.hold()
    shutil.rmtree(tmp_path / "instances")
    assert not second.is_running("first")
    for instances in (first, second):
        instances.renew()
        instances.renew()
    assert second.is_running("first")
    assert second.take_dead() == []
    first.release()
    assert not second.is_running("first")
    second.release()
    assert list((tmp_path / "instances").iterdir()) == []


def test_a_folder_that_cannot_be_made_again_yet_is_tried_later(tmp_path: Path) -> None:
    instances = Instances(tmp_path / "instances", "own")
    instances.hold()
    shutil.rmtree(tmp_path / "instances")
    (tmp_path / "instances").touch()
    instances.renew()
    (tmp_path / "instances").unlink()
    instances.renew()
    assert (instances.folder / "lock").exists()
    instances.release()


@pytest.mark.parametrize("name", ["", "..", "a/b", "x" * 200])
def test_a_boot_id_must_be_a_plain_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(InstanceFailed):
        Instances(tmp_path, name)


def test_the_error_names_a_root_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InstanceFailed, match="file"):
        Instances(tmp_path / "file", "first").hold()


def test_sessions_of_a_dead_process_are_ended_and_those_of_a_running_one_are_not(tmp_path: Path) -> None:
    async def main() -> None:
        async with recovering(tmp_path) as (own, store):
            other = Instances(tmp_path, "other")
            other.hold()
            running = RecordingInfo(RecordingState.RUNNING)
            (dead_instance(tmp_path, "crashed") / "calls" / "default" / "lost").mkdir(parents=True)
            await store.put(document("lost", "crashed", recording=running), None)
            await store.put(document("unrecorded", "crashed", recording=running), None)
            await store.put(document("elsewhere", "other"), None)
            await store.put(document("done", "crashed", state=SessionState.ENDED, ended_at=1001.0), None)
            for index, (end_ms, latency_ms) in enumerate([(2000, None), (5000, 700)]):
                turn = Turn(index, begin_ms=index * 2000, end_ms=end_ms, latency_ms=latency_ms)
                await store.put(turn_document("default", "lost", turn, ttl_s=500), None)
            ended, unrecorded = await recover(store, own, [])
            assert unrecorded.recording == RecordingInfo(RecordingState.FAILED, complete=False)
            assert (ended.session_id, ended.owner) == ("lost", Owner("test", "own", fence=2))
            stored = await store.get("default", "lost", "session")
            assert stored["ttl"] == 500
            assert session_from_document(stored) == ended
            assert ended.state is SessionState.ENDED
            assert ended.summary.end_reason == "server_lost"
            assert (ended.summary.turns, ended.summary.duration_ms, ended.ended_at) == (2, 5000, 1005.0)
            assert ended.latencies_ms == (700,)
            assert (ended.recording.state, ended.recording.complete) == (RecordingState.RUNNING, False)
            assert (await store.get("default", "elsewhere", "session"))["state"] == "live"
            assert await recover(store, own, []) == []
            other.release()

    asyncio.run(main())


def test_the_newest_versions_that_a_dead_process_spooled_are_stored(tmp_path: Path) -> None:
    async def main() -> None:
        async with recovering(tmp_path) as (own, store):
            dead = dead_instance(tmp_path, "crashed")
            spool = StateSpool(dead / "state", 10_000)
            spool.append(kept(document("s1", "crashed"), turn_document("default", "s1", Turn(0, 0), ttl_s=None)))
            spool.append(kept(turn_document("default", "s1", Turn(0, 0, end_ms=900), ttl_s=None)))
            with (dead / "state" / "state.jsonl").open("ab") as file:
                file.write(b'{"id": "turn_00001", "tenant": "def')
            (ended,) = await recover(store, own, own.take_dead())
            assert ended.summary.duration_ms == 900
            (turn,) = await store.query("default", "s1", "turn")
            assert turn["end_ms"] == 900
            assert not spool.has_documents

    asyncio.run(main())


DAMAGED_LINES = (
    b"\0\0\0\n",
    b"null\n",
    b"7\n",
    b"[]\n",
    b'{"id": 3}\n',
    b'{"id": "x", "tenant": 1}\n',
    b"\xff\xfe\n",
    b"{\n",
)


@pytest.mark.parametrize("damaged", DAMAGED_LINES, ids=repr)
def test_a_line_of_a_spool_that_cannot_be_read_is_skipped_and_logged_with_its_place(
    tmp_path: Path, damaged: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with recovering(tmp_path) as (own, store):
            dead = dead_instance(tmp_path, "crashed")
            spool = StateSpool(dead / "state", 10_000)
            spool.append(kept(document("s1", "crashed")))
            with (dead / "state" / "state.jsonl").open("ab") as file:
                file.write(damaged)
            spool.append(kept(document("s2", "crashed")))
            ended = await recover(store, own, own.take_dead())
            assert {record.session_id for record in ended} == {"s1", "s2"}

    asyncio.run(main())
    (place,) = {getattr(record, "place", None) for record in caplog.records if "spooled" in record.message}
    assert str(place).endswith("state.jsonl:3")


def test_a_turn_that_cannot_be_read_is_named_and_skipped_and_its_session_is_ended(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with recovering(tmp_path) as (own, store):
            await store.put(document("lost", "crashed"), None)
            await store.put(turn_document("default", "lost", Turn(0, 0, end_ms=2000), ttl_s=None), None)
            newer = {**turn_document("default", "lost", Turn(1, 0, end_ms=9000), ttl_s=None), "schema": 99}
            await store.put(newer, None)
            await store.put({**newer, "id": "turn_00002", "schema": 1, "entries": None}, None)
            (ended,) = await recover(store, own, [])
            assert (ended.summary.turns, ended.summary.duration_ms) == (1, 2000)

    asyncio.run(main())
    assert named(caplog, "a turn of a lost session cannot be read") == [
        ("default", "lost", "turn_00001"),
        ("default", "lost", "turn_00002"),
    ]


def test_a_spool_that_the_store_does_not_take_stays_for_the_next_start(tmp_path: Path) -> None:
    async def main() -> None:
        async with recovering(tmp_path) as (own, store):
            dead = dead_instance(tmp_path, "crashed")
            spool = StateSpool(dead / "state", 10_000)
            spool.append(kept(document("s1", "crashed")))
            store.broken = True
            for folder in own.take_dead():
                assert await recover(store, own, [folder]) == []
                own.discard(folder)
            store.broken = False
            assert spool.has_documents
            for folder in own.take_dead():
                (ended,) = await recover(store, own, [folder])
                assert ended.session_id == "s1"
                own.discard(folder)
            assert not dead.exists()

    asyncio.run(main())


def test_recordings_of_an_instance_that_dies_on_this_machine_are_taken_over_after_its_sessions(tmp_path: Path) -> None:
    async def main() -> None:
        async with recovering(tmp_path) as (own, store):
            adopted: list[tuple[Path, str, bool]] = []

            async def adopt(folder: Path) -> None:
                state = str((await store.get("default", "s1", "session"))["state"])
                adopted.append((folder, state, Instances(tmp_path, "another").is_running("crashed")))

            boots = Boots(store, "own", HandClock(), process="1", host="here", version="1")
            takeover = Takeover(store, Owner("test", "own"), lambda session: None)
            recovery = Recovery(store, own, boots, takeover, has_spool, adopt=adopt, inline=True)
            await boots.beat()
            assert await recovery.look() == []
            await Boots(store, "crashed", HandClock(), process="2", host="here", version="1").beat()
            await store.put(document("s1", "crashed"), None)
            folder = dead_instance(tmp_path, "crashed")
            assert [record.session_id for record in await recovery.look()] == ["s1"]
            assert adopted == [(folder, "ended", True)]  # its lock is held meanwhile, so that no other takes it over
            assert await recovery.look() == []
            assert len(adopted) == 1

    run(main())


def test_a_lost_session_that_the_store_refuses_to_end_is_ended_at_a_later_look(tmp_path: Path) -> None:
    async def main() -> None:
        async with recovering(tmp_path) as (own, store):
            await store.put(document("lost", "crashed"), None)
            recovery = recovery_of(store, own)
            store.broken = True
            assert await recovery.at_start([]) == []
            assert await recovery.look() == []
            store.broken = False
            assert [ended.session_id for ended in await recovery.look()] == ["lost"]
            await store.put(document("new", "no document"), None)
            assert await recovery.look() == []  # instances without a document are looked for only once

    asyncio.run(main())


def test_a_session_that_cannot_be_read_is_named_and_does_not_stop_the_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with recovering(tmp_path) as (own, store):
            await store.put(session("strange", state="live"), None)
            wrong = document("wrong", "crashed")
            await store.put({**wrong, "recording": {**dict(wrong["recording"]), "state": "xylophone"}}, None)  # type: ignore[call-overload]
            await store.put(document("lost", "crashed"), None)
            assert [ended.session_id for ended in await recover(store, own, [])] == ["lost"]

    asyncio.run(main())
    message = "a session that was left live cannot be ended"
    assert sorted(named(caplog, message)) == [("default", "strange", "session"), ("default", "wrong", "session")]
    assert "xylophone" not in str([vars(one) for one in caplog.records])


def test_a_session_that_cannot_be_read_is_named_in_the_look_for_dead_servers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with recovering(tmp_path) as (own, store):
            recovery = recovery_of(store, own)
            assert await recovery.at_start([]) == []
            boots = Boots(store, "crashed", HandClock(), process="2", host="here", version="1")
            dead_instance(tmp_path, "crashed")
            await boots.beat()
            await store.put({**document("odd", "crashed"), "schema": 99}, None)
            assert await recovery.look() == []

    asyncio.run(main())
    assert named(caplog, "a session that was left live cannot be ended") == [("default", "odd", "session")]


class Slow(FaultyStore):
    """Is busy, or fails, for the numbered writes that `refuses` names."""

    def __init__(self, clock: HandClock) -> None:
        super().__init__(clock)
        self.refuses: dict[int, StoreFailed] = {}
        self.asked: list[str] = []

    async def put_many(self, writes: Sequence[Write]) -> list[str]:
        number = len(self.asked)
        self.asked.append(str(writes[0].document["session_id"]))
        if number in self.refuses:
            raise self.refuses[number]
        return await super().put_many(writes)


def spooled_by(root: Path, sessions: int, name: str = "crashed") -> StateSpool:
    """What a dead instance spooled of this many sessions, in so large documents that they take several batches."""
    spool = StateSpool(dead_instance(root, name) / "state", 1 << 26)
    for number in range(sessions):
        ended = document(f"s{number}", name, state=SessionState.ENDED, ended_at=1001.0)
        spool.append(kept({**ended, "text": "x" * 400_000}, fence=Fence(name, 1, None)))
    return spool


def test_a_store_that_is_busy_at_the_start_is_waited_for(tmp_path: Path) -> None:
    async def main() -> None:
        async with recovering(tmp_path, Slow) as (own, store):
            assert isinstance(store, Slow)
            spooled_by(tmp_path, 6)
            store.refuses = {number: StoreBusy("busy", retry_after_ms=900) for number in (1, 3, 4)}
            await recover(store, own, own.take_dead())
            assert len(store.asked) == 9
            page = await store.sessions("default", limit=10, after=None)
            assert len(page.items) == 6

    run(main())


def test_a_restore_that_breaks_off_goes_on_where_it_stopped(tmp_path: Path) -> None:
    async def main() -> None:
        async with recovering(tmp_path, Slow) as (own, store):
            assert isinstance(store, Slow)
            spool = spooled_by(tmp_path, 6)
            store.refuses = {3: StoreFailed("the disk is gone")}
            for folder in own.take_dead():
                await recover(store, own, [folder])
                own.discard(folder)
            assert spool.has_documents
            for folder in own.take_dead():
                await recover(store, own, [folder])
            assert sorted(store.asked[:4]) == sorted(set(store.asked[:4]))
            written = [name for number, name in enumerate(store.asked) if number not in store.refuses]
            assert sorted(written) == [f"s{number}" for number in range(6)]
            assert not spool.has_documents

    run(main())


def test_what_a_dead_process_spooled_is_not_written_over_another_owner_or_a_deletion(tmp_path: Path) -> None:
    async def main() -> None:
        async with recovering(tmp_path) as (own, store):
            spool = StateSpool(dead_instance(tmp_path, "crashed") / "state", 10_000)
            counts = WriteCounts()
            for name in ("taken", "deleted", "same", "fresh"):
                etag = None if name == "fresh" else await store.put(document(name, "crashed"), None)
                fence = Fence("crashed", 1, etag)
                spool.append(kept(turn_document("default", name, Turn(0, 0, end_ms=900), ttl_s=None), fence=fence))
                if name == "fresh":
                    spool.append(kept(document(name, "crashed"), fence=fence))
            await store.put(document("taken", "other"), None)
            await store.delete_session("default", "deleted")
            recovery = recovery_of(store, own, counts)
            other = Instances(tmp_path, "other")
            other.hold()
            ended = await recovery.at_start(own.take_dead())
            assert sorted(one.session_id for one in ended) == ["fresh", "same"]
            assert (counts.fenced, counts.dropped, counts.lost) == (1, 2, 0)
            turns = {name: len(await store.query("default", name, "turn")) for name in ("taken", "deleted", "same")}
            assert turns == {"taken": 0, "deleted": 0, "same": 1}
            assert not spool.has_documents
            other.release()

    asyncio.run(main())


def test_a_process_that_dies_while_it_writes_what_waited_leaves_the_rest_and_nothing_old(tmp_path: Path) -> None:
    async def main() -> None:
        async with recovering(tmp_path) as (own, store):
            clock = LoopClock(asyncio.get_running_loop(), 1e9)
            folder = dead_instance(tmp_path, "crashed")
            dying = WriteBehind(store, folder / "state", clock, inline=True, boot="crashed")
            store.broken = True
            for number in range(150):
                dying.save(document(f"s{number:03}", "crashed"))
                dying.save(turn_document("default", f"s{number:03}", Turn(0, 0, end_ms=100), ttl_s=None))
                await dying.flush("default", f"s{number:03}")
            store.broken = False
            async with asyncio.TaskGroup() as tasks:
                writing = tasks.create_task(dying.run())
                await store.written.wait()
                for number in (0, 60, 149):  # of a session that is stored already, and of those that wait
                    dying.save(turn_document("default", f"s{number:03}", Turn(0, 0, end_ms=200), ttl_s=None))
                await later(0.06)
                writing.cancel()  # kill -9
            assert not dying.report.healthy
            assert 0 < dying.report.beside < 300
            ended = await recover(store, own, own.take_dead())
            assert len(ended) == 150
            for number in range(150):
                (turn,) = await store.query("default", f"s{number:03}", "turn")
                assert turn["end_ms"] == (200 if number in (0, 60, 149) else 100)

    run(main())
