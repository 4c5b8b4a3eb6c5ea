"""From a call's first frame to the file in the blob store, by each policy; and what a crash or a deletion leaves."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import soundfile
from call_rig import later
from faulty_store import FaultyStore
from store_contract import HandClock

from audio.formats import PCMU_8K, AudioFrame
from gateway.recording.blobs import BlobFailed, FolderBlobs
from gateway.recording.eventlog import LoggedMessage, LoggedSound, Source, read_event_log
from gateway.recording.finisher import Finisher
from gateway.recording.recorder import CallRecording, Recorder
from gateway.recording.sink import Sink
from gateway.recording.writer import SpoolWriter
from sessions.agent import ReplayPolicy
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
from sessions.record import CallSummary, PlayedSpan, Speaker, Turn, Utterance
from sessions.stores.contract import Document, SessionKey

KEY = SessionKey("acme corp", "s1")
RECORD = SessionRecord(
    tenant=KEY.tenant,
    session_id=KEY.session_id,
    agent="harbour",
    agent_version="1",
    model="local/offline",
    protocol="realtime",
    state=SessionState.ENDED,
    started_at=1000.0,
    ended_at=1002.0,
    summary=CallSummary(),
    latencies_ms=(),
    recording=RecordingInfo(RecordingState.RUNNING),
    owner=Owner("test", "boot"),
)


class BrokenBlobs(FolderBlobs):
    """Takes nothing while `broken`, or while it has a `fault`."""

    broken = False
    fault: BaseException | None = None

    async def put_file(self, tenant: str, session_id: str, name: str, path: Path) -> int:
        if self.fault is not None:
            raise self.fault
        if self.broken:
            raise BlobFailed("the blob store is gone")
        return await super().put_file(tenant, session_id, name, path)


class SlowWriter(SpoolWriter):
    """A disk that is done only when `quick` is set."""

    def __init__(self, *, inline: bool) -> None:
        super().__init__(inline=inline)
        self.quick = asyncio.Event()
        self.quick.set()
        self.fault: OSError | None = None

    async def settled(self, sink: Sink | None = None) -> None:
        await self.quick.wait()
        if self.fault is not None:
            raise self.fault
        await super().settled(sink)


@dataclass
class Room:
    """Everything around a recorder, on real files."""

    folder: Path
    clock: HandClock
    blobs: BrokenBlobs
    finisher: Finisher
    recorder: Recorder
    saved: list[Document]
    writer: SlowWriter

    def files(self) -> list[str]:
        """What lies in the spool and in the blob store, by name."""
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file())

    def info(self) -> RecordingInfo:
        """The recording's facts as they were saved last."""
        return session_from_document(self.saved[-1]).recording

    def begin(self, *, recording: bool = True, replay: ReplayPolicy = ReplayPolicy.OFF) -> CallRecording | None:
        formats = {"caller": "pcmu/8000", "agent": "pcmu/8000"}
        about: dict[str, Any] = {"agent": "harbour", "version": "1", "formats": formats, "started_ms": self.clock.ms}
        return self.recorder.begin(KEY, recording=recording, replay=replay, **about)

    async def end(self, running: CallRecording) -> None:
        await self.recorder.end(running, RECORD, [PlayedSpan("item_a", 500, 300)], ttl_s=77)


def in_room(folder: Path, test: Callable[[Room], Awaitable[None]]) -> None:
    async def main() -> None:
        clock, saved = HandClock(ms=9000), list[Document]()
        blobs = BrokenBlobs(folder / "blobs", inline=True)
        finisher = Finisher(blobs, inline=True)
        writer = SlowWriter(inline=True)
        recorder = Recorder(folder / "boot", writer, finisher, saved.append, clock)
        async with asyncio.timeout(20):
            await test(Room(folder, clock, blobs, finisher, recorder, saved, writer))

    asyncio.run(main())


def talk(running: CallRecording, start_ms: int) -> None:
    """One second of caller and one of agent, with a message between."""
    for number in range(50):
        frame = AudioFrame(b"\x10" * 160, PCMU_8K, number * 160)
        if running.spool is not None:
            running.spool.caller(frame, start_ms + number * 20)
            running.spool.agent(frame, "item_a", start_ms + number * 20)
        if running.events is not None:
            running.events.sound(Source.CALLER, "caller", frame, start_ms + number * 20)
    if running.events is not None:
        running.events.message(Source.MODEL, "words", start_ms + 1000)


