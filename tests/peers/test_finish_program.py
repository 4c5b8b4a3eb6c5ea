"""Recordings made by the real program: several at once, one that fails, and one that is cancelled."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
import soundfile

from audio.formats import PCMU_8K, AudioFrame
from gateway.blobs.folder import FolderBlobs, session_folder
from gateway.recording.finisher import Finisher
from gateway.recording.jobs import FinishJob
from gateway.recording.sink import Sink
from gateway.recording.spool import CallSpool
from gateway.recording.tracks import TracksHeader
from gateway.recording.writer import SpoolWriter
from sessions.stores.contract import SessionKey
from sessions.stores.documents import RecordingInfo, RecordingState


def spooled(folder: Path, session_id: str) -> None:
    header = TracksHeader("default", session_id, stereo=True, keep_tracks=False)
    spool = CallSpool(SpoolWriter(inline=True), Sink(folder), header, started_ms=0)
    for number in range(100):
        spool.caller(AudioFrame(b"\x10" * 160, PCMU_8K, number * 160), number * 20)
    spool.close(2000)


def job(folder: Path, session_id: str, made: dict[str, RecordingInfo]) -> FinishJob:
    return FinishJob(
        key=SessionKey("default", session_id),
        folder=folder / session_id,
        stereo=True,
        keep_tracks=False,
        complete=True,
        played=(),
        on_done=lambda info: made.__setitem__(session_id, info),
    )


def test_one_program_makes_several_recordings_and_a_broken_one_affects_no_other(tmp_path: Path) -> None:
    async def main() -> None:
        blobs = FolderBlobs(tmp_path / "blobs")
        finisher = Finisher(blobs)
        made: dict[str, RecordingInfo] = {}
        for number in range(5):
            if number != 2:
                spooled(tmp_path / f"s{number}", f"s{number}")
            else:
                (tmp_path / "s2").mkdir()
                (tmp_path / "s2" / "tracks.jsonl").write_bytes(b"nonsense\n")
            finisher.submit(job(tmp_path, f"s{number}", made))
        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            tasks.create_task(finisher.run())
            await finisher.run_waiting()
            while finisher.waiting:
                await asyncio.sleep(0.01)
            finisher.close()
        assert made.pop("s2").state is RecordingState.FAILED
        assert (tmp_path / "s2").is_dir()
        for session_id, info in made.items():
            assert (info.state, info.duration_ms, info.complete) == (RecordingState.READY, 2000, True)
            path = session_folder(tmp_path / "blobs", "default", session_id) / (info.stereo or "")
            assert soundfile.info(path).frames == 16_000
            assert not (tmp_path / session_id).exists()

    asyncio.run(main())


def test_a_finisher_that_is_cancelled_leaves_the_spool_for_the_next_one(tmp_path: Path) -> None:
    async def main() -> None:
        made: dict[str, RecordingInfo] = {}
        spooled(tmp_path / "s1", "s1")
        finisher = Finisher(FolderBlobs(tmp_path / "blobs"))
        finisher.submit(job(tmp_path, "s1", made))
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(finisher.run())
            while not (tmp_path / "s1" / "job.json").exists():
                await asyncio.sleep(0.001)
            running.cancel()
        assert made == {}
        again = Finisher(FolderBlobs(tmp_path / "blobs"))
        again.submit(job(tmp_path, "s1", made))
        async with asyncio.timeout(60):
            await again.run_waiting()
        assert made["s1"].state is RecordingState.READY

    asyncio.run(main())


def test_all_recordings_are_made_though_the_program_is_killed(tmp_path: Path) -> None:
    def programs() -> list[int]:
        found = [pid for thread in Path("/proc/self/task").iterdir() for pid in children_of(thread)]
        return [pid for pid in found if b"gateway.recording.finish" in command_of(pid)]

    async def main() -> None:
        made: dict[str, RecordingInfo] = {}
        finisher = Finisher(FolderBlobs(tmp_path / "blobs"))
        for number in range(4):
            spooled(tmp_path / f"s{number}", f"s{number}")
            finisher.submit(job(tmp_path, f"s{number}", made))
        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            tasks.create_task(finisher.run())
            while not programs():
                await asyncio.sleep(0.002)
            os.kill(programs()[0], signal.SIGKILL)
            while len(made) < 4:
                await asyncio.sleep(0.01)
            finisher.close()
        assert [info.state for info in made.values()] == [RecordingState.READY] * 4

    if not Path(f"/proc/self/task/{os.getpid()}/children").exists():
        pytest.skip("this system does not list the children of a process")
    asyncio.run(main())


def children_of(thread: Path) -> list[int]:
    """The processes that a thread has started; the kernel lists them by thread."""
    try:
        return [int(pid) for pid in (thread / "children").read_text().split()]
    except OSError:
        return []


def command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
