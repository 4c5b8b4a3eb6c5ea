"""Takes a session over from another process: one conditional write that changes its owner and raises its fence."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from sessions.stores.contract import Conflict, Document, Missing, Store
from sessions.stores.documents import (
    SESSION_ID,
    Owner,
    SessionRecord,
    SessionState,
    session_document,
    session_from_document,
)
from sessions.stores.fields import Fields, owner_of


async def take_session(store: Store, found: Document, record: SessionRecord, owner: Owner) -> Document:
    """Make `owner` the owner of a session; after that, every write of its former owner raises Conflict.

    `found` is the session's document as it was read. `record` is what is to be stored for it: the record in `found`, or
    one with changes, which the same write stores. Returns the document as stored, with its `etag`. Raises Conflict if
    the session has changed meanwhile or is gone, BadDocument and StoreFailed.
    """
    fields = Fields(found)
    new_owner = replace(owner, fence=record.owner.fence + 1)
    taken = session_document(replace(record, owner=new_owner), ttl_s=fields.whole_or_none("ttl"))
    try:
        etag = await store.put(taken, fields.text("etag"))
    except Conflict:
        # The answer to our own write may have been lost, and the store's client then repeated it.
        with suppress(Missing):
            now = await store.get(record.tenant, record.session_id, SESSION_ID)
            if owner_of(now) == owner_of(taken):
                return now
        raise
    return {**taken, "etag": etag}


class Takeover:
    """Takes sessions for this instance. `hold` tells the write-behind the ETags, so that later writes use them."""

    def __init__(self, store: Store, owner: Owner, hold: Callable[[Document], None]) -> None:
        self._store = store
        self._owner = owner
        self._hold = hold

    async def take(self, found: Document, record: SessionRecord) -> Document:
        """Take a session, as `take_session` does."""
        taken = await take_session(self._store, found, record, self._owner)
        self._hold(taken)
        return taken

    async def take_ended(self, found: Document) -> Document:
        """Take an ended session, unless this instance owns it already, and return its document.

        Raises Conflict if its call goes on at another instance or the session has changed, BadDocument and StoreFailed.
        """
        record = session_from_document(found)
        if record.owner.boot == self._owner.boot:
            self._hold(found)
            return found
        if record.state is SessionState.LIVE:
            raise Conflict("the session is live at another instance")
        return await self.take(found, record)
