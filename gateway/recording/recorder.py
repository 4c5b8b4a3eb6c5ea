"""Begins and ends the recordings of calls: by the agent's policy a spool, an event log, both or nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from gateway.guard import Boundary, innermost, place_of
from gateway.recording.blobs import named_by, session_folder
from gateway.recording.eventlog import EVENTS_FILE, EventLog, EventLogHeader
from gateway.recording.finisher import JOB_FILE, STEREO_FILE, Finisher, FinishJob
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
from sessions.documents import (
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
from sessions.errors import VoiceError
from sessions.ports import Clock
from sessions.record import PlayedSpan, Turn
from sessions.stores.contract import Document, Missing, SessionKey, Store
from sessions.stores.fields import Fields

CALLS = "calls"  # the folder of all calls' folders, inside that of the boot
OVERDUE_MS = 500  # after a call's block is due: what is still here then, no sound will bring to the disk

log = logging.getLogger("patchbay.recording")


@dataclass(frozen=True, slots=True)
class CallRecording:
    """What is kept of one running call: `spool` takes sound and `events` messages, where they are not None."""

    key: SessionKey
    sink: Sink
    spool: CallSpool | None
    events: EventLog | None
    stereo: bool
    keep_tracks: bool

    @property
    def info(self) -> RecordingInfo:
        """For the record of the running call."""
        return RecordingInfo(RecordingState.RUNNING)


class Recorder:
    """All recordings of one process. `save` is the state keeper's, told when a recording is ready."""

    def __init__(
        self, boot_folder: Path, writer: SpoolWriter, finisher: Finisher, save: Callable[[Document], None], clock: Clock
    ) -> None:
        self._root = boot_folder / CALLS
        self._writer = writer
        self._finisher = finisher
        self._save = save
        self._clock = clock
        self._running: dict[SessionKey, CallRecording] = {}
        self._looks: dict[SessionKey, asyncio.TimerHandle] = {}  # at each running call, when it may be overdue
        self._tasks: asyncio.TaskGroup | None = None  # while `run` runs

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
        """Begin a call's recording; None where its agent wants none. `started_ms` is the call's start (monotonic)."""
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
        self._look_later(running, started_ms)
        return running

    async def run(self) -> None:
        """Finish what calls leave; one long task of the application's group, ended by cancelling."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            try:
                await asyncio.Event().wait()
            finally:
                self._tasks = None

    def _look_later(self, running: CallRecording, started_ms: int) -> None:
        """Set a call's timer, on the beat of its own start: calls that share one stop all sound while they write."""
        now_ms = self._clock.now_ms()
        due_ms = next_due_ms(started_ms + OVERDUE_MS, BLOCK_MS, now_ms)
        look = partial(self._look, running, started_ms)
        self._looks[running.key] = asyncio.get_running_loop().call_later((due_ms - now_ms) / 1000, look)

    def _look(self, running: CallRecording, started_ms: int) -> None:
        """Hand over what a quiet call has waiting: where sound comes, it does that itself."""
        self._look_later(running, started_ms)
        now_ms = self._clock.now_ms()
        for part in (running.spool, running.events):
            if part is not None:
                with Boundary(partial(_log_fault, running.key, "a recording has lost a block")):
                    part.tick(now_ms)

    def _let_go(self, key: SessionKey) -> CallRecording | None:
        look = self._looks.pop(key, None)
        if look is not None:
            look.cancel()
        return self._running.pop(key, None)

    async def end(
        self, running: CallRecording, record: SessionRecord, played: Iterable[PlayedSpan], *, ttl_s: int | None
    ) -> None:
        """End a call's recording and queue its finishing.

        `record` is the ended session's; once the recording is ready it is saved again with the recording's facts.
        Cancelling it leaves a slow disk to finish by itself.
        """
        now_ms = self._clock.now_ms()
        if self._let_go(running.key) is None:
            return  # deleted meanwhile
        for part in (running.spool, running.events):
            if part is not None:
                with Boundary(partial(_log_fault, running.key, "a recording has lost its last block")):
                    part.close(now_ms)
        ending = self._finish_guarded(running, record, tuple(played), ttl_s)
        await (ending if self._tasks is None else asyncio.shield(self._tasks.create_task(ending)))

    async def _finish_guarded(
        self, running: CallRecording, record: SessionRecord, played: tuple[PlayedSpan, ...], ttl_s: int | None
    ) -> None:
        """As `_finish`; a fault costs this recording, and not the group in which all are made."""

        def spoilt(fault: BaseException) -> None:
            _log_fault(running.key, "a recording could not be finished", fault)
            self._done(record, ttl_s)(RecordingInfo(RecordingState.FAILED, complete=False))

        with Boundary(spoilt):
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
        """Remove the spool of a session that is being deleted, running or waiting."""
        running = self._let_go(key)
        if running is not None:
            await self._writer.discard(running.sink)
        await self._finisher.forget(key)
        folder = session_folder(self._root, key.tenant, key.session_id)
        if folder.is_dir():  # one whose recording had failed
            await self._writer.discard(Sink(folder))

    async def adopt(self, store: Store, dead_folders: Iterable[Path]) -> int:
        """Queue the recordings that dead boots left, under their sessions' records; how many.

        Runs once, at start, after the sessions were recovered. Spools without a session are removed. One whose session
        cannot be read waits for the next start, and what is no spool stays where it is.
        """
        adopted: list[Path] = []
        for dead in dead_folders:
            with Boundary(partial(_not_adopted, dead)):
                for left in sorted((dead / CALLS).glob("*/*")):
                    with Boundary(partial(_not_adopted, left)):
                        if left.is_symlink() or not left.is_dir():
                            raise BadSpool(f"{left} is no folder of a call")
                        folder = self._root / left.parent.name / left.name  # where `forget` looks for it
                        folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                        left.rename(folder)
                        if await self._adopt_one(store, folder):
                            adopted.append(folder)
        return len(adopted)

    async def give_up(self, store: Store, lost: Iterable[SessionRecord]) -> None:
        """Close the recordings of lost sessions of which nothing had reached the disk. Runs once, after `adopt`."""
        for record in lost:
            key = SessionKey(record.tenant, record.session_id)
            running = record.recording.state is RecordingState.RUNNING
            with Boundary(partial(_log_fault, key, "a recording of a lost server cannot be closed")):
                if running and not session_folder(self._root, key.tenant, key.session_id).is_dir():
                    found = await store.get(key.tenant, key.session_id, SESSION_ID)
                    nothing = RecordingInfo(RecordingState.FAILED, complete=False)
                    self._done(record, Fields(found).whole_or_none("ttl"))(nothing)

    async def _adopt_one(self, store: Store, folder: Path) -> bool:
        key = SessionKey(*named_by(folder))
        try:
            found = await store.get(key.tenant, key.session_id, SESSION_ID)
        except Missing:
            _remove_spool(folder)
            return False
        record = session_from_document(found)
        turns: list[Turn] = []
        for turn in await store.query(key.tenant, key.session_id, TURN):
            with Boundary(partial(_log_fault, key, "a turn of a recording's session cannot be read")):
                turns.append(turn_from_document(turn))
        header, runs = _index(folder)
        self._finisher.submit(
            FinishJob(
                key=key,
                folder=folder,
                stereo=header is not None and header.stereo,
                keep_tracks=header is not None and header.keep_tracks,
                complete=record.recording.complete,
                played=tuple(_spans(folder, runs, turns)),
                on_done=self._done(record, Fields(found).whole_or_none("ttl")),
            )
        )
        return True

    def _done(self, record: SessionRecord, ttl_s: int | None) -> Callable[[RecordingInfo], None]:
        return lambda info: self._save(session_document(replace(record, recording=info), ttl_s=ttl_s))


