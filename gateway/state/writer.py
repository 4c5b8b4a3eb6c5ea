"""Writes the documents of sessions to the store, and stops as soon as another process has taken a session.

Every batch carries the session's document under the ETag of our last write, so that this one ETag protects all
documents of the session. The owner in the session's document (instance and fence) tells who may write.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import orjson

from gateway.clock import loop_s
from gateway.state.kept import Fence, Kept, key_of
from sessions.errors import VoiceError
from sessions.stores.checks import check_document
from sessions.stores.contract import (
    ABSENT,
    BATCH_MAX_BYTES,
    BATCH_MAX_DOCUMENTS,
    BadDocument,
    Conflict,
    Document,
    IfMatch,
    Missing,
    SessionKey,
    Store,
    StoreFailed,
    Write,
)
from sessions.stores.documents import SESSION_ID, RecordingState, SessionState
from sessions.stores.fields import Fields, boot_of, owner_of
from sessions.stores.store_meter import OUTCOMES

REFUSED_MAX_SESSIONS = 10_000  # how many deleted or fenced sessions are remembered, to refuse late writes
# How often one batch is tried. Each Conflict that is not a fence means that an answer of the store was lost, or that
# another program has changed the document without taking the session.
MAX_TRIES = 5

log = logging.getLogger("patchbay.state")


class Fenced(VoiceError):
    """Another process has taken the session; this process may not write it any more."""


_OUTCOMES: Mapping[type[BaseException], str] = {**OUTCOMES, Fenced: "fenced", TimeoutError: "timeout"}


@dataclass(slots=True)
class WriteCounts:
    """Counts documents that were spooled, lost or changed by another process, and fenced sessions, for the metrics."""

    spooled: int = 0
    lost: int = 0
    conflicts: int = 0
    fenced: int = 0  # sessions that another process has taken from this one
    dropped: int = 0  # documents that were not written, because their session was deleted or taken by another process

    def lose(self, documents: int, reason: str) -> None:
        """Count and log documents that will never be stored."""
        self.lost += documents
        log.error("session documents were lost", extra={"documents": documents, "reason": reason})


@dataclass(frozen=True, slots=True)
class _Held:
    """A session that this process owns: its document as stored last, and the ETag and the generation of that write."""

    session: Document
    etag: IfMatch
    generation: int


class StateWriter:
    """Writes the documents of sessions that this process owns, and drops those of sessions that it has lost."""

    def __init__(
        self,
        store: Store,
        counts: WriteCounts,
        timeout_s: float,
        *,
        boot: str | None = None,
        on_fenced: Callable[[SessionKey], None] | None = None,
        on_deleted: Callable[[SessionKey], None] | None = None,
        on_written: Callable[[float, str], None] | None = None,
    ) -> None:
        """`boot` is the instance whose documents are written.

        `on_fenced` is called once for each session that another process has taken, `on_deleted` for each that another
        process has deleted. `on_written` gets how long each write of a session's documents took, and its outcome.
        """
        self._store = store
        self._counts = counts
        self._timeout_s = timeout_s  # for the documents of one session
        self._boot = boot
        self._on_fenced = on_fenced
        self._on_deleted = on_deleted
        self._on_written = on_written or (lambda took_s, outcome: None)
        self._held: dict[SessionKey, _Held] = {}
        self._refused: OrderedDict[SessionKey, None] = OrderedDict()

    def refuses(self, key: SessionKey) -> bool:
        """Whether the session was deleted, or taken by another process: its documents are dropped."""
        return key in self._refused

    def refuse(self, key: SessionKey) -> None:
        """Drop what comes of a session from now on."""
        self._held.pop(key, None)
        self._refused[key] = None
        if len(self._refused) > REFUSED_MAX_SESSIONS:
            self._refused.popitem(last=False)

    def hold(self, session: Document) -> None:
        """Note the document of a session that this process has just taken, with its `etag`. Raises BadDocument."""
        key = key_of(session)
        self._refused.pop(key, None)
        self._note(key, _Held(session, Fields(session).text("etag"), self._store.generation))

    def keep(self, key: SessionKey, documents: Mapping[str, Document], now_ms: int) -> list[Kept]:
        """Documents that the store refuses, with what this process knows of their session, for a later `write`."""
        held, session = self._held.get(key), documents.get(SESSION_ID)
        fence: Fence | None = None
        if held is not None:
            fence = Fence(*owner_of(held.session), held.etag if isinstance(held.etag, str) else None)
        elif session is not None:
            fence = Fence(*owner_of(session), None)
        return [Kept(document, fence, now_ms) for document in documents.values()]

    async def write(self, key: SessionKey, documents: Mapping[str, Document], fence: Fence | None = None) -> None:
        """Write a session's documents; the mapping's keys are their ids.

        The documents of a session that was deleted, or taken by another process, are dropped and counted. More
        documents than one batch takes are written in several. `fence` is what was known of the session when the
        documents were kept. Raises BadDocument, StoreFailed and TimeoutError.
        """
        if self.refuses(key):
            self._counts.dropped += len(documents)
            return
        try:
            await self._write_measured(key, documents, fence)
        except Missing:
            log.warning("a session was deleted by another process", extra={"session_id": key.session_id})
            self._counts.dropped += len(documents)
            self.refuse(key)
            if self._on_deleted is not None:
                self._on_deleted(key)
        except Fenced:
            log.error("another server has taken a session", extra={"session_id": key.session_id})
            self._counts.fenced += 1
            self._counts.dropped += len(documents)
            self.refuse(key)
            if self._on_fenced is not None:
                self._on_fenced(key)

    async def write_one(self, document: Document) -> None:
        """Write one document, with its session's as protection. Raises BadDocument, StoreFailed and TimeoutError."""
        await self.write(key_of(document), {str(document["id"]): document})

    async def _write_measured(self, key: SessionKey, documents: Mapping[str, Document], fence: Fence | None) -> None:
        began_s, outcome = loop_s(), "failed"
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._write(key, documents, fence)
            outcome = "ok"
        except (VoiceError, TimeoutError) as fault:
            outcome = _OUTCOMES.get(type(fault), "failed")
            raise
        finally:
            self._on_written(loop_s() - began_s, outcome)

    async def _write(self, key: SessionKey, documents: Mapping[str, Document], fence: Fence | None) -> None:
        held = self._held.get(key)
        session = documents.get(SESSION_ID)
        others = [document for name, document in documents.items() if name != SESSION_ID]
        if held is not None and _is_stale(held.session, session, fence):
            log.warning("documents of an earlier ownership are dropped", extra={"session_id": key.session_id})
            self._counts.dropped += len(documents)
            return
        if session is not None:
            held = replace(held, session=session) if held is not None else self._new(session, fence)
        elif held is None:
            held = await self._stored(key, fence)
        if held is None:  # the store has no document of the session, so there is no owner to protect
            for piece in _pieces(others, None):
                await self._store.put_many([Write(document, None) for document in piece])
            return
        for piece in _pieces(others, held.session):
            held = await self._write_batch(key, held, piece)
        self._note(key, held)

    async def _write_batch(self, key: SessionKey, held: _Held, others: Sequence[Document]) -> _Held:
        """Write one batch; return the session's document with its new ETag. Raises Missing and Fenced."""
        etag = held.etag
        for _ in range(MAX_TRIES):
            try:
                etags = await self._store.put_many(
                    [Write(held.session, etag), *(Write(document, None) for document in others)]
                )
            except Conflict:
                self._counts.conflicts += 1
                etag = await self._etag_if_ours(key, held)
            else:
                return self._renewed(key, held.session, etags[0])
        raise StoreFailed(f"the document of a session has changed at each of {MAX_TRIES} writes")

    def _renewed(self, key: SessionKey, session: Document, etag: object) -> _Held:
        if not isinstance(etag, str):  # as an ETag, None would overwrite what another process has written
            raise TypeError("the store returned an ETag that is not a string")
        self._held[key] = held = _Held(session, etag, self._store.generation)
        return held

    async def _etag_if_ours(self, key: SessionKey, held: _Held) -> IfMatch:
        """The present ETag of a session that still has the owner that `held` names. Raises Missing and Fenced.

        A Conflict may answer a write that succeeded: a client of a remote store repeats a request whose answer was
        lost. ABSENT if the store has lost all its documents: the session was not deleted, and is written again. None if
        the document there cannot be read.
        """
        try:
            found = await self._store.get(key.tenant, key.session_id, SESSION_ID)
        except Missing:
            if held.generation != self._store.generation:
                return ABSENT
            raise
        except BadDocument as error:
            # Another program wrote it. Nobody takes a session whose document cannot be read, so it is written over.
            _log_unreadable(key, error)
            return None
        if not _is_owned_by(found, owner_of(held.session)):
            raise Fenced(f"session {key.session_id} has another owner")
        return _etag_of(found)

    async def _stored(self, key: SessionKey, fence: Fence | None) -> _Held | None:
        """The session's document in the store, to be written again with others; None if there is none.

        None as well if another program wrote one that cannot be read or written again: nobody can take such a session,
        so its other documents need no protection. Raises Fenced if another instance owns the session, and Missing if
        there is no document although the process that kept the others had written it.
        """
        try:
            found = await self._store.get(key.tenant, key.session_id, SESSION_ID)
        except Missing:
            if fence is not None and fence.etag is not None:
                raise
            return None
        except BadDocument as error:
            _log_unreadable(key, error)
            return None
        boot = boot_of(found)
        ours = self._boot in (None, boot) if fence is None else _is_owned_by(found, (fence.boot, fence.fence))
        if boot is not None and not ours:
            raise Fenced(f"session {key.session_id} has another owner")
        try:
            check_document(found)
        except BadDocument as error:
            _log_unreadable(key, error)
            return None
        return _Held(found, _etag_of(found), self._store.generation)

    def _new(self, session: Document, fence: Fence | None) -> _Held:
        """A session that this writer has not written yet.

        The store must not have it, unless it was written before its documents were kept.
        """
        etag: IfMatch = ABSENT if fence is None or fence.etag is None else fence.etag
        return _Held(session, etag, self._store.generation)

    def _note(self, key: SessionKey, held: _Held) -> None:
        """Keep the ETag until the session is settled: ended, with no recording that is still being made."""
        if _is_settled(held.session):
            self._held.pop(key, None)
        else:
            self._held[key] = held


