"""Begins and ends the recordings of calls: a spool, an event log, both or neither, as the agent's policy says."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeAlias, TypeVar

from gateway.blobs.contract import BlobFailed
from gateway.blobs.folder import session_folder, session_of
from gateway.guard import Boundary, innermost, place_of
from gateway.recording.eventlog import EVENTS_FILE, EventLog, EventLogHeader
from gateway.recording.finisher import Finisher
from gateway.recording.jobs import JOB_FILE, STEREO_FILE, FinishJob
from gateway.recording.phase import BLOCK_MS, next_due_ms
from gateway.recording.placing import unrecorded_spans
from gateway.recording.sink import Sink
from gateway.recording.spool import CallSpool
from gateway.recording.tracks import (
    AGENT,
    AGENT_FILE,
    CALLER,
    CALLER_FILE,
    INDEX_FILE,
    BadSpool,
    Run,
    TracksHeader,
    read_index,
    stretches,
)
from gateway.recording.writer import SpoolWriter
from sessions.agent import ReplayPolicy
from sessions.errors import VoiceError
from sessions.ports import Clock
from sessions.record import PlayedSpan, Turn
from sessions.stores.contract import Document, Missing, SessionKey, Store
from sessions.stores.documents import (
    SESSION_ID,
    TURN,
    RecordingInfo,
    RecordingState,
    SessionRecord,
    played_spans,
    session_document,
    session_from_document,
    turn_from_document,
)
from sessions.stores.fields import Fields

CALLS = "calls"  # the folder, inside the instance's folder, that holds the folders of calls
OVERDUE_MS = 500  # this long after a block is due, a timer writes what no further sound has brought to the disk

# Makes this instance the owner of the session with this document, and returns the document as it is then.
Take: TypeAlias = Callable[[Document], Awaitable[Document]]

T = TypeVar("T")
log = logging.getLogger("patchbay.recording")


@dataclass(frozen=True, slots=True)
class CallRecording:
    """What is recorded of one running call: `spool` takes sound, `events` takes messages; None if not wanted."""

    key: SessionKey
    sink: Sink
    spool: CallSpool | None
    events: EventLog | None
    stereo: bool
    keep_tracks: bool

    @property
    def info(self) -> RecordingInfo:
        """The recording's state in the record of the running call."""
        return RecordingInfo(RecordingState.RUNNING)


