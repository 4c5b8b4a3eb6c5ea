"""After a crash: which boots are over, what they left, and how their sessions end."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest
from faulty_store import FaultyStore
from store_contract import HandClock, session

from gateway.boots import BootFailed, Boots
from gateway.staterecovery import recover
from gateway.statespool import StateSpool
from sessions.documents import (
    Owner,
    RecordingInfo,
    RecordingState,
    SessionRecord,
    SessionState,
    session_document,
    session_from_document,
    turn_document,
)
from sessions.record import CallSummary, Turn
from sessions.stores.contract import Document


def record(session_id: str, boot: str, **more: Any) -> SessionRecord:
    facts: dict[str, Any] = {
        "tenant": "default",
        "session_id": session_id,
        "agent": "harbour",
        "agent_version": "1",
        "model": "local/offline",
        "protocol": "realtime",
        "state": SessionState.LIVE,
        "started_at": 1000.0,
        "ended_at": None,
        "summary": CallSummary(),
        "latencies_ms": (),
        "recording": RecordingInfo(RecordingState.OFF),
        "owner": Owner("test", boot),
    }
    return SessionRecord(**{**facts, **more})


def document(session_id: str, boot: str, **more: Any) -> Document:
    return session_document(record(session_id, boot, **more), ttl_s=500)


def dead_boot(root: Path, name: str) -> Path:
    (root / name).mkdir(parents=True)
    (root / name / "lock").touch()
    return root / name


def test_a_boot_that_holds_its_lock_is_running_and_one_that_does_not_is_over(tmp_path: Path) -> None:
    first, second = Boots(tmp_path, "first"), Boots(tmp_path, "second")
    first.hold()
    second.hold()
    assert second.is_running("first")
    assert second.take_dead() == []
    first.release()
    assert not second.is_running("first")
    assert not (tmp_path / "first").exists()
    dead = dead_boot(tmp_path, "crashed")
    assert second.take_dead() == [dead]
    second.discard(dead)
    assert not dead.exists()
    second.release()


def test_a_dead_boot_is_taken_over_by_one_process_only(tmp_path: Path) -> None:
    dead = dead_boot(tmp_path, "crashed")
    first, second = Boots(tmp_path, "first"), Boots(tmp_path, "second")
    first.hold()
    second.hold()
    assert first.take_dead() == [dead]
    assert second.take_dead() == []
    assert first.take_dead() == [dead]
    assert not first.is_running("crashed")
    first.release()
    assert second.take_dead() == [dead]
    second.release()


def test_a_folder_that_still_holds_something_outlives_its_release(tmp_path: Path) -> None:
    boots = Boots(tmp_path, "first")
    boots.hold()
    (boots.folder / "calls").mkdir()
    (boots.folder / "calls" / "left").touch()
    boots.release()
    assert (boots.folder / "calls" / "left").exists()


def test_what_is_not_ours_in_a_folder_of_an_earlier_start_stays_where_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dead = dead_boot(tmp_path, "crashed")
    (dead / "calls" / "default").mkdir(parents=True)
    (tmp_path / "notes.txt").write_text("keep me")
    (tmp_path / "backup" / "old").mkdir(parents=True)
    (tmp_path / "backup" / "old" / "letters").write_text("keep me")
    (tmp_path / "lost+found").mkdir()
    boots = Boots(tmp_path, "own")
    boots.hold()
    for folder in boots.take_dead():
        boots.discard(folder)
    assert not dead.exists()
    assert (tmp_path / "backup" / "old" / "letters").exists()
    assert (tmp_path / "notes.txt").exists()
    places = [getattr(record, "place", "") for record in caplog.records]
    assert places == [str(tmp_path / "backup")]
    boots.release()


def test_a_folder_that_was_deleted_under_a_running_start_is_held_anew(tmp_path: Path) -> None:
    first, second = Boots(tmp_path / "boots", "first"), Boots(tmp_path / "boots", "second")
    first.hold()
    second.hold()
    shutil.rmtree(tmp_path / "boots")
    assert not second.is_running("first")
    for boots in (first, second):
        boots.renew()
        boots.renew()
    assert second.is_running("first")
    assert second.take_dead() == []
    first.release()
    assert not second.is_running("first")
    second.release()
    assert list((tmp_path / "boots").iterdir()) == []


def test_a_folder_that_cannot_be_made_anew_yet_is_tried_again(tmp_path: Path) -> None:
    boots = Boots(tmp_path / "boots", "own")
    boots.hold()
    shutil.rmtree(tmp_path / "boots")
    (tmp_path / "boots").touch()
    boots.renew()
    (tmp_path / "boots").unlink()
    boots.renew()
    assert (boots.folder / "lock").exists()
    boots.release()


@pytest.mark.parametrize("name", ["", "..", "a/b", "x" * 200])
def test_a_boot_needs_a_plain_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(BootFailed):
        Boots(tmp_path, name)


def test_a_root_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BootFailed, match="file"):
        Boots(tmp_path / "file", "first").hold()


def test_sessions_of_a_dead_process_end_and_those_of_a_living_one_go_on(tmp_path: Path) -> None:
    async def main() -> None:
        own, other = Boots(tmp_path, "own"), Boots(tmp_path, "other")
        own.hold()
        other.hold()
        store = FaultyStore(HandClock())
        await store.open()
        running = RecordingInfo(RecordingState.RUNNING)
        await store.put(document("lost", "crashed", recording=running), None)
        await store.put(document("elsewhere", "other"), None)
        await store.put(document("done", "crashed", state=SessionState.ENDED, ended_at=1001.0), None)
        for index, (end_ms, latency_ms) in enumerate([(2000, None), (5000, 700)]):
            turn = Turn(index, begin_ms=index * 2000, end_ms=end_ms, latency_ms=latency_ms)
            await store.put(turn_document("default", "lost", turn, ttl_s=500), None)
        (ended,) = await recover(store, own, [])
        assert ended.session_id == "lost"
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
        await store.close()
        own.release()
        other.release()

    asyncio.run(main())


def test_what_a_dead_process_spooled_is_written_in_its_newest_version(tmp_path: Path) -> None:
    async def main() -> None:
        own = Boots(tmp_path, "own")
        own.hold()
        dead = dead_boot(tmp_path, "crashed")
        spool = StateSpool(dead, 10_000)
        spool.append([document("s1", "crashed"), turn_document("default", "s1", Turn(0, 0), ttl_s=None)])
        spool.append([turn_document("default", "s1", Turn(0, 0, end_ms=900), ttl_s=None), {**session("x"), "id": 3}])
        with (dead / "state.jsonl").open("ab") as file:
            file.write(b'{"id": "turn_00001", "tenant": "def')
        store = FaultyStore(HandClock())
        await store.open()
        (ended,) = await recover(store, own, own.take_dead())
        assert ended.summary.duration_ms == 900
        (turn,) = await store.query("default", "s1", "turn")
        assert turn["end_ms"] == 900
        assert not spool.waits
        await store.close()
        own.release()

    asyncio.run(main())


SPOILT_LINES = (
    b"\0\0\0\n",
    b"null\n",
    b"7\n",
    b"[]\n",
    b'{"id": 3}\n',
    b'{"id": "x", "tenant": 1}\n',
    b"\xff\xfe\n",
    b"{\n",
)


@pytest.mark.parametrize("spoilt", SPOILT_LINES, ids=repr)
def test_a_line_of_a_spool_that_cannot_be_read_costs_itself_and_is_named(
    tmp_path: Path, spoilt: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        own = Boots(tmp_path, "own")
        own.hold()
        dead = dead_boot(tmp_path, "crashed")
        spool = StateSpool(dead, 10_000)
        spool.append([document("s1", "crashed")])
        with (dead / "state.jsonl").open("ab") as file:
            file.write(spoilt)
        spool.append([document("s2", "crashed")])
        store = FaultyStore(HandClock())
        await store.open()
        ended = await recover(store, own, own.take_dead())
        assert {record.session_id for record in ended} == {"s1", "s2"}
        await store.close()
        own.release()

    asyncio.run(main())
    (place,) = [getattr(record, "place", None) for record in caplog.records if "spooled" in record.message]
    assert str(place).endswith("state.jsonl:3")


def test_a_turn_that_cannot_be_read_costs_itself_and_not_the_end_of_its_session(tmp_path: Path) -> None:
    async def main() -> None:
        own = Boots(tmp_path, "own")
        own.hold()
        store = FaultyStore(HandClock())
        await store.open()
        await store.put(document("lost", "crashed"), None)
        await store.put(turn_document("default", "lost", Turn(0, 0, end_ms=2000), ttl_s=None), None)
        newer = {**turn_document("default", "lost", Turn(1, 0, end_ms=9000), ttl_s=None), "schema": 99}
        await store.put(newer, None)
        await store.put({**newer, "id": "turn_00002", "schema": 1, "entries": None}, None)
        (ended,) = await recover(store, own, [])
        assert (ended.summary.turns, ended.summary.duration_ms) == (1, 2000)
        await store.close()
        own.release()

    asyncio.run(main())


def test_a_spool_that_the_store_does_not_take_stays_for_the_next_start(tmp_path: Path) -> None:
    async def main() -> None:
        own = Boots(tmp_path, "own")
        own.hold()
        dead = dead_boot(tmp_path, "crashed")
        spool = StateSpool(dead / "state", 10_000)
        spool.append([document("s1", "crashed")])
        store = FaultyStore(HandClock())
        await store.open()
        store.broken = True
        for folder in own.take_dead():
            assert await recover(store, own, [folder / "state"]) == []
            own.discard(folder)
        store.broken = False
        assert spool.waits
        for folder in own.take_dead():
            (ended,) = await recover(store, own, [folder / "state"])
            assert ended.session_id == "s1"
            own.discard(folder)
        assert not dead.exists()
        await store.close()
        own.release()

    asyncio.run(main())


def test_the_end_of_a_lost_session_that_the_store_does_not_take_is_saved_beside_the_calls(tmp_path: Path) -> None:
    async def main() -> None:
        own = Boots(tmp_path, "own")
        own.hold()
        store = FaultyStore(HandClock())
        await store.open()
        await store.put(document("lost", "crashed"), None)
        store.broken = True
        saved: list[Document] = []
        (ended,) = await recover(store, own, [], saved.append)
        assert [(found["session_id"], found["state"]) for found in saved] == [("lost", "ended")]
        assert ended.session_id == "lost"
        await store.close()
        own.release()

    asyncio.run(main())


def test_a_session_that_cannot_be_read_does_not_stop_the_start(tmp_path: Path) -> None:
    async def main() -> None:
        own = Boots(tmp_path, "own")
        own.hold()
        store = FaultyStore(HandClock())
        await store.open()
        await store.put(session("strange", state="live"), None)
        await store.put(document("lost", "crashed"), None)
        assert [ended.session_id for ended in await recover(store, own, [])] == ["lost"]
        await store.close()
        own.release()

    asyncio.run(main())