def _is_owned_by(found: Document, owner: tuple[str | None, int]) -> bool:
    """Whether a session still has this owner, or none: whoever takes a session writes who owns it."""
    return boot_of(found) is None or owner_of(found) == owner


def _etag_of(found: Document) -> str:
    etag = found.get("etag")
    if not isinstance(etag, str) or not etag:
        raise StoreFailed("the store returned a document without an ETag")
    return etag


def _log_unreadable(key: SessionKey, error: BadDocument) -> None:
    log.error(
        "the stored document of a session cannot be read",
        extra={"tenant": key.tenant, "session_id": key.session_id, "document": SESSION_ID, "reason": str(error)},
    )


def _is_stale(held: Document, session: Document | None, fence: Fence | None) -> bool:
    """Whether documents waited while the session was taken from this process, and while it took it back."""
    if session is not None:
        return session.get("owner") != held.get("owner") and owner_of(session) != owner_of(held)
    return fence is not None and (fence.boot, fence.fence) != owner_of(held)


def _is_settled(session: Document) -> bool:
    recording = session.get("recording")
    running = isinstance(recording, Mapping) and recording.get("state") == RecordingState.RUNNING
    return session.get("state") == SessionState.ENDED and not running


def _pieces(others: Sequence[Document], session: Document | None) -> Iterator[list[Document]]:
    """The documents in lists that each fit into one batch, together with the session's document."""
    carried_bytes = 0 if session is None else _size_bytes(session)
    carried = 0 if session is None else 1
    piece: list[Document] = []
    size_bytes = carried_bytes
    for document in others:
        document_bytes = _size_bytes(document)
        if piece and (len(piece) + carried >= BATCH_MAX_DOCUMENTS or size_bytes + document_bytes > BATCH_MAX_BYTES):
            yield piece
            piece, size_bytes = [], carried_bytes
        piece.append(document)
        size_bytes += document_bytes
    if piece or session is not None:
        yield piece


def _size_bytes(document: Document) -> int:
    """The size of a document as encoded; 0 if it cannot be encoded, which the store will say."""
    try:
        return len(orjson.dumps(document))
    except orjson.JSONEncodeError:
        return 0
