"""What a store of call records promises: documents in partitions, guarded by ETags, listed, and forgotten in time.

A document is a JSON object with `id`, `tenant`, `session_id`, `type`, `schema` (int) and optionally `ttl` (whole
seconds from its last write; absent: kept). `tenant` and `session_id` together name its partition. The store adds
`etag`; one that comes in with a document is not looked at. A document of type `session` also has `started_at` (Unix
seconds), `agent` and `state`, by which sessions are listed. A partition is forgotten whole, when all its documents are
past their ttl.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from sessions.errors import VoiceError
from sessions.ports import JsonObject

Document: TypeAlias = JsonObject

SESSION = "session"
PAGE_MAX = 1000  # sessions in one page


class StoreFailed(VoiceError):
    """The store cannot be opened, read or written; the message names the place and is for operators."""


class Conflict(VoiceError):
    """The document is not the one that the given ETag stands for any more."""


class Missing(VoiceError):
    """There is no such document."""


class BadDocument(VoiceError):
    """A document lacks what every document has, or a field of it has the wrong type."""


class BadCursor(VoiceError):
    """The cursor is not one that this store gave; the message is safe to tell a caller."""


@dataclass(frozen=True, slots=True)
class SessionKey:
    """A partition: one session of one tenant."""

    tenant: str
    session_id: str


@dataclass(frozen=True, slots=True)
class Write:
    """One document to be written. `if_match` None writes over whatever is there."""

    document: Document
    if_match: str | None


@dataclass(frozen=True, slots=True)
class Page:
    """Session documents, newest first. `next_cursor` is None on the last page, else what `after` takes."""

    items: tuple[Document, ...]
    next_cursor: str | None


class Store(Protocol):
    """Keeps documents; every method but `open` may raise StoreFailed, and a write is durable once it has returned."""

    async def open(self) -> None:
        """Make the store ready. Raises StoreFailed with the place and the reason."""
        ...

    async def put(self, document: Document, if_match: str | None) -> str:
        """Write one document and return its new ETag. Raises Conflict or BadDocument, and then writes nothing."""
        ...

    async def put_many(self, writes: Sequence[Write]) -> list[str]:
        """Write documents of one partition, all or none; their new ETags in order. Raises as `put`."""
        ...

    async def get(self, tenant: str, session_id: str, document_id: str) -> Document:
        """One document. Raises Missing."""
        ...

    async def query(self, tenant: str, session_id: str, document_type: str) -> list[Document]:
        """All documents of a type in a partition, by id."""
        ...

    async def sessions(
        self, tenant: str, *, limit: int, after: str | None, agent: str | None = None, state: str | None = None
    ) -> Page:
        """A tenant's session documents, newest first; `limit` from 1 to PAGE_MAX. Raises BadCursor."""
        ...

    async def left_live(self) -> list[Document]:
        """Session documents of every tenant whose state is `live`; asked once, at start."""
        ...

    async def delete_session(self, tenant: str, session_id: str) -> int:
        """Remove a whole partition, beyond recovery from the store's own files; how many documents it held."""
        ...

    async def expired(self, now_s: float) -> list[SessionKey]:
        """Partitions all of whose documents are past their ttl at `now_s`; at most PAGE_MAX, oldest first."""
        ...

    async def purge(self, now_s: float) -> int:
        """Remove every partition that `expired` would name; how many documents."""
        ...

    async def close(self) -> None:
        """Write what is queued and let go; harmless when closed already."""
        ...
