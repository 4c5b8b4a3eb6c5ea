"""Uploads of finished recordings: side by side, with growing pauses, cut by deletions and by the end of the process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path

import pytest
from support.calls.call_rig import later
from support.virtual import run

from gateway.blobs.contract import BlobFailed
from gateway.blobs.folder import FolderBlobs, session_folder
from gateway.recording.finisher import Finisher
from gateway.recording.jobs import LONGEST_RETRY_S, RETRY_S, FinishJob, pause_s
from gateway.recording.uploads import FORGET_S, SIDE_BY_SIDE
from sessions.stores.contract import SessionKey
from sessions.stores.documents import RecordingInfo, RecordingState


class SlowBlobs(FolderBlobs):
    """A blob store that waits for the word of a test, refuses, or hangs for single sessions."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, inline=True)
        self.go = asyncio.Event()
        self.go.set()
        self.hung: dict[str, asyncio.Event] = {}  # by session: it hangs until the event is set
        self.refuses = False
        self.tries: list[tuple[str, float]] = []  # session, time
        self.under_way = 0
        self.most_under_way = 0

    async def put_file(self, tenant: str, session_id: str, name: str, path: Path) -> int:
        self.tries.append((session_id, asyncio.get_running_loop().time()))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await self.go.wait()
            if session_id in self.hung:
                await self.hung[session_id].wait()
            if self.refuses:
                raise BlobFailed("the blob store is gone")
            return await super().put_file(tenant, session_id, name, path)
        finally:
            self.under_way -= 1


