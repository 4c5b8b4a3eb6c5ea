"""Writes the documents of running calls into the store, under the ETags that its own last writes brought."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.statespool import key_of
from sessions.documents import SESSION_ID, SessionState
from sessions.stores.contract import Conflict, Document, SessionKey, Store, Write

log = logging.getLogger("patchbay.state")


@dataclass(slots=True)
class KeeperCounts:
    """What went wrong so far, in documents: for metrics and the alarm."""

    spooled: int = 0
    lost: int = 0
    conflicts: int = 0

    def lose(self, documents: int, reason: str) -> None:
        """So many documents will never be in the store: count them, and say so."""
        self.lost += documents
        log.error("session documents were lost", extra={"documents": documents, "reason": reason})


class StateWriter:
    """Writes sessions' documents so that ours stand: nobody but the process that runs a call knows it better."""

    def __init__(self, store: Store, counts: KeeperCounts, timeout_s: float) -> None:
        self._store = store
        self._counts = counts
        self._timeout_s = timeout_s  # for one write
        self._etags: dict[SessionKey, dict[str, str]] = {}  # of each running session's documents, by their id

    async def write(self, key: SessionKey, documents: Mapping[str, Document]) -> None:
        """Write a session's documents together, each under its id.

        Raises Missing where another process deleted the session; BadDocument; StoreFailed and TimeoutError.
        """
        session = documents.get(SESSION_ID)
        known = self._etags.get(key, {})
        async with asyncio.timeout(self._timeout_s):
            try:
                new = await self._store.put_many([Write(doc, known.get(name)) for name, doc in documents.items()])
            except Conflict:
                self._counts.conflicts += 1
                log.warning("a session document was changed by somebody else")
                if SESSION_ID in known:
                    await self._store.get(key.tenant, key.session_id, SESSION_ID)
                # We run the call, so ours is the truth.
                new = await self._store.put_many([Write(doc, None) for doc in documents.values()])
        if session is not None and session.get("state") == SessionState.ENDED:
            self._etags.pop(key, None)
        elif known or session is not None:  # a straggler after the end leaves no trace here
            self._etags[key] = {**known, **dict(zip(documents, new, strict=True))}

    async def overwrite(self, document: Document) -> None:
        """Write one document over whatever is there. Raises BadDocument; StoreFailed and TimeoutError."""
        async with asyncio.timeout(self._timeout_s):
            etag = await self._store.put(document, None)
        key = key_of(document)
        if document["id"] == SESSION_ID and document.get("state") == SessionState.ENDED:
            self._etags.pop(key, None)
        elif etags := self._etags.get(key):
            etags[str(document["id"])] = etag

    def forget(self, key: SessionKey) -> None:
        """The session is deleted: its ETags are worth nothing any more."""
        self._etags.pop(key, None)
