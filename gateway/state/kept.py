"""A document that waits beside the store, with what must still hold of its session when it is written.

In a spool it is a line of JSON: `{"owner": [BOOT, FENCE], "etag": ETAG, "document": DOCUMENT}`. Older spools have the
document alone on a line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from sessions.stores.contract import Document, SessionKey


def key_of(document: Document) -> SessionKey:
    """The key of the partition that a document belongs to."""
    return SessionKey(str(document["tenant"]), str(document["session_id"]))


@dataclass(frozen=True, slots=True)
class Fence:
    """What a process knew of its session when it kept a document.

    A document may be written as long as the session has this owner. `etag` is that of the process's last write of the
    session's document: if the session is gone, it was deleted. None: the process had not written the session yet.
    """

    boot: str | None
    fence: int
    etag: str | None


@dataclass(frozen=True, slots=True)
class Kept:
    """A document that waits for the store. `since_ms` is monotonic, and 0 for one that another process kept."""

    document: Document
    fence: Fence | None  # None: nothing is known of the session
    since_ms: int = 0

    @property
    def id(self) -> str:
        """The document's id."""
        return str(self.document["id"])


def encode(kept: Kept) -> bytes:
    """One line of a spool, without the line break. Raises TypeError for what is no document, or no JSON."""
    if not _is_document(kept.document):
        raise TypeError("its tenant, session_id or id is not a string")
    if kept.fence is None:
        return orjson.dumps(kept.document)
    fence = kept.fence
    return orjson.dumps({"owner": [fence.boot, fence.fence], "etag": fence.etag, "document": kept.document})


def decode(line: bytes) -> Kept | None:
    """The document in a line of a spool; None unless the line has one of the two shapes."""
    try:
        found: Any = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(found, dict):
        return None
    if "document" not in found or "tenant" in found:
        return Kept(found, None) if _is_document(found) else None
    match found:
        case {"owner": [str() | None as boot, int(fence)], "etag": str() | None as etag, "document": dict(document)}:
            return Kept(document, Fence(boot, fence, etag)) if _is_document(document) else None
    return None


def _is_document(found: Mapping[str, Any]) -> bool:
    return all(isinstance(found.get(name), str) for name in ("tenant", "session_id", "id"))