class Recorder:
    """Holds all recordings of one process. `save` (of the write-behind) is called when a recording is ready."""

    def __init__(
        self,
        boot_folder: Path,
        writer: SpoolWriter,
        finisher: Finisher,
        save: Callable[[Document], None],
        clock: Clock,
    ) -> None:
        """Folders of dead instances are read in threads, as calls may be running, unless `writer` is inline."""
        self._root = boot_folder / CALLS
        self._writer = writer
        self._finisher = finisher
        self._save = save
        self._clock = clock
        self._running: dict[SessionKey, CallRecording] = {}
        self._timers: dict[SessionKey, asyncio.TimerHandle] = {}  # of running calls, for overdue blocks
        self._tasks: asyncio.TaskGroup | None = None  # set while `run` runs

    def begin(
        self,
        key: SessionKey,
        *,
        recording: bool,
        replay: ReplayPolicy,
        agent: str,
        version: str,
        formats: Mapping[str, str],
        started_ms: int,
    ) -> CallRecording | None:
        """Begin a call's recording; None if its agent wants none. `started_ms` is the call's start (monotonic)."""
        full = replay is ReplayPolicy.FULL
        if not recording and replay is ReplayPolicy.OFF:
            return None
        sink = Sink(session_folder(self._root, key.tenant, key.session_id))
        header = TracksHeader(key.tenant, key.session_id, stereo=recording, keep_tracks=full)
        spool = CallSpool(self._writer, sink, header, started_ms=started_ms) if recording or full else None
        events = None
        if replay is not ReplayPolicy.OFF:
            about = EventLogHeader(agent, version, key.session_id, formats)
            events = EventLog(self._writer, sink, about, with_sound=full, started_ms=started_ms)
        running = CallRecording(key, sink, spool, events, stereo=recording, keep_tracks=full)
        self._running[key] = running
        self._set_timer(running, started_ms)
        return running

    async def run(self) -> None:
        """Finish the recordings of ended calls. The application runs this as a task and cancels it at the end."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            try:
                await asyncio.Event().wait()
            finally:
                self._tasks = None

    def _set_timer(self, running: CallRecording, started_ms: int) -> None:
        """Set a call's timer, counted from its own start: calls that wrote at the same moment would delay all sound."""
        now_ms = self._clock.now_ms()
        due_ms = next_due_ms(started_ms + OVERDUE_MS, BLOCK_MS, now_ms)
        write = partial(self._write_overdue, running, started_ms)
        self._timers[running.key] = asyncio.get_running_loop().call_later((due_ms - now_ms) / 1000, write)

    def _write_overdue(self, running: CallRecording, started_ms: int) -> None:
        """Pass the overdue blocks of a silent call to the writer; in other calls the next frame does that."""
        self._set_timer(running, started_ms)
        now_ms = self._clock.now_ms()
        for part in (running.spool, running.events):
            if part is not None:
                with Boundary(partial(_log_fault, running.key, "a recording has lost a block")):
                    part.tick(now_ms)

    def _remove_running(self, key: SessionKey) -> CallRecording | None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        return self._running.pop(key, None)

    def leave(self, running: CallRecording) -> None:
        """End a call's recording without finishing it, because another process has taken the session.

        The files stay. The next start takes the session and finishes the recording.
        """
        self._close_spool(running)

    def _close_spool(self, running: CallRecording) -> bool:
        """Pass what a call's recording still holds to the disk; False if the recording has ended before."""
        now_ms = self._clock.now_ms()
        if self._remove_running(running.key) is None:
            return False
        for part in (running.spool, running.events):
            if part is not None:
                with Boundary(partial(_log_fault, running.key, "a recording has lost its last block")):
                    part.close(now_ms)
        return True

    async def end(
        self, running: CallRecording, record: SessionRecord, played: Iterable[PlayedSpan], *, ttl_s: int | None
    ) -> None:
        """End a call's recording and queue its finishing.

        `record` is that of the ended session. Once the recording is ready, it is saved again with the recording's
        facts. If this task is cancelled, the work goes on in `run`, because the disk may be slow.
        """
        if not self._close_spool(running):
            return  # the session was deleted meanwhile
        ending = self._finish_guarded(running, record, tuple(played), ttl_s)
        await (ending if self._tasks is None else asyncio.shield(self._tasks.create_task(ending)))

    async def _finish_guarded(
        self, running: CallRecording, record: SessionRecord, played: tuple[PlayedSpan, ...], ttl_s: int | None
    ) -> None:
        """Run `_finish`; an error fails only this recording, and not the task group of all recordings."""

        def failed(fault: BaseException) -> None:
            _log_fault(running.key, "a recording could not be finished", fault)
            self._done(record, ttl_s)(RecordingInfo(RecordingState.FAILED, complete=False))

        with Boundary(failed):
            await self._finish(running, record, played, ttl_s)

    async def _finish(
        self, running: CallRecording, record: SessionRecord, played: tuple[PlayedSpan, ...], ttl_s: int | None
    ) -> None:
        await self._writer.settled(running.sink)
        complete = all(part is None or part.complete for part in (running.spool, running.events))
        if running.sink.failed is not None and not running.sink.blocks:
            self._done(record, ttl_s)(RecordingInfo(RecordingState.FAILED, complete=False))
            return
        self._finisher.submit(
            FinishJob(
                key=running.key,
                folder=running.sink.folder,
                stereo=running.stereo,
                keep_tracks=running.keep_tracks,
                complete=complete and running.sink.failed is None,
                played=played,
                on_done=self._done(record, ttl_s),
            )
        )

    async def forget(self, key: SessionKey) -> None:
        """Remove the spool of a session that is being deleted, whether its call runs or its recording waits.

        Raises BlobFailed if the disk does not remove it.
        """
        running = self._remove_running(key)
        if running is not None:
            await self._writer.discard(running.sink)
        gone = await self._finisher.forget(key)
        folder = session_folder(self._root, key.tenant, key.session_id)
        if gone and folder.is_dir():  # its recording had failed
            await self._writer.discard(Sink(folder))
            if folder.is_dir():
                raise BlobFailed(f"{folder}, the spool of a recording, cannot be removed")

    async def adopt(self, store: Store, dead_folders: Iterable[Path], take: Take) -> int:
        """Queue the recordings that dead instances left, with the records of their sessions; return how many.

        Runs after the sessions of these instances were recovered. `take` makes this instance the owner of a session,
        so that the recording's facts can be saved. Spools without a session are removed. A spool whose session cannot
        be read or taken waits for the next start. Files that are no spool stay where they are.
        """
        adopted: list[Path] = []
        for dead in dead_folders:
            with Boundary(partial(_not_adopted, dead)):
                for left in await self._offload(partial(_calls_in, dead)):
                    with Boundary(partial(_not_adopted, left)):
                        folder = await self._offload(partial(self._moved, left))
                        if await self._adopt_one(store, folder, take):
                            adopted.append(folder)
        return len(adopted)

    def _moved(self, left: Path) -> Path:
        """Move a spool to where `forget` looks for it. Raises BadSpool and OSError."""
        if left.is_symlink() or not left.is_dir():
            raise BadSpool(f"{left} is not the folder of a call")
        folder = self._root / left.parent.name / left.name
        folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        left.rename(folder)
        return folder

    def has_spool(self, instance_folder: Path, key: SessionKey) -> bool:
        """Whether an instance, which is dead, has left something of a session's recording on this disk."""
        return session_folder(instance_folder / CALLS, key.tenant, key.session_id).is_dir()

    async def _adopt_one(self, store: Store, folder: Path, take: Take) -> bool:
        key = SessionKey(*session_of(folder))
        try:
            found = await store.get(key.tenant, key.session_id, SESSION_ID)
        except Missing:
            await self._offload(partial(_remove_spool, folder))
            return False
        found = await take(found)  # before anything else is read, so that it cannot change any more
        record = session_from_document(found)
        turns: list[Turn] = []
        for turn in await store.query(key.tenant, key.session_id, TURN):
            with Boundary(partial(_log_fault, key, "a turn of a recording's session cannot be read")):
                turns.append(turn_from_document(turn))
        header, spans = await self._offload(partial(_read_spool, folder, turns))
        self._finisher.submit(
            FinishJob(
                key=key,
                folder=folder,
                stereo=header is not None and header.stereo,
                keep_tracks=header is not None and header.keep_tracks,
                complete=record.recording.complete,
                played=spans,
                on_done=self._done(record, Fields(found).whole_or_none("ttl")),
            )
        )
        return True

    async def _offload(self, work: Callable[[], T]) -> T:
        return work() if self._writer.inline else await asyncio.to_thread(work)

    def _done(self, record: SessionRecord, ttl_s: int | None) -> Callable[[RecordingInfo], None]:
        return lambda info: self._save(session_document(replace(record, recording=info), ttl_s=ttl_s))