@pytest.mark.parametrize(
    ("recording", "replay", "kept"),
    [
        (True, ReplayPolicy.OFF, ["recording.flac"]),
        (True, ReplayPolicy.TEXT, ["events.jsonl", "recording.flac"]),
        (True, ReplayPolicy.FULL, ["agent.raw", "caller.raw", "events.jsonl", "recording.flac", "tracks.jsonl"]),
        (False, ReplayPolicy.TEXT, ["events.jsonl"]),
        (False, ReplayPolicy.FULL, ["agent.raw", "caller.raw", "events.jsonl", "tracks.jsonl"]),
    ],
)
def test_what_is_kept_is_what_the_policy_says(
    tmp_path: Path, recording: bool, replay: ReplayPolicy, kept: list[str]
) -> None:
    async def test(room: Room) -> None:
        running = room.begin(recording=recording, replay=replay)
        assert running is not None
        talk(running, room.clock.ms)
        room.clock.ms += 1000
        await room.end(running)
        assert room.finisher.waiting == 1
        await room.finisher.work_off()
        assert room.files() == [f"blobs/acme%20corp/s1/{name}" for name in kept]
        info = room.info()
        assert (info.state, info.complete) == (RecordingState.READY, True)
        assert (info.stereo is not None) == recording
        assert (info.events is not None) == (replay is not ReplayPolicy.OFF)
        assert (info.tracks is not None) == (replay is ReplayPolicy.FULL)
        assert room.saved[-1]["ttl"] == 77

    in_room(tmp_path, test)


