"""After a crash: brings the record of the calls that a dead process ran to its end."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

from gateway.boots import Boots
from gateway.guard import Boundary, innermost, place_of
from gateway.statekeeper import SPOOL_MAX_BYTES
from gateway.statespool import StateSpool
from sessions.documents import (
    TURN,
    RecordingState,
    SessionRecord,
    SessionState,
    session_document,
    session_from_document,
    turn_from_document,
)
from sessions.errors import VoiceError
from sessions.record import Turn
from sessions.stores.contract import BadDocument, Conflict, Document, Store, StoreFailed
from sessions.stores.fields import Fields

SERVER_LOST = "server_lost"  # the end reason of a call whose process died

log = logging.getLogger("patchbay.state")


async def recover(
    store: Store, boots: Boots, dead_folders: Iterable[Path], save: Callable[[Document], None] | None = None
) -> list[SessionRecord]:
    """Write what dead boots could not write, and end the sessions that they left live.

    Runs once, at start, before calls are taken; it reads the few spool files there and then. Returns the sessions it
    ended, whose recordings may wait for the finisher. What cannot be read costs itself. A spool of which the store
    does not take all stays for the next start; the end of a session that it does not take is given to `save`.
    """
    for folder in dead_folders:
        with Boundary(partial(_told, "what a lost server has spooled cannot be read", str(folder))):
            await _adopt(store, StateSpool(folder, SPOOL_MAX_BYTES))
    left: list[Document] = []
    with Boundary(partial(_told, "the sessions that were left live cannot be read", "the store")):
        left.extend(await store.left_live())
    ended: list[SessionRecord] = []
    for document in left:
        with Boundary(partial(_told, "a session left live cannot be ended", "the store")):
            record = await _end_one(store, boots, document, save)
            if record is not None:
                ended.append(record)
    if ended:
        log.warning("sessions of a lost server were ended", extra={"sessions": len(ended)})
    return ended


async def _end_one(
    store: Store, boots: Boots, document: Document, save: Callable[[Document], None] | None
) -> SessionRecord | None:
    """End a session that was left live; None where its process lives, or another start was quicker."""
    record = session_from_document(document)
    if boots.is_running(record.owner.boot):
        return None
    record = await _ended(store, record)
    fields = Fields(document)
    new = session_document(record, ttl_s=fields.whole_or_none("ttl"))
    try:
        await store.put(new, fields.text("etag"))
    except Conflict:
        return None
    except StoreFailed:
        if save is None:
            raise
        save(new)
    return record


async def _adopt(store: Store, spool: StateSpool) -> None:
    stored = True
    for document in spool.read():
        refusals: list[BaseException] = []
        with Boundary(refusals.append):
            await store.put(document, None)
        if refusals:
            _told("a spooled document cannot be stored", spool.place, refusals[0])
            stored = stored and isinstance(refusals[0], BadDocument)
    if stored:
        spool.clear()


def _told(message: str, place: str, fault: BaseException) -> None:
    """Log what a recovery does without. The words of our own errors name fields and files, and nobody's words."""
    reason = str(fault) if isinstance(fault, VoiceError) else f"{type(innermost(fault)).__name__} {place_of(fault)}"
    log.error(message, extra={"place": place, "reason": reason})


async def _ended(store: Store, record: SessionRecord) -> SessionRecord:
    """A lost session as it must have ended: with the last thing that was written of it."""
    turns: list[Turn] = []
    for document in await store.query(record.tenant, record.session_id, TURN):
        with Boundary(partial(_told, "a turn of a lost session cannot be read", "the store")):
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
