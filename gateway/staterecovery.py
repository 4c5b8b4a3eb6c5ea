"""After a crash: brings the record of the calls that a dead process ran to its end."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from gateway.boots import Boots
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
from sessions.stores.contract import BadDocument, Conflict, Store
from sessions.stores.fields import Fields

SERVER_LOST = "server_lost"  # the end reason of a call whose process died

log = logging.getLogger("patchbay.state")


async def recover(store: Store, boots: Boots, dead_folders: Iterable[Path]) -> list[SessionRecord]:
    """Write what dead boots could not write, and end the sessions that they left live.

    Runs once, at start, before calls are taken; it reads the few spool files there and then. Returns the sessions it
    ended, whose recordings may wait for the finisher. Raises StoreFailed.
    """
    for folder in dead_folders:
        await _adopt(store, StateSpool(folder, SPOOL_MAX_BYTES))
    ended: list[SessionRecord] = []
    for document in await store.left_live():
        try:
            record = session_from_document(document)
            if boots.is_running(record.owner.boot):
                continue
            record = await _ended(store, record)
            ttl_s = Fields(document).whole_or_none("ttl")
            await store.put(session_document(record, ttl_s=ttl_s), Fields(document).text("etag"))
        except Conflict:
            continue  # another start was quicker
        except BadDocument as error:
            log.error("a session left live cannot be read", extra={"reason": str(error)})
            continue
        ended.append(record)
    if ended:
        log.warning("sessions of a lost server were ended", extra={"sessions": len(ended)})
    return ended


async def _adopt(store: Store, spool: StateSpool) -> None:
    for document in spool.read():
        try:
            await store.put(document, None)
        except BadDocument as error:
            log.error("a spooled document cannot be stored", extra={"reason": str(error)})
    spool.clear()


async def _ended(store: Store, record: SessionRecord) -> SessionRecord:
    """A lost session as it must have ended: with the last thing that was written of it."""
    found = await store.query(record.tenant, record.session_id, TURN)
    turns = [turn_from_document(document) for document in found]
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