class Rig:
    """A finisher that runs, and calls with an event log, which need no program."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.blobs = SlowBlobs(folder / "blobs")
        self.finisher = Finisher(self.blobs, inline=True)
        self.made: dict[str, RecordingInfo] = {}

    def end(self, session_id: str) -> SessionKey:
        """Submit a call that has ended."""
        folder = self.folder / "spools" / session_id
        folder.mkdir(parents=True)
        (folder / "events.jsonl").write_bytes(b"{}\n")
        key = SessionKey("default", session_id)
        done: Callable[[RecordingInfo], None] = lambda info: self.made.__setitem__(session_id, info)  # noqa: E731
        self.finisher.submit(FinishJob(key, folder, False, False, True, (), done))
        return key

    def spools(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "spools").iterdir())

    def blobs_of(self, session_id: str) -> bool:
        return (session_folder(self.folder / "blobs", "default", session_id) / "events.jsonl").is_file()


def with_rig(folder: Path, test: Callable[[Rig], Awaitable[None]]) -> None:
    async def main() -> None:
        rig = Rig(folder)
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(rig.finisher.run())
            await later(0)
            await test(rig)
            running.cancel()

    run(main())


def test_a_bounded_number_of_recordings_is_stored_side_by_side(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        rig.blobs.go.clear()
        for number in range(SIDE_BY_SIDE * 3):
            rig.end(f"s{number}")
        await later(1)
        assert (rig.blobs.under_way, rig.finisher.waiting) == (SIDE_BY_SIDE, SIDE_BY_SIDE * 3)
        rig.blobs.go.set()
        await later(1)
        assert (len(rig.made), rig.blobs.most_under_way, rig.finisher.waiting) == (SIDE_BY_SIDE * 3, SIDE_BY_SIDE, 0)
        assert rig.spools() == []

    with_rig(tmp_path, test)


def test_one_recording_that_can_be_stored_ends_the_pauses_of_the_others(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        rig.blobs.refuses = True
        for number in range(3):
            rig.end(f"s{number}")
        await later(10 * LONGEST_RETRY_S)
        for _ in range(5):  # until no pause ends by itself within the next seconds
            tries = len(rig.blobs.tries)
            await later(5)
            if len(rig.blobs.tries) == tries:
                break
        rig.blobs.refuses = False
        rig.end("new")
        await later(0.1)
        assert sorted(rig.made) == ["new", "s0", "s1", "s2"]

    with_rig(tmp_path, test)


def test_a_hung_upload_holds_up_neither_other_recordings_nor_other_deletions(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        rig.blobs.hung["hung"] = asyncio.Event()
        rig.end("hung")
        await later(1)
        began = asyncio.get_running_loop().time()
        other = rig.end("other")
        rig.blobs.hung["waits"] = asyncio.Event()
        waits = rig.end("waits")
        await later(0.1)
        assert list(rig.made) == ["other"]
        assert await rig.finisher.forget(other)
        assert await rig.finisher.forget(SessionKey("default", "never was"))
        assert asyncio.get_running_loop().time() - began < 0.2
        rig.blobs.hung["waits"].set()
        assert await rig.finisher.forget(waits)
        assert asyncio.get_running_loop().time() - began < 0.2
        assert rig.spools() == ["hung"]

    with_rig(tmp_path, test)


def test_recordings_wait_for_a_folder_whose_mount_is_not_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(rig: Rig) -> None:
        (tmp_path / "blobs").symlink_to(tmp_path / "mount")
        rig.end("s1")
        await later(100)
        assert (rig.made, rig.finisher.waiting, rig.spools()) == ({}, 1, ["s1"])
        (tmp_path / "mount").mkdir()
        await later(LONGEST_RETRY_S * 1.3)
        assert rig.made["s1"].state is RecordingState.READY
        assert rig.blobs_of("s1")

    with_rig(tmp_path, test)
    assert [record.message for record in caplog.records if record.name.startswith("patchbay")] == [
        "the blob store takes no recordings now; they wait",
        "the recordings that had to wait are stored",
    ]


@pytest.mark.parametrize("ends", ["stored", "refused"])
def test_a_session_that_is_deleted_during_its_upload_leaves_nothing_once_that_ends(tmp_path: Path, ends: str) -> None:
    async def test(rig: Rig) -> None:
        await rig.blobs.open()
        rig.blobs.hung["s1"] = asyncio.Event()
        key = rig.end("s1")
        await later(1)
        began = asyncio.get_running_loop().time()
        assert not await rig.finisher.forget(key)
        assert asyncio.get_running_loop().time() - began == pytest.approx(FORGET_S)
        rig.blobs.refuses = ends == "refused"
        rig.blobs.hung["s1"].set()
        await later(1)
        rig.blobs.refuses = False
        await later(LONGEST_RETRY_S)
        assert (rig.made, rig.spools(), rig.blobs_of("s1"), rig.finisher.waiting) == ({}, [], False, 0)

    with_rig(tmp_path, test)


def test_a_session_that_is_deleted_while_its_recording_waits_is_not_tried_again(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        rig.blobs.refuses = True
        key = rig.end("s1")
        await later(1)
        assert await rig.finisher.forget(key)
        rig.blobs.refuses = False
        await later(LONGEST_RETRY_S)
        assert (rig.made, rig.spools(), len(rig.blobs.tries), rig.finisher.waiting) == ({}, [], 1, 0)

    with_rig(tmp_path, test)


def test_the_pauses_of_a_refused_recording_grow_to_a_minute_and_it_is_stored_in_the_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(rig: Rig) -> None:
        rig.blobs.refuses = True
        rig.end("s1")
        await later(600)
        times = [at for _, at in rig.blobs.tries]
        pauses = [after - before for before, after in pairwise(times)]
        for number, pause in enumerate(pauses):
            longest = min(LONGEST_RETRY_S, RETRY_S * 2**number)
            assert longest / 2 <= pause <= longest + 0.01
        assert 10 < len(pauses) < 30
        assert (rig.made, rig.spools(), rig.finisher.failed) == ({}, ["s1"], 0)
        rig.blobs.refuses = False
        await later(LONGEST_RETRY_S)
        assert (rig.made["s1"].state, rig.spools(), rig.finisher.waiting) == (RecordingState.READY, [], 0)

    with caplog.at_level(logging.WARNING):
        with_rig(tmp_path, test)
    assert [record.getMessage() for record in caplog.records] == [
        "the blob store takes no recordings now; they wait",
        "the recordings that had to wait are stored",
    ]


def test_pauses_differ_so_that_recordings_do_not_come_again_at_one_moment() -> None:
    assert len({pause_s(3) for _ in range(20)}) > 10
    assert all(pause_s(10_000) <= LONGEST_RETRY_S for _ in range(20))


def test_an_upload_that_the_end_of_the_process_cuts_is_left_for_the_next_start(tmp_path: Path) -> None:
    async def main() -> None:
        rig = Rig(tmp_path)
        rig.blobs.hung["s1"] = asyncio.Event()
        key = rig.end("s1")
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(rig.finisher.run())
            await later(1)
            with pytest.raises(TimeoutError):  # as the application waits, for a bounded time
                async with asyncio.timeout(10):
                    await rig.finisher.run_waiting()
            rig.finisher.close()
            await later(1)
            assert running.done()
        assert (rig.made, rig.spools(), rig.finisher.waiting) == ({}, ["s1"], 1)
        again = Finisher(SlowBlobs(tmp_path / "blobs"), inline=True)
        folder = tmp_path / "spools" / "s1"
        again.submit(FinishJob(key, folder, False, False, True, (), lambda info: rig.made.update(s1=info)))
        await again.run_waiting()
        assert (rig.made["s1"].state, rig.spools()) == (RecordingState.READY, [])

    run(main())