def test_off_means_no_sound_and_no_file_anywhere(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        assert room.begin(recording=False, replay=ReplayPolicy.OFF) is None
        assert room.files() == []

    in_room(tmp_path, test)


def test_a_replay_of_words_holds_no_sound_not_even_where_it_was(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        running = room.begin(recording=False, replay=ReplayPolicy.TEXT)
        assert running is not None
        assert running.spool is None
        talk(running, room.clock.ms)
        await room.end(running)
        await room.finisher.work_off()
        path = room.blobs.local_path(KEY.tenant, KEY.session_id, "events.jsonl")
        assert path is not None
        assert read_event_log(path)[1] == [LoggedMessage(1000, Source.MODEL, "words")]

    in_room(tmp_path, test)


def test_the_recordings_facts_are_those_of_the_file(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        running = room.begin(replay=ReplayPolicy.FULL)
        assert running is not None
        assert running.info.state is RecordingState.RUNNING
        talk(running, room.clock.ms)
        await room.end(running)
        await room.finisher.work_off()
        info = room.info()
        path = room.blobs.local_path(KEY.tenant, KEY.session_id, info.stereo or "")
        assert path is not None
        assert (info.rate_hz, info.duration_ms, info.payload_bytes) == (8000, 1000, path.stat().st_size)
        sound, _ = soundfile.read(path, dtype="int16")
        assert sound.shape == (8000, 2)
        assert not sound[: 500 * 8, 1].any()
        assert sound[500 * 8 : 800 * 8, 1].all()
        assert not sound[800 * 8 :, 1].any()
        log = room.blobs.local_path(KEY.tenant, KEY.session_id, info.events or "")
        assert log is not None
        assert read_event_log(log)[1][0] == LoggedSound(0, Source.CALLER, "caller", 0, 8000, 980)

    in_room(tmp_path, test)


def test_a_call_of_typed_words_has_no_recording(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        running = room.begin()
        assert running is not None
        await room.end(running)
        await room.finisher.work_off()
        assert room.files() == []
        assert (room.info().state, room.info().stereo) == (RecordingState.OFF, None)

    in_room(tmp_path, test)


def test_a_recording_waits_for_a_blob_store_that_is_gone(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        running = room.begin()
        assert running is not None
        talk(running, room.clock.ms)
        await room.end(running)
        room.blobs.broken = True
        for _ in range(5):
            await room.finisher.work_off()
        assert (room.finisher.waiting, room.finisher.failed, room.saved) == (1, 0, [])
        assert "boot/calls/acme%20corp/s1/caller.raw" in room.files()
        room.blobs.broken = False
        await room.finisher.work_off()
        assert (room.info().state, room.info().complete, room.finisher.waiting) == (RecordingState.READY, True, 0)

    in_room(tmp_path, test)


@pytest.mark.parametrize(
    ("fault", "waits"),
    [
        (OSError(errno.ENOSPC, "no space left"), True),
        (OSError(errno.EDQUOT, "quota exceeded"), True),
        (OSError(errno.EROFS, "read-only file system"), True),
        (OSError(errno.EIO, "input/output error"), True),
        (OSError(errno.EACCES, "permission denied"), True),
        (BlobFailed("the blob store is gone"), True),
        (BlobFailed("there is nothing to keep", passing=False), False),
        (OSError(errno.ENAMETOOLONG, "name too long"), False),
        (TypeError("no size"), False),
        (SystemExit(1), False),
    ],
)
def test_what_passes_is_waited_for_and_what_does_not_is_tried_twice(
    tmp_path: Path, fault: BaseException, waits: bool
) -> None:
    async def test(room: Room) -> None:
        running = room.begin()
        assert running is not None
        talk(running, room.clock.ms)
        await room.end(running)
        room.blobs.fault = fault
        for _ in range(4):
            await room.finisher.work_off()
        assert (room.finisher.waiting, room.finisher.failed) == ((1, 0) if waits else (0, 1))
        if waits:
            room.blobs.fault = None
            await room.finisher.work_off()
            assert room.info().state is RecordingState.READY
        else:
            assert room.info() == RecordingInfo(RecordingState.FAILED, complete=False)
            assert "boot/calls/acme%20corp/s1/caller.raw" in room.files()  # for the next start

    in_room(tmp_path, test)


def test_a_recording_that_waits_is_forgotten_with_its_session(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        running = room.begin()
        assert running is not None
        talk(running, room.clock.ms)
        await room.end(running)
        room.blobs.broken = True
        await room.finisher.work_off()
        await room.recorder.forget(KEY)
        assert (room.files(), room.finisher.waiting) == ([], 0)

    in_room(tmp_path, test)


def test_a_spool_that_never_reached_the_disk_is_a_failed_recording(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        (tmp_path / "boot").touch()
        running = room.begin()
        assert running is not None
        talk(running, room.clock.ms)
        await room.end(running)
        await room.finisher.work_off()
        assert room.info().state is RecordingState.FAILED

    in_room(tmp_path, test)


@pytest.mark.parametrize("moment", ["running", "waiting", "both"])
def test_a_deleted_session_leaves_nothing(tmp_path: Path, moment: str) -> None:
    async def test(room: Room) -> None:
        running = room.begin(replay=ReplayPolicy.FULL)
        assert running is not None
        talk(running, room.clock.ms)
        if moment != "running":
            await room.end(running)
        await room.recorder.forget(KEY)
        if moment != "waiting":
            talk(running, room.clock.ms + 2000)
            await room.end(running)
        await room.finisher.work_off()
        assert room.files() == []
        assert room.saved == []

    in_room(tmp_path, test)


def a_dead_call(room: Room) -> Path:
    """A call whose process died in the middle: its boot's folder as the disk has it."""
    dead = room.folder / "dead"
    recorder = Recorder(dead, SpoolWriter(inline=True), room.finisher, room.saved.append, room.clock)
    about: dict[str, Any] = {"agent": "harbour", "version": "1", "formats": {}, "started_ms": room.clock.ms}
    running = recorder.begin(KEY, recording=True, replay=ReplayPolicy.FULL, **about)
    assert running is not None
    talk(running, room.clock.ms)
    for part in (running.spool, running.events):
        assert part is not None
        part.tick(room.clock.ms + 2000)
    return dead


def test_the_recording_of_a_dead_process_is_made_by_the_next(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        store = FaultyStore(room.clock)
        await store.open()
        lost = replace(RECORD, recording=RecordingInfo(RecordingState.RUNNING, complete=False))
        await store.put(session_document(lost, ttl_s=55), None)
        said = Utterance("item_a", Speaker.AGENT, "words", "words", True, begin_ms=200, sent_ms=1000, heard_ms=400)
        await store.put(turn_document(KEY.tenant, KEY.session_id, Turn(0, 0, 900, [said]), ttl_s=55), None)
        assert await room.recorder.adopt(store, [a_dead_call(room), tmp_path / "never was"]) == 1
        await room.finisher.work_off()
        info = room.info()
        assert (info.state, info.complete, info.duration_ms) == (RecordingState.READY, False, 1000)
        assert room.saved[-1]["ttl"] == 55
        assert not [name for name in room.files() if not name.startswith("blobs/")]
        await store.close()

    in_room(tmp_path, test)


def test_a_recording_of_which_nothing_reached_the_disk_is_failed_and_not_running_for_ever(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        store = FaultyStore(room.clock)
        await store.open()
        lost = replace(RECORD, recording=RecordingInfo(RecordingState.RUNNING, complete=False))
        await store.put(session_document(lost, ttl_s=55), None)
        assert await room.recorder.adopt(store, [tmp_path / "no spool"]) == 0
        await room.recorder.give_up(store, [lost])
        assert (room.info().state, room.info().complete, room.saved[-1]["ttl"]) == (RecordingState.FAILED, False, 55)
        room.saved.clear()
        assert await room.recorder.adopt(store, [a_dead_call(room)]) == 1
        await room.recorder.give_up(store, [lost])  # its spool waits for the finisher
        await room.recorder.give_up(store, [replace(lost, recording=RecordingInfo(RecordingState.OFF))])
        assert room.saved == []
        await store.close()

    in_room(tmp_path, test)


def test_the_spool_of_a_session_that_is_gone_is_removed(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        store = FaultyStore(room.clock)
        await store.open()
        assert await room.recorder.adopt(store, [a_dead_call(room)]) == 0
        assert room.files() == []
        await store.close()

    in_room(tmp_path, test)


def test_what_is_no_spool_in_the_folder_of_spools_stays_where_it_is(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        store = FaultyStore(room.clock)
        await store.open()
        await store.put(session_document(RECORD, ttl_s=None), None)
        dead = a_dead_call(room)
        strange = dead / "calls" / "strange"
        (strange / "folder").mkdir(parents=True)
        (strange / "folder" / "letters").write_text("keep me")
        (strange / "file").write_text("keep me")
        (strange / "link").symlink_to(tmp_path)
        (dead / "calls" / "file").write_text("keep me")
        assert await room.recorder.adopt(store, [dead]) == 1
        await room.finisher.work_off()
        assert room.info().state is RecordingState.READY
        kept = {path.name for path in tmp_path.rglob("*") if path.is_file() and path.read_bytes() == b"keep me"}
        assert kept == {"letters", "file"}
        assert len([path for path in tmp_path.rglob("file") if path.read_bytes() == b"keep me"]) == 2
        await store.close()

    in_room(tmp_path, test)


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
def test_an_index_with_a_spoilt_number_costs_no_more_than_its_recording(
    tmp_path: Path, field: str, value: object
) -> None:
    async def test(room: Room) -> None:
        store = FaultyStore(room.clock)
        await store.open()
        await store.put(session_document(RECORD, ttl_s=None), None)
        dead = a_dead_call(room)
        (index,) = dead.rglob("tracks.jsonl")
        head, first, *rest = index.read_bytes().splitlines()
        index.write_bytes(b"\n".join([head, orjson.dumps({**orjson.loads(first), field: value}, default=str), *rest]))
        async with asyncio.timeout(5):
            assert await room.recorder.adopt(store, [dead]) == 1
            await room.finisher.work_off()
        assert room.finisher.waiting == 0
        assert room.info().state in (RecordingState.READY, RecordingState.FAILED)
        await store.close()

    in_room(tmp_path, test)


def test_an_index_that_cannot_be_read_costs_the_sound_and_not_the_words(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        store = FaultyStore(room.clock)
        await store.open()
        await store.put(session_document(RECORD, ttl_s=None), None)
        dead = a_dead_call(room)
        (index,) = dead.rglob("tracks.jsonl")
        index.write_bytes(b"\0" * 100)
        assert await room.recorder.adopt(store, [dead]) == 1
        await room.finisher.work_off()
        assert room.files() == ["blobs/acme%20corp/s1/events.jsonl"]
        await store.close()

    in_room(tmp_path, test)


def test_a_session_that_cannot_be_read_keeps_its_spool(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        store = FaultyStore(room.clock)
        await store.open()
        await store.put({**session_document(RECORD, ttl_s=None), "schema": 99}, None)
        assert await room.recorder.adopt(store, [a_dead_call(room)]) == 0
        assert "boot/calls/acme%20corp/s1/caller.raw" in room.files()
        await store.close()

    in_room(tmp_path, test)


def test_a_call_that_does_not_wait_for_a_slow_disk_has_its_recording_all_the_same(tmp_path: Path) -> None:
    async def main(room: Room) -> None:
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(room.recorder.run())
            await later(0)
            running = room.begin()
            assert running is not None
            talk(running, 9000)
            room.writer.quick.clear()
            ending = tasks.create_task(room.end(running))
            for _ in range(3):
                await later(0)
            ending.cancel()  # as a call does that has waited long enough
            for _ in range(3):
                await later(0)
            assert room.finisher.waiting == 0
            room.writer.quick.set()
            while not room.finisher.waiting:
                await later(0)
            await room.finisher.work_off()
            serving.cancel()
        assert room.info().state is RecordingState.READY

    in_room(tmp_path, main)


def test_a_recording_that_cannot_be_finished_costs_no_other(tmp_path: Path) -> None:
    async def main(room: Room) -> None:
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(room.recorder.run())
            await later(0)
            running = room.begin()
            assert running is not None
            room.writer.fault = OSError("stale file handle")
            await room.end(running)
            assert room.info().state is RecordingState.FAILED
            await later(0)
            assert not serving.done()
            serving.cancel()

    in_room(tmp_path, main)