def _log_fault(key: SessionKey, message: str, fault: BaseException) -> None:
    fields = {"session_id": key.session_id, "kind": type(innermost(fault)).__name__, "place": place_of(fault)}
    log.error(message, extra=fields)


def _calls_in(instance_folder: Path) -> list[Path]:
    """What lies where an instance keeps the folders of its calls."""
    return sorted((instance_folder / CALLS).glob("*/*"))


def _remove_spool(folder: Path) -> None:
    """Remove the files of a call, and then its folder. Raises OSError if other files are in the folder."""
    for name in (CALLER_FILE, AGENT_FILE, INDEX_FILE, EVENTS_FILE, JOB_FILE, STEREO_FILE):
        (folder / name).unlink(missing_ok=True)
    folder.rmdir()


def _not_adopted(place: Path, fault: BaseException) -> None:
    reason = str(fault) if isinstance(fault, VoiceError) else type(innermost(fault)).__name__
    log.error("a recording of an earlier start stays where it is", extra={"place": str(place), "reason": reason})


def _index(folder: Path) -> tuple[TracksHeader | None, list[Run]]:
    """The header and the runs of a folder's index; None and no runs if there is no index that can be read."""
    try:
        return read_index(folder / INDEX_FILE)
    except (BadSpool, OSError):
        return None, []


def _read_spool(folder: Path, turns: Sequence[Turn]) -> tuple[TracksHeader | None, tuple[PlayedSpan, ...]]:
    """The header of a spool, None if it cannot be read, and the heard spans of the agent."""
    header, runs = _index(folder)
    return header, tuple(_spans(folder, runs, turns))


def _spans(folder: Path, runs: Sequence[Run], turns: Sequence[Turn]) -> list[PlayedSpan]:
    """The heard spans of the agent, including the turn that a lost server could not store."""
    agent, caller = (
        stretches(runs, track, path.stat().st_size if (path := folder / name).is_file() else 0)
        for track, name in ((AGENT, AGENT_FILE), (CALLER, CALLER_FILE))
    )
    recorded = {entry.item_id for turn in turns for entry in turn.entries}
    spans = [*played_spans(turns), *unrecorded_spans(agent, caller, recorded)]
    return sorted(spans, key=lambda span: span.begin_ms)
