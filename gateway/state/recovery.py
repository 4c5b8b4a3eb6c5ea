"""Completes the records of the calls whose process died, at the start and for as long as the server runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from gateway.guard import Boundary, kind_and_place
from gateway.state.boots import Boots
from gateway.state.busy import BUSY_MAX_MS
from gateway.state.instances import Instances
from gateway.state.replay import BATCH_BYTES, BATCH_DOCUMENTS, Replayed, replay
from gateway.state.spool import StateSpool
from gateway.state.taking import Takeover
from gateway.state.write_behind import SPOOL_MAX_BYTES, WRITE_TIMEOUT_S
from gateway.state.writer import StateWriter, WriteCounts
from sessions.errors import VoiceError
from sessions.record import Turn
from sessions.stores.contract import BadDocument, Conflict, Document, SessionKey, Store, StoreBusy
from sessions.stores.documents import (
    TURN,
    RecordingState,
    SessionRecord,
    SessionState,
    session_from_document,
    turn_from_document,
)
from sessions.stores.fields import boot_of, names_in

STATE = "state"  # the folder of the spool, in an instance's folder
BUSY_MIN_MS = 100  # how long a busy store is left alone at least
SERVER_LOST = "server_lost"  # the end reason of a call whose process died

NAMELESS: Mapping[str, str | None] = MappingProxyType({})

T = TypeVar("T")
log = logging.getLogger("patchbay.state")


class Recovery:
    """Ends the sessions that dead instances left in the state `live`.

    An instance with a folder on this machine is dead if its lock is free. Any other is dead if its document in the
    store is too old, or if it has none.
    """

    def __init__(
        self,
        store: Store,
        instances: Instances,
        boots: Boots,
        takeover: Takeover,
        has_spool: Callable[[Path, SessionKey], bool],
        *,
        adopt: Callable[[Path], Awaitable[object]] | None = None,
        inline: bool = False,
        counts: WriteCounts | None = None,
        on_ended: Callable[[SessionKey, str], None] | None = None,
    ) -> None:
        """`has_spool` tells whether the folder of a dead instance holds something of a session's recording.

        `adopt` takes over the recordings in the folder of an instance that died while this one runs. Documents that
        are lost or dropped are added to `counts`. `on_ended` is called for each session that was ended, with the boot
        id of the instance that left it.
        """
        self._adopt = adopt
        self._on_ended = on_ended
        self._counts = counts or WriteCounts()
        self._store = store
        self._instances = instances
        self._boots = boots
        self._takeover = takeover
        self._has_spool = has_spool
        self._inline = inline
        # Whether the live sessions of all instances were looked at once. Later, only those of dead ones are read.
        self._looked_at_all = False

    async def at_start(self, dead_folders: Iterable[Path]) -> list[SessionRecord]:
        """Write the documents that dead instances spooled, and end their live sessions.

        `dead_folders` are the folders that `take_dead` returned, named after the boot ids. Runs once, before calls are
        accepted. Returns the sessions that it ended; their recordings may wait for the finisher. What cannot be read
        is logged and skipped. A spool stays for the next start if the store does not take all of it.
        """
        for folder in dead_folders:
            await self._restore(folder)
        return await self._look(with_folders=False)

    async def look(self) -> list[SessionRecord]:
        """End the live sessions of instances that have died, and return them. What fails is logged and tried again.

        The recordings of those that died on this machine are taken over.
        """
        return await self._look(with_folders=True)

    async def _look(self, *, with_folders: bool) -> list[SessionRecord]:
        ended: list[SessionRecord] = []
        with Boundary(partial(_log_fault, "the instances that use the store cannot be looked at", "the store")):
            beating = await self._boots.beating()
            if not self._looked_at_all:
                left = await self._store.left_live()
                dead = await self._dead({boot_of(document) or "" for document in left}, beating)
                self._looked_at_all = await self._end_all(
                    [document for document in left if (boot_of(document) or "") in dead], ended
                )
            for boot in await self._dead(beating, beating):
                await self._end_boot(boot, ended, with_folders=with_folders)
        if ended:
            log.warning("sessions of a lost server were ended", extra={"sessions": len(ended)})
        return ended

    async def _end_boot(self, boot: str, ended: list[SessionRecord], *, with_folders: bool) -> None:
        """End the sessions of one dead instance; then its document is no longer needed."""
        folder = await self._offload(partial(self._instances.take, boot)) if with_folders else None
        try:
            restored = folder is None or await self._restore(folder)
            all_ended = await self._end_all(await self._store.left_live(boot), ended)
            if folder is not None and self._adopt is not None:
                await self._adopt(folder)
            if all_ended and restored:
                await self._boots.remove_dead(boot)
        finally:
            if folder is not None:
                await self._offload(partial(self._instances.discard, folder))

    async def _dead(self, boots: Collection[str], beating: Mapping[str, bool]) -> list[str]:
        """Those instances that are dead."""
        return await self._offload(lambda: [boot for boot in boots if not self._is_alive(boot, beating)])

    def _is_alive(self, boot: str, beating: Mapping[str, bool]) -> bool:
        if self._instances.knows(boot):
            return self._instances.is_running(boot)
        return beating.get(boot, False)

    async def _end_all(self, left: Iterable[Document], ended: list[SessionRecord]) -> bool:
        """End sessions, and add them to `ended`; False if one of them is to be tried again."""
        faults: list[BaseException] = []

        def failed(document: Document, fault: BaseException) -> None:
            faults.append(fault)
            if not isinstance(fault, Conflict):  # after a Conflict, another process has ended it, or it is alive
                message = "a session that was left live cannot be ended"
                _log_fault(message, "the store", fault, names_in(document))

        for document in left:
            with Boundary(partial(failed, document)):
                ended.append(await self._end(document))
        return all(isinstance(fault, BadDocument) for fault in faults)

    async def _end(self, document: Document) -> SessionRecord:
        """End a session, in the same write that takes it. Raises Conflict, BadDocument and StoreFailed."""
        found = session_from_document(document)
        record = await _ended(self._store, found)
        if record.recording.state is RecordingState.RUNNING and not self._has_files(found):
            # If they lie on another machine, a server that starts there takes the session and finishes the recording.
            record = replace(record, recording=replace(record.recording, state=RecordingState.FAILED))
        ended = session_from_document(await self._takeover.take(document, record))
        if self._on_ended is not None:
            self._on_ended(SessionKey(ended.tenant, ended.session_id), found.owner.boot)
        return ended

    def _has_files(self, record: SessionRecord) -> bool:
        boot = record.owner.boot
        key = SessionKey(record.tenant, record.session_id)
        return self._instances.knows(boot) and self._has_spool(self._instances.folder_of(boot), key)

    async def _restore(self, folder: Path) -> bool:
        """Write what an instance with this folder has spooled; False if that has to be tried again."""
        with Boundary(partial(_log_fault, "the spool of a lost server cannot be read", str(folder))):
            spool = StateSpool(folder / STATE, SPOOL_MAX_BYTES)
            writer = StateWriter(self._store, self._counts, WRITE_TIMEOUT_S, boot=folder.name)
            return await self._restore_all(spool, writer)
        return False

    async def _restore_all(self, spool: StateSpool, writer: StateWriter) -> bool:
        """Write a dead instance's documents, except those of sessions that others have taken or deleted.

        What is written is marked in the spool, so that the next try goes on from there.
        """
        load = partial(spool.load, max_documents=BATCH_DOCUMENTS, max_bytes=BATCH_BYTES)
        odd: dict[SessionKey, dict[str, BaseException]] = {}
        busy_ms = 0
        while batch := await self._offload(partial(load, skip=odd)):
            replayed = await replay(writer, self._counts, batch)
            await self._offload(partial(spool.done, replayed.done))
            _log_refused(spool.place, replayed)
            for key, faults in replayed.odd.items():
                odd.setdefault(key, {}).update(faults)
            refusal = replayed.refusal
            busy_ms = 0 if replayed.stored else busy_ms
            if isinstance(refusal, StoreBusy) and busy_ms + refusal.retry_after_ms <= BUSY_MAX_MS:
                pause_ms = max(refusal.retry_after_ms, BUSY_MIN_MS)
                busy_ms += pause_ms
                await asyncio.sleep(pause_ms / 1000)
            elif refusal is not None:
                return False
        if odd:
            return False
        if spool.has_documents:  # only lines that cannot be read
            await self._offload(spool.clear)
        return True

    async def _offload(self, work: Callable[[], T]) -> T:
        """Work on files in a thread, because a disk may hang."""
        return work() if self._inline else await asyncio.to_thread(work)


def _log_refused(place: str, replayed: Replayed) -> None:
    message = "a spooled document cannot be stored"
    for key, faults in replayed.odd.items():
        for document_id, fault in faults.items():
            names = names_in({"tenant": key.tenant, "session_id": key.session_id, "id": document_id})
            _log_fault(message, place, fault, names)
    if replayed.refusal is not None and not isinstance(replayed.refusal, StoreBusy):
        _log_fault(message, place, replayed.refusal)


def _log_fault(message: str, place: str, fault: BaseException, names: Mapping[str, str | None] = NAMELESS) -> None:
    """Log what the recovery skips, with the names of a document.

    The messages of our own errors name fields and files, and hold no spoken words.
    """
    reason = str(fault) if isinstance(fault, VoiceError) else kind_and_place(fault)
    log.error(message, extra={"place": place, "reason": reason, **names})


async def _ended(store: Store, record: SessionRecord) -> SessionRecord:
    """The record of a lost session, ended at the last moment that its stored documents show."""
    turns: list[Turn] = []
    for document in await store.query(record.tenant, record.session_id, TURN):
        failed = partial(_log_fault, "a turn of a lost session cannot be read", "the store", names=names_in(document))
        with Boundary(failed):
            turns.append(turn_from_document(document))
    ends_ms = [turn.begin_ms if turn.end_ms is None else turn.end_ms for turn in turns]
    duration_ms = max(ends_ms, default=record.summary.duration_ms)
    recording = record.recording
    if recording.state is RecordingState.RUNNING:
        recording = replace(recording, complete=False)
    return replace(
        record,
        state=SessionState.ENDED,
        ended_at=record.started_at + duration_ms / 1000,
        summary=replace(record.summary, end_reason=SERVER_LOST, duration_ms=duration_ms, turns=len(turns)),
        latencies_ms=tuple(turn.latency_ms for turn in turns if turn.latency_ms is not None),
        recording=recording,
    )