def _log_fault(key: SessionKey, message: str, fault: BaseException) -> None:
    fields = {"session_id": key.session_id, "kind": type(innermost(fault)).__name__, "place": place_of(fault)}
    log.error(message, extra=fields)


def _remove_spool(folder: Path) -> None:
    """Remove what a call leaves, and its folder unless something else lies there. Raises OSError."""
    for name in (CALLER_FILE, AGENT_FILE, INDEX_FILE, EVENTS_FILE, JOB_FILE, STEREO_FILE):
        (folder / name).unlink(missing_ok=True)
    folder.rmdir()


def _not_adopted(place: Path, fault: BaseException) -> None:
    words = str(fault) if isinstance(fault, VoiceError) else type(innermost(fault)).__name__
    log.error("a recording of an earlier start stays where it is", extra={"place": str(place), "reason": words})


def _index(folder: Path) -> tuple[TracksHeader | None, list[Run]]:
    """What shall become of a folder's tracks, and their runs; None where it holds none, or none that can be read."""
    try:
        return read_index(folder / INDEX_FILE)
    except (BadSpool, OSError):
        return None, []


def _spans(folder: Path, runs: Sequence[Run], turns: Sequence[Turn]) -> list[PlayedSpan]:
    """What was heard of the agent, the turn included that a lost server could not record."""
    agent, caller = (
        stretches(runs, track, path.stat().st_size if (path := folder / name).is_file() else 0)
        for track, name in ((AGENT, AGENT_FILE), (CALLER, CALLER_FILE))
    )
    recorded = {entry.item_id for turn in turns for entry in turn.entries}
    spans = [*played_spans(turns), *unrecorded_spans(agent, caller, recorded)]
    return sorted(spans, key=lambda span: span.begin_ms)
