"""Recordings from the first frame to the blob store, with each policy, on a slow disk, and after a deletion."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path

import pytest
import soundfile
from support.calls.call_rig import later
from support.stores.recording_rig import KEY, Rig, talk, with_rig

from gateway.blobs.contract import BlobFailed
from gateway.blobs.folder import session_folder
from gateway.recording.eventlog import LoggedMessage, LoggedSound, Source, read_event_log
from sessions.agent import ReplayPolicy
from sessions.stores.documents import (
    RecordingInfo,
    RecordingState,
)


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
def test_the_policy_decides_which_files_are_kept(
    tmp_path: Path, recording: bool, replay: ReplayPolicy, kept: list[str]
) -> None:
    async def test(rig: Rig) -> None:
        running = rig.begin(recording=recording, replay=replay)
        assert running is not None
        talk(running, rig.clock.ms)
        rig.clock.ms += 1000
        await rig.end(running)
        assert rig.finisher.waiting == 1
        await rig.finisher.run_waiting()
        assert rig.files() == [f"blobs/acme%20corp/s1/{name}" for name in kept]
        info = rig.info()
        assert (info.state, info.complete) == (RecordingState.READY, True)
        assert (info.stereo is not None) == recording
        assert (info.events is not None) == (replay is not ReplayPolicy.OFF)
        assert (info.tracks is not None) == (replay is ReplayPolicy.FULL)
        assert rig.saved[-1]["ttl"] == 77

    with_rig(tmp_path, test)


def test_without_recording_and_replay_there_is_no_file(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        assert rig.begin(recording=False, replay=ReplayPolicy.OFF) is None
        assert rig.files() == []

    with_rig(tmp_path, test)


def test_a_replay_of_text_mentions_no_sound(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        running = rig.begin(recording=False, replay=ReplayPolicy.TEXT)
        assert running is not None
        assert running.spool is None
        talk(running, rig.clock.ms)
        await rig.end(running)
        await rig.finisher.run_waiting()
        path = session_folder(rig.folder / "blobs", KEY.tenant, KEY.session_id) / "events.jsonl"
        assert read_event_log(path)[1] == [LoggedMessage(1000, Source.MODEL, "words")]

    with_rig(tmp_path, test)


def test_the_facts_of_the_recording_agree_with_its_file(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        running = rig.begin(replay=ReplayPolicy.FULL)
        assert running is not None
        assert running.info.state is RecordingState.RUNNING
        talk(running, rig.clock.ms)
        await rig.end(running)
        await rig.finisher.run_waiting()
        info = rig.info()
        path = session_folder(rig.folder / "blobs", KEY.tenant, KEY.session_id) / (info.stereo or "")
        assert (info.rate_hz, info.duration_ms, info.payload_bytes) == (8000, 1000, path.stat().st_size)
        sound, _ = soundfile.read(path, dtype="int16")
        assert sound.shape == (8000, 2)
        assert not sound[: 500 * 8, 1].any()
        assert sound[500 * 8 : 800 * 8, 1].all()
        assert not sound[800 * 8 :, 1].any()
        log = session_folder(rig.folder / "blobs", KEY.tenant, KEY.session_id) / (info.events or "")
        assert read_event_log(log)[1][0] == LoggedSound(0, Source.CALLER, "caller", 0, 8000, 980)

    with_rig(tmp_path, test)


def test_a_call_without_sound_has_no_recording(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        running = rig.begin()
        assert running is not None
        await rig.end(running)
        await rig.finisher.run_waiting()
        assert rig.files() == []
        assert (rig.info().state, rig.info().stereo) == (RecordingState.OFF, None)

    with_rig(tmp_path, test)


def test_a_recording_waits_while_the_blob_store_refuses(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        await rig.record()
        rig.blobs.broken = True
        for _ in range(5):
            await rig.finisher.run_waiting()
        assert (rig.finisher.waiting, rig.finisher.failed, rig.saved) == (1, 0, [])
        assert "boot/calls/acme%20corp/s1/caller.raw" in rig.files()
        rig.blobs.broken = False
        await rig.finisher.run_waiting()
        assert (rig.info().state, rig.info().complete, rig.finisher.waiting) == (RecordingState.READY, True, 0)

    with_rig(tmp_path, test)


def test_a_recording_that_waits_for_the_blob_store_is_not_made_again(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        await rig.record()
        rig.blobs.broken = True
        await rig.finisher.run_waiting()
        (tmp_path / "boot/calls/acme%20corp/s1/tracks.jsonl").unlink()  # without it, none could be made
        rig.blobs.broken = False
        await rig.finisher.run_waiting()
        assert (rig.info().state, rig.info().duration_ms) == (RecordingState.READY, 1000)

    with_rig(tmp_path, test)


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
def test_after_a_passing_error_a_recording_waits_and_after_others_it_is_tried_twice(
    tmp_path: Path, fault: BaseException, waits: bool
) -> None:
    async def test(rig: Rig) -> None:
        await rig.record()
        rig.blobs.fault = fault
        for _ in range(4):
            await rig.finisher.run_waiting()
        assert (rig.finisher.waiting, rig.finisher.failed) == ((1, 0) if waits else (0, 1))
        if waits:
            rig.blobs.fault = None
            await rig.finisher.run_waiting()
            assert rig.info().state is RecordingState.READY
        else:
            assert rig.info() == RecordingInfo(RecordingState.FAILED, complete=False)
            assert "boot/calls/acme%20corp/s1/caller.raw" in rig.files()  # for the next start

    with_rig(tmp_path, test)


def test_a_waiting_recording_is_removed_with_its_session(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        await rig.record()
        rig.blobs.broken = True
        await rig.finisher.run_waiting()
        await rig.recorder.forget(KEY)
        assert (rig.files(), rig.finisher.waiting) == ([], 0)

    with_rig(tmp_path, test)


def test_a_recording_without_a_written_block_has_failed(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        (tmp_path / "boot").touch()
        running = rig.begin()
        assert running is not None
        talk(running, rig.clock.ms)
        await rig.end(running)
        await rig.finisher.run_waiting()
        assert rig.info().state is RecordingState.FAILED

    with_rig(tmp_path, test)


@pytest.mark.parametrize("moment", ["running", "waiting", "both"])
def test_a_deleted_session_leaves_no_files(tmp_path: Path, moment: str) -> None:
    async def test(rig: Rig) -> None:
        running = rig.begin(replay=ReplayPolicy.FULL)
        assert running is not None
        talk(running, rig.clock.ms)
        if moment != "running":
            await rig.end(running)
        await rig.recorder.forget(KEY)
        if moment != "waiting":
            talk(running, rig.clock.ms + 2000)
            await rig.end(running)
        await rig.finisher.run_waiting()
        assert rig.files() == []
        assert rig.saved == []

    with_rig(tmp_path, test)


def test_a_call_that_stops_waiting_for_a_slow_disk_still_has_its_recording(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(rig.recorder.run())
            await later(0)
            running = rig.begin()
            assert running is not None
            talk(running, 9000)
            rig.writer.quick.clear()
            ending = tasks.create_task(rig.end(running))
            for _ in range(3):
                await later(0)
            ending.cancel()  # as a call does after waiting too long
            for _ in range(3):
                await later(0)
            assert rig.finisher.waiting == 0
            rig.writer.quick.set()
            while not rig.finisher.waiting:
                await later(0)
            await rig.finisher.run_waiting()
            serving.cancel()
        assert rig.info().state is RecordingState.READY

    with_rig(tmp_path, main)


def test_a_recording_that_cannot_be_finished_does_not_stop_the_recorder(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(rig.recorder.run())
            await later(0)
            running = rig.begin()
            assert running is not None
            rig.writer.fault = OSError("stale file handle")
            await rig.end(running)
            assert rig.info().state is RecordingState.FAILED
            await later(0)
            assert not serving.done()
            serving.cancel()

    with_rig(tmp_path, main)
