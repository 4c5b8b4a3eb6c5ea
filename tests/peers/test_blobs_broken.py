"""Recordings on their way to azurite while connections are cut and azurite is stopped: none is lost, none is half.

By default a short form runs. `TEST_LONG_TESTS=1` cuts 100 uploads, and stops azurite ten times for 30 s.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

import pytest
from peers.azurite import KEY, Azurite, Proxy, running_azurite
from pydantic import SecretStr
from support.stores.blob_contract import got

from gateway.blobs.contract import BlobFailed, BlobMissing, Blobs
from gateway.blobs.opening import make_blobs, open_or_wait
from gateway.recording.finisher import Finisher
from gateway.recording.jobs import FinishJob
from sessions.stores.contract import SessionKey
from sessions.stores.documents import RecordingInfo, RecordingState

pytest.importorskip("azure.storage.blob", reason="pip install patchbay[azure-blob]")
pytestmark = [pytest.mark.node, pytest.mark.timed]

LONG = os.environ.get("TEST_LONG_TESTS") == "1"
NAME = "events.jsonl"


class House:
    """A finisher with recordings of known content, and a second client that looks at what others can see."""

    def __init__(self, folder: Path, blobs: Blobs, looks: Blobs) -> None:
        self.folder = folder
        self.blobs = blobs
        self.looks = looks
        self.finisher = Finisher(blobs)
        self.made: dict[str, RecordingInfo] = {}
        self.contents: dict[str, tuple[int, str]] = {}  # by session: bytes, hash
        self.halves: list[str] = []
        self.seen = 0

    def end_call(self, payload_bytes: int) -> str:
        """Submit a call whose only file is an event log of so many bytes."""
        session_id = f"s{len(self.contents)}"
        folder = self.folder / session_id
        folder.mkdir()
        content = random.randbytes(payload_bytes)
        (folder / NAME).write_bytes(content)
        self.contents[session_id] = (payload_bytes, sha256(content).hexdigest())

        def done(info: RecordingInfo) -> None:
            assert session_id not in self.made
            self.made[session_id] = info

        self.finisher.submit(FinishJob(SessionKey("t", session_id), folder, False, False, True, (), done))
        return session_id

    async def look(self) -> None:
        """Look at all files again and again, as the API does."""
        while True:
            for session_id, (payload_bytes, _) in list(self.contents.items()):
                try:
                    if await self.looks.size("t", session_id, NAME) != payload_bytes:
                        self.halves.append(session_id)
                    self.seen += 1
                except BlobMissing:
                    assert session_id not in self.made, "a recording that was confirmed is gone"
                except BlobFailed:
                    await asyncio.sleep(0.2)
                await asyncio.sleep(0.02)

    async def check(self) -> None:
        """Every recording is there as it was made, and nothing is left on the disk."""
        assert {info.state for info in self.made.values()} == {RecordingState.READY}
        assert self.made.keys() == self.contents.keys()
        assert self.finisher.failed == 0
        assert self.halves == []
        assert list(self.folder.iterdir()) == []
        for session_id, (_, digest) in self.contents.items():
            assert sha256(await got(self.looks, NAME, session=session_id)).hexdigest() == digest


@asynccontextmanager
async def house(folder: Path, place: str, direct: str) -> AsyncIterator[House]:
    (folder / "spools").mkdir()
    rig = House(folder / "spools", make_blobs(place, SecretStr(KEY)), make_blobs(direct, SecretStr(KEY)))
    for blobs in (rig.looks, rig.blobs):
        await open_or_wait(blobs)
    async with asyncio.TaskGroup() as tasks:
        beside = [tasks.create_task(rig.finisher.run()), tasks.create_task(rig.look())]
        yield rig
        while rig.finisher.waiting:
            await asyncio.sleep(0.05)
        for task in beside:
            task.cancel()
    await rig.check()
    for blobs in (rig.looks, rig.blobs):
        await blobs.close()


def test_uploads_that_are_cut_at_random_bytes_are_stored_in_the_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cuts, payload_bytes = (100, 10_000_000) if LONG else (8, 6_000_000)

    async def main(azurite: Azurite) -> str:
        def allowed() -> int | None:
            return random.randint(0, 2 * payload_bytes) if proxy.cuts < cuts else None

        proxy = Proxy(azurite.port, allowed)
        began = time.monotonic()
        async with asyncio.timeout(1800), proxy.listening():
            through = azurite.place("cut", port=proxy.port)
            async with house(tmp_path, through, azurite.place("cut")) as rig:
                while proxy.cuts < cuts:
                    if rig.finisher.waiting < 4:
                        rig.end_call(payload_bytes)
                    await asyncio.sleep(0.05)
        return (
            f"{proxy.cuts} uploads cut, {len(rig.contents)} recordings of {payload_bytes / 1e6:.0f} MB in "
            f"{time.monotonic() - began:.0f} s: lost {len(rig.contents) - len(rig.made)}, half ones seen "
            f"{len(rig.halves)} in {rig.seen} looks"
        )

    with running_azurite() as azurite:
        figures = asyncio.run(main(azurite))
    with capsys.disabled():
        print("\n" + figures)


def test_recordings_wait_while_azurite_is_stopped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stops, gone_s, payload_bytes = (10, 30.0, 10_000_000) if LONG else (2, 3.0, 2_000_000)

    async def main(azurite: Azurite) -> str:
        began = time.monotonic()
        waited = 0
        async with asyncio.timeout(1800), house(tmp_path, azurite.place("gone"), azurite.place("gone")) as rig:

            async def calls_end(for_s: float) -> None:
                until = time.monotonic() + for_s
                while time.monotonic() < until:
                    rig.end_call(random.randint(1, payload_bytes))
                    await asyncio.sleep(random.uniform(0.1, 2.0))

            for _ in range(stops):
                await calls_end(2.0)
                await asyncio.to_thread(azurite.stop)
                await calls_end(gone_s)
                waited = max(waited, rig.finisher.waiting)
                await asyncio.to_thread(azurite.start)
                while rig.finisher.waiting:
                    await calls_end(0.5)
                    await asyncio.sleep(1)
        return (
            f"azurite stopped {stops} times for {gone_s:.0f} s, {len(rig.contents)} recordings, at most {waited} "
            f"waited, {time.monotonic() - began:.0f} s in all: lost {len(rig.contents) - len(rig.made)}, half ones "
            f"seen {len(rig.halves)} in {rig.seen} looks"
        )

    with running_azurite(tmp_path / "azurite") as azurite:
        figures = asyncio.run(main(azurite))
    with capsys.disabled():
        print("\n" + figures)
