"""The contract of a store for call records: documents in partitions, with ETags, listing and expiry.

A document is a JSON object with `id`, `tenant`, `session_id`, `type`, `schema` (int) and optionally `ttl` (whole
seconds after its last write; without it the document does not expire). `tenant` and `session_id` together name its
partition. The store adds two fields to the documents that it returns, and ignores them in documents that it is given:
`etag`, and `written_s`, the time of the last write by the store's own clock (Unix seconds). A document of type
`session` also has `started_at` (Unix seconds), `agent` and `state`, by which sessions are listed, and optionally
`owner.boot`, the instance that runs the call.

A partition expires as a whole: with its session document, or, if it has none, once all its documents are past their
ttl.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol, TypeAlias

from sessions.errors import VoiceError
from sessions.ports import JsonObject

Document: TypeAlias = JsonObject

SESSION = "session"
PAGE_MAX = 1000  # sessions in one page
# The limits of every store, below those of Cosmos DB (2 MB for an item and for a request, 100 operations in a batch).
DOCUMENT_MAX_BYTES = 1_800_000  # as encoded JSON
BATCH_MAX_BYTES = 1_800_000
BATCH_MAX_DOCUMENTS = 100


class _Absent(Enum):
    ABSENT = "absent"


# As the ETag of a write: the document must not exist. The write creates it, or raises Conflict.
ABSENT: Final = _Absent.ABSENT
IfMatch: TypeAlias = "str | _Absent | None"


class StoreFailed(VoiceError):
    """The store cannot be opened, read or written; the message names its file or its account, and is for operators."""


class StoreMisconfigured(StoreFailed):
    """The store answers, but its setting, its key or its layout is wrong: trying again does not help."""


class StoreBusy(StoreFailed):
    """The store takes no more requests for now, and works otherwise; try again after `retry_after_ms`."""

    def __init__(self, message: str, *, retry_after_ms: int) -> None:
        super().__init__(message)
        self.retry_after_ms = retry_after_ms


class Conflict(VoiceError):
    """The document is not as the write requires: changed or gone since the given ETag, or present and not ABSENT."""


class Missing(VoiceError):
    """The document does not exist."""


class BadDocument(VoiceError):
    """A document lacks a required field, a field has the wrong type, or the document or its batch is too large."""


class BadCursor(VoiceError):
    """A cursor or a position did not come from this store; the message may be shown to API clients."""


@dataclass(frozen=True, slots=True)
class SessionKey:
    """The key of a partition: one session of one tenant."""

    tenant: str
    session_id: str


@dataclass(frozen=True, slots=True)
class Write:
    """One document to be written.

    With an ETag as `if_match` it replaces the version with that ETag and never creates a document. With ABSENT it only
    creates one. With None it replaces whatever the store holds.
    """

    document: Document
    if_match: IfMatch


@dataclass(frozen=True, slots=True)
class Page:
    """Session documents, newest first. `next_cursor` is the value for `after` to read on; None on the last page."""

    items: tuple[Document, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Changes:
    """Documents in the order of their last change; `position` is the value for `after` to read on."""

    items: tuple[Document, ...]
    position: str


class ChangeReader(Protocol):
    """Reads what changes in a store; every Store is one. Every method may raise StoreFailed."""

    async def open(self) -> None:
        """Make the store ready for reading. Raises StoreFailed, which names the file and the reason."""
        ...

    async def changes(self, after: str | None, limit: int) -> Changes:
        """Read at most `limit` documents that changed after a position, as `Store.changes` does. Raises BadCursor."""
        ...

    async def close(self) -> None:
        """Release the files; harmless if the store is closed already."""
        ...


class Store(Protocol):
    """Keeps documents. Every method may raise StoreFailed; a write is durable once it has returned."""

    @property
    def generation(self) -> int:
        """How often the store has lost all its documents at once and was used on, as when its file was deleted.

        A document that is missing in a new generation was not deleted, so its owner writes it again.
        """
        ...

    async def open(self) -> None:
        """Make the store ready for use. Raises StoreFailed, which names the store and the reason."""
        ...

    async def put(self, document: Document, if_match: IfMatch) -> str:
        """Write one document and return its new ETag. If it raises Conflict or BadDocument, nothing was written."""
        ...

    async def put_many(self, writes: Sequence[Write]) -> list[str]:
        """Write documents of one partition, all or none, and return their new ETags in order. Raises like `put`.

        At most `BATCH_MAX_DOCUMENTS` and `BATCH_MAX_BYTES` are taken, and `DOCUMENT_MAX_BYTES` for each document.
        """
        ...

    async def get(self, tenant: str, session_id: str, document_id: str) -> Document:
        """Read one document. Raises Missing."""
        ...

    async def query(self, tenant: str, session_id: str, document_type: str) -> list[Document]:
        """Read all documents of a type in a partition, in order of their ids."""
        ...

    async def sessions(
        self, tenant: str, *, limit: int, after: str | None, agent: str | None = None, state: str | None = None
    ) -> Page:
        """Read a page of a tenant's session documents, newest first; `limit` is 1 to PAGE_MAX. Raises BadCursor."""
        ...

    async def left_live(self, boot: str | None = None) -> list[Document]:
        """Read the session documents in state `live`, of all tenants: those of one instance, or all if it is None."""
        ...

    async def changes(self, after: str | None, limit: int) -> Changes:
        """Read at most `limit` documents that changed after a position; None is the beginning. Raises BadCursor.

        A document comes once for its last change, at least once, in the order of changes. Deletions are not shown. If
        nothing has changed, the position is the given one, or a valid one for the end.
        """
        ...

    async def delete_document(self, tenant: str, session_id: str, document_id: str) -> bool:
        """Remove one document, whatever its ETag; return whether there was one."""
        ...

    async def delete_session(self, tenant: str, session_id: str) -> int:
        """Remove a partition so that the store's files hold no trace of it; return how many documents it held."""
        ...

    async def expired(self, now_s: float) -> list[SessionKey]:
        """The partitions that have expired at `now_s` (Unix time), oldest first; at most PAGE_MAX."""
        ...

    async def close(self) -> None:
        """Write what is queued and release the files; harmless if the store is closed already."""
        ...
