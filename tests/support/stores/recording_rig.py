"""A recorder with its finisher, its stores and a call to record, on real files."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.stores.faulty_store import FaultyStore
from support.stores.records import session_record
from support.stores.store_contract import HandClock

from audio.formats import PCMU_8K, AudioFrame
from gateway.blobs.contract import BlobFailed
from gateway.blobs.folder import FolderBlobs
from gateway.recording.eventlog import Source
from gateway.recording.finisher import Finisher
from gateway.recording.recorder import CallRecording, Recorder, Take
from gateway.recording.sink import Sink
from gateway.recording.writer import SpoolWriter
from gateway.state.taking import Takeover
from sessions.agent import ReplayPolicy
from sessions.record import PlayedSpan
from sessions.stores.contract import Document, SessionKey
from sessions.stores.documents import (
    Owner,
    RecordingInfo,
    RecordingState,
    SessionState,
    session_from_document,
)

KEY = SessionKey("acme corp", "s1")
RECORD = session_record(
    KEY.session_id,
    tenant=KEY.tenant,
    state=SessionState.ENDED,
    ended_at=1002.0,
    recording=RecordingInfo(RecordingState.RUNNING),
)


class BrokenBlobs(FolderBlobs):
    """Refuses files while `broken` or while a `fault` is set."""

    broken = False
    fault: BaseException | None = None

    async def put_file(self, tenant: str, session_id: str, name: str, path: Path) -> int:
        if self.fault is not None:
            raise self.fault
        if self.broken:
            raise BlobFailed("the blob store is gone")
        return await super().put_file(tenant, session_id, name, path)


class SlowWriter(SpoolWriter):
    """A writer whose disk finishes only once `quick` is set."""

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
class Rig:
    """A recorder with its neighbours, on real files."""

    folder: Path
    clock: HandClock
    blobs: BrokenBlobs
    finisher: Finisher
    recorder: Recorder
    saved: list[Document]
    writer: SlowWriter
    store: FaultyStore
    take: Take
    held: list[Document]  # the documents of the sessions that were taken

    def files(self) -> list[str]:
        """The files in the spool and in the blob store."""
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file())

    def info(self) -> RecordingInfo:
        """The recording's facts in the document that was saved last."""
        return session_from_document(self.saved[-1]).recording

    def begin(self, *, recording: bool = True, replay: ReplayPolicy = ReplayPolicy.OFF) -> CallRecording | None:
        formats = {"caller": "pcmu/8000", "agent": "pcmu/8000"}
        about: dict[str, Any] = {"agent": "harbour", "version": "1", "formats": formats, "started_ms": self.clock.ms}
        return self.recorder.begin(KEY, recording=recording, replay=replay, **about)

    async def record(self) -> None:
        """A call is recorded from its beginning to its end; its recording waits to be made."""
        running = self.begin()
        assert running is not None
        talk(running, self.clock.ms)
        await self.end(running)

    async def end(self, running: CallRecording) -> None:
        await self.recorder.end(running, RECORD, [PlayedSpan("item_a", 500, 300)], ttl_s=77)


def with_rig(folder: Path, test: Callable[[Rig], Awaitable[None]]) -> None:
    async def main() -> None:
        clock, saved = HandClock(ms=9000), list[Document]()
        blobs = BrokenBlobs(folder / "blobs", inline=True)
        finisher = Finisher(blobs, inline=True)
        writer = SlowWriter(inline=True)
        recorder = Recorder(folder / "boot", writer, finisher, saved.append, clock)
        store = FaultyStore(clock)
        await store.open()
        async with asyncio.timeout(20):
            held = list[Document]()
            take = Takeover(store, Owner("test", "own"), held.append).take_ended
            await test(Rig(folder, clock, blobs, finisher, recorder, saved, writer, store, take, held))
        await store.close()

    asyncio.run(main())


def talk(running: CallRecording, start_ms: int) -> None:
    """One second of the caller and of the agent at the same time, then a message."""
    for number in range(50):
        frame = AudioFrame(b"\x10" * 160, PCMU_8K, number * 160)
        if running.spool is not None:
            running.spool.caller(frame, start_ms + number * 20)
            running.spool.agent(frame, "item_a", start_ms + number * 20)
        if running.events is not None:
            running.events.sound(Source.CALLER, "caller", frame, start_ms + number * 20)
    if running.events is not None:
        running.events.message(Source.MODEL, "words", start_ms + 1000)
