"""Recordings that a dead process left: the next start makes them, removes them or leaves them where they are."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from support.stores.recording_rig import KEY, RECORD, Rig, talk, with_rig

from gateway.recording.recorder import Recorder
from gateway.recording.writer import SpoolWriter
from sessions.agent import ReplayPolicy
from sessions.record import Speaker, Turn, Utterance
from sessions.stores.contract import SessionKey
from sessions.stores.documents import (
    Owner,
    RecordingInfo,
    RecordingState,
    SessionState,
    session_document,
    turn_document,
)


def a_dead_call(rig: Rig) -> Path:
    """Make the folder of an instance whose process died during a call, and return it."""
    dead = rig.folder / "dead"
    recorder = Recorder(dead, SpoolWriter(inline=True), rig.finisher, rig.saved.append, rig.clock)
    about: dict[str, Any] = {"agent": "harbour", "version": "1", "formats": {}, "started_ms": rig.clock.ms}
    running = recorder.begin(KEY, recording=True, replay=ReplayPolicy.FULL, **about)
    assert running is not None
    talk(running, rig.clock.ms)
    for part in (running.spool, running.events):
        assert part is not None
        part.tick(rig.clock.ms + 2000)
    return dead


def test_the_recording_of_a_dead_process_is_made_by_the_next_one(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        lost = replace(RECORD, recording=RecordingInfo(RecordingState.RUNNING, complete=False))
        await rig.store.put(session_document(lost, ttl_s=55), None)
        said = Utterance("item_a", Speaker.AGENT, "words", "words", True, begin_ms=200, sent_ms=1000, heard_ms=400)
        await rig.store.put(turn_document(KEY.tenant, KEY.session_id, Turn(0, 0, 900, [said]), ttl_s=55), None)
        assert await rig.recorder.adopt(rig.store, [a_dead_call(rig), tmp_path / "never was"], rig.take) == 1
        await rig.finisher.run_waiting()
        info = rig.info()
        assert (info.state, info.complete, info.duration_ms) == (RecordingState.READY, False, 1000)
        assert rig.saved[-1]["ttl"] == 55
        assert not [name for name in rig.files() if not name.startswith("blobs/")]

    with_rig(tmp_path, test)


def test_a_spool_whose_session_goes_on_elsewhere_waits_for_the_next_start(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        live = replace(RECORD, state=SessionState.LIVE, ended_at=None, owner=Owner("test", "elsewhere"))
        await rig.store.put(session_document(live, ttl_s=None), None)
        assert await rig.recorder.adopt(rig.store, [a_dead_call(rig)], rig.take) == 0
        assert "boot/calls/acme%20corp/s1/caller.raw" in rig.files()
        assert (await rig.store.get(KEY.tenant, KEY.session_id, "session"))["owner"] == {
            "process": "test",
            "boot": "elsewhere",
            "fence": 1,
        }

    with_rig(tmp_path, test)


def test_the_facts_of_a_recording_are_saved_by_the_new_owner_of_its_session(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        await rig.store.put(session_document(RECORD, ttl_s=None), None)
        dead = a_dead_call(rig)
        assert rig.recorder.has_spool(dead, KEY)
        assert not rig.recorder.has_spool(dead, SessionKey(KEY.tenant, "s2"))
        await rig.recorder.adopt(rig.store, [dead], rig.take)
        await rig.finisher.run_waiting()
        stored = await rig.store.get(KEY.tenant, KEY.session_id, "session")
        assert stored["owner"] == rig.saved[-1]["owner"] == {"process": "test", "boot": "own", "fence": 2}
        assert [held["etag"] for held in rig.held] == [stored["etag"]]
        await rig.recorder.adopt(rig.store, [a_dead_call(rig)], rig.take)  # it is ours already
        assert (await rig.store.get(KEY.tenant, KEY.session_id, "session"))["etag"] == stored["etag"]
        assert len(rig.held) == 2

    with_rig(tmp_path, test)


@pytest.mark.parametrize("left", [RecordingState.RUNNING, RecordingState.FAILED])
def test_a_recording_that_failed_at_an_earlier_start_is_made_by_the_next_one(
    tmp_path: Path, left: RecordingState
) -> None:
    async def test(rig: Rig) -> None:
        given_up = replace(RECORD, recording=RecordingInfo(left, complete=False))
        await rig.store.put(session_document(given_up, ttl_s=None), None)
        rig.blobs.fault = TypeError("no size")
        await rig.recorder.adopt(rig.store, [a_dead_call(rig)], rig.take)
        await rig.finisher.run_waiting()
        assert rig.info().state is RecordingState.FAILED
        await rig.store.put(rig.saved[-1], None)
        rig.blobs.fault = None
        next_start = Recorder(rig.folder / "next", SpoolWriter(inline=True), rig.finisher, rig.saved.append, rig.clock)
        assert await next_start.adopt(rig.store, [rig.folder / "boot"], rig.take) == 1
        await rig.finisher.run_waiting()
        assert (rig.info().state, rig.info().duration_ms) == (RecordingState.READY, 1000)
        assert not [name for name in rig.files() if not name.startswith("blobs/")]

    with_rig(tmp_path, test)


def test_a_spool_without_a_session_is_removed(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        assert await rig.recorder.adopt(rig.store, [a_dead_call(rig)], rig.take) == 0
        assert rig.files() == []

    with_rig(tmp_path, test)


def test_foreign_files_in_the_folder_of_spools_stay_where_they_are(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        await rig.store.put(session_document(RECORD, ttl_s=None), None)
        dead = a_dead_call(rig)
        strange = dead / "calls" / "strange"
        (strange / "folder").mkdir(parents=True)
        (strange / "folder" / "letters").write_text("keep me")
        (strange / "file").write_text("keep me")
        (strange / "link").symlink_to(tmp_path)
        (dead / "calls" / "file").write_text("keep me")
        assert await rig.recorder.adopt(rig.store, [dead], rig.take) == 1
        await rig.finisher.run_waiting()
        assert rig.info().state is RecordingState.READY
        kept = {path.name for path in tmp_path.rglob("*") if path.is_file() and path.read_bytes() == b"keep me"}
        assert kept == {"letters", "file"}
        assert len([path for path in tmp_path.rglob("file") if path.read_bytes() == b"keep me"]) == 2

    with_rig(tmp_path, test)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("at_ms", 10**15),
        ("at_ms", -5),
        ("at_ms", None),
        ("at_ms", 1e300),
        ("offset_bytes", -1),
        ("offset_bytes", 2**62),
        ("start_sample", 2**62),
        ("format", 7),
        ("format", "pcm16/1000000000000"),
        ("track", "nobody"),
        ("item_id", []),
    ],
)
def test_an_index_with_a_wrong_value_affects_only_its_recording(tmp_path: Path, field: str, value: object) -> None:
    async def test(rig: Rig) -> None:
        await rig.store.put(session_document(RECORD, ttl_s=None), None)
        dead = a_dead_call(rig)
        (index,) = dead.rglob("tracks.jsonl")
        head, first, *rest = index.read_bytes().splitlines()
        index.write_bytes(b"\n".join([head, orjson.dumps({**orjson.loads(first), field: value}, default=str), *rest]))
        async with asyncio.timeout(5):
            assert await rig.recorder.adopt(rig.store, [dead], rig.take) == 1
            await rig.finisher.run_waiting()
        assert rig.finisher.waiting == 0
        assert rig.info().state in (RecordingState.READY, RecordingState.FAILED)

    with_rig(tmp_path, test)


def test_with_an_index_that_cannot_be_read_the_event_log_is_still_kept(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        await rig.store.put(session_document(RECORD, ttl_s=None), None)
        dead = a_dead_call(rig)
        (index,) = dead.rglob("tracks.jsonl")
        index.write_bytes(b"\0" * 100)
        assert await rig.recorder.adopt(rig.store, [dead], rig.take) == 1
        await rig.finisher.run_waiting()
        assert rig.files() == ["blobs/acme%20corp/s1/events.jsonl"]

    with_rig(tmp_path, test)


def test_a_session_that_cannot_be_read_keeps_its_spool(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        await rig.store.put({**session_document(RECORD, ttl_s=None), "schema": 99}, None)
        assert await rig.recorder.adopt(rig.store, [a_dead_call(rig)], rig.take) == 0
        assert "boot/calls/acme%20corp/s1/caller.raw" in rig.files()

    with_rig(tmp_path, test)
