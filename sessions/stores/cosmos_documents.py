"""Documents as items of Cosmos DB, and back.

An item has the fields of its document, and these differ:

- `ttl` is the document's own plus NET_S: the store removes what has expired itself, together with its recordings. What
  Cosmos DB removes by its ttl is only what was left over.
- `purge_after` is the Unix time at which the document expires, by our own clock.
- `_etag` and `_ts` are Cosmos DB's; a document that is read has them as `etag` and `written_s`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from sessions.stores.checks import TTL_MAX_S, Checked
from sessions.stores.contract import BadDocument, Document, StoreFailed
from sessions.stores.cosmos_setting import FORBIDDEN
from sessions.stores.fields import in_words

NET_S = 30 * 86_400
# Limits of Cosmos DB. Source: learn.microsoft.com/azure/cosmos-db/concepts-limits
ID_MAX_BYTES = 1_023
KEY_MAX_BYTES = 2_000  # both values of the partition key together; the service takes 2 KB
# What Cosmos DB or this module sets; given values are ignored, and nothing of it is shown.
_SET_HERE = ("_rid", "_self", "_ts", "_etag", "_attachments", "_lsn", "purge_after", "ttl")
_ODD = "the store answered with something that Cosmos DB does not send"


@dataclass(frozen=True, slots=True)
class Change:
    """One operation of a batch. `kind` is create, replace, upsert or delete; a delete has no item."""

    kind: str
    document_id: str
    item: dict[str, Any] | None
    etag: str | None


def fits(tenant: str, session_id: str, document_id: str | None = None) -> bool:
    """Whether Cosmos DB can hold a partition, and in it a document with this id, if one is given."""
    try:
        key_bytes = len(tenant.encode()) + len(session_id.encode())
        id_bytes = 1 if document_id is None else len(document_id.encode())
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return key_bytes <= KEY_MAX_BYTES and 0 < id_bytes <= ID_MAX_BYTES and not FORBIDDEN & set(document_id or "")


def to_item(document: Checked, now_s: float) -> dict[str, Any]:
    """The item for a document that is written at `now_s` (Unix seconds). Raises BadDocument."""
    if not fits(document.tenant, document.session_id, document.id):
        raise BadDocument(
            f"a document of type {document.type!r} has an id or a partition that Cosmos DB cannot hold: ids have 1 to "
            f"{ID_MAX_BYTES} bytes without / \\ ? #, and tenant and session_id together {KEY_MAX_BYTES} bytes at most"
        )
    item: dict[str, Any] = orjson.loads(document.body)
    for name in _SET_HERE:
        item.pop(name, None)
    if document.ttl_s is not None:
        item["ttl"] = min(document.ttl_s + NET_S, TTL_MAX_S)
        item["purge_after"] = now_s + document.ttl_s
    return item


def from_item(item: object) -> Document:
    """The document in an item.

    Raises BadDocument, because another program may have written the item, and StoreFailed if it lacks what Cosmos DB
    itself adds to every item, whoever wrote it.
    """
    if not isinstance(item, Mapping):
        raise StoreFailed(f"{_ODD}: an item that is not a JSON object")
    etag, written_s, ttl_s = item.get("_etag"), item.get("_ts"), item.get("ttl")
    if not isinstance(etag, str) or not etag or not isinstance(written_s, int | float):
        raise StoreFailed(f"{_ODD}: an item without _etag or _ts")
    if not all(isinstance(item.get(name), str) for name in ("id", "tenant", "session_id", "type")):
        raise BadDocument(f"{in_words(item)} lacks one of id, tenant, session_id and type, or it is not a string")
    found = {name: value for name, value in item.items() if name not in _SET_HERE}
    if isinstance(ttl_s, int):
        # The largest ttl cannot be told from one that is up to 30 days smaller: a difference in 68 years.
        found["ttl"] = ttl_s if ttl_s >= TTL_MAX_S else max(1, ttl_s - NET_S)
    return {**found, "etag": etag, "written_s": written_s}
