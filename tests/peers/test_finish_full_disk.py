"""The program that makes recordings, on a full disk: the recording waits, and is complete once there is space."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import orjson
import pytest
import soundfile
from peers.small_disk import Disk, small_disk

from audio.formats import PCM16_24K, AudioFrame
from gateway.blobs.folder import FolderBlobs
from gateway.recording.finish import run_job
from gateway.recording.finisher import Finisher
from gateway.recording.jobs import RETRY_S, FinishJob
from gateway.recording.sink import Sink
from gateway.recording.spool import CallSpool
from gateway.recording.tracks import TracksHeader
from gateway.recording.writer import SpoolWriter
from sessions.stores.contract import SessionKey
from sessions.stores.documents import RecordingInfo, RecordingState

SECONDS = 20


def spooled(folder: Path) -> None:
    """Spool a call of noise, which no codec can compress."""
    header = TracksHeader("default", "s1", stereo=True, keep_tracks=False)
    spool = CallSpool(SpoolWriter(inline=True), Sink(folder), header, started_ms=0)
    for number in range(SECONDS * 10):
        spool.caller(AudioFrame(os.urandom(4800), PCM16_24K, number * 2400), number * 100)
    spool.close(SECONDS * 1000)


@pytest.mark.parametrize("free_bytes", [0, 64 * 1024, 600 * 1024])
def test_a_recording_waits_for_space_and_is_complete_then(tmp_path: Path, free_bytes: int) -> None:
    made: list[RecordingInfo] = []

    async def main(disk: Disk) -> None:
        finisher = Finisher(FolderBlobs(disk.folder / "blobs"))
        spooled(disk.folder / "s1")
        disk.fill(leave_bytes=free_bytes)
        key = SessionKey("default", "s1")
        finisher.submit(FinishJob(key, disk.folder / "s1", True, False, True, (), made.append))
        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            tasks.create_task(finisher.run())
            await asyncio.sleep(RETRY_S * 1.5)
            assert (made, finisher.waiting, finisher.failed) == ([], 1, 0)
            disk.free()
            while not made:
                await asyncio.sleep(0.05)
            finisher.close()
        assert (made[0].state, made[0].complete) == (RecordingState.READY, True)
        path = disk.folder / "blobs" / "default" / "s1" / "recording.flac"
        assert soundfile.info(path).frames == SECONDS * 24_000

    with small_disk(tmp_path, "4m") as disk:
        asyncio.run(main(disk))


@pytest.mark.parametrize("free_bytes", [8 * 1024, 600 * 1024])
def test_half_a_recording_is_removed_from_the_disk(tmp_path: Path, free_bytes: int) -> None:
    with small_disk(tmp_path, "4m") as disk:
        folder = disk.folder / "s1"
        spooled(folder)
        job = {"folder": str(folder), "out": str(folder / "out.flac"), "format": "flac", "played": []}
        (folder / "job.json").write_bytes(orjson.dumps(job))
        disk.fill(leave_bytes=free_bytes)
        result = run_job(folder / "job.json")
        assert (result["error"], result["passing"]) == ("OSError: [Errno 28] No space left on device", True)
        assert not (folder / "out.flac").exists()
        disk.free()
        assert run_job(folder / "job.json")["duration_ms"] == SECONDS * 1000
