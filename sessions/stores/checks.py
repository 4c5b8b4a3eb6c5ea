"""Checks that every store makes before it writes: the fields that all documents have, and their size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from sessions.stores.contract import (
    BATCH_MAX_BYTES,
    BATCH_MAX_DOCUMENTS,
    DOCUMENT_MAX_BYTES,
    SESSION,
    BadDocument,
    Document,
)
from sessions.stores.fields import Fields, boot_of

TTL_MAX_S = 2**31 - 1  # the maximum of Cosmos DB
ADDED = ("etag", "written_s")  # a store's own fields in the documents that it returns


@dataclass(frozen=True, slots=True)
class Checked:
    """A checked and encoded document. `started_at`, `agent`, `state` and `boot` are those of a session document."""

    tenant: str
    session_id: str
    id: str
    type: str
    ttl_s: int | None
    started_at: float | None
    agent: str | None
    state: str | None
    boot: str | None
    body: bytes  # JSON, without the fields that a store adds


def check_document(document: Document) -> Checked:
    """Check and encode a document. Raises BadDocument."""
    fields = Fields(document)
    kind = fields.text("type")
    fields.whole("schema")
    ttl_s = fields.whole_or_none("ttl")
    if ttl_s is not None and not 1 <= ttl_s <= TTL_MAX_S:
        raise BadDocument(f"field 'ttl' of a document of type {kind!r} is not from 1 to {TTL_MAX_S} seconds")
    is_session = kind == SESSION
    try:
        body = orjson.dumps({name: value for name, value in document.items() if name not in ADDED})
    except orjson.JSONEncodeError as error:
        raise BadDocument(f"a document of type {kind!r} cannot be written as JSON: {error}") from error
    if len(body) > DOCUMENT_MAX_BYTES:
        raise BadDocument(f"a document of type {kind!r} has {len(body)} bytes; at most {DOCUMENT_MAX_BYTES} are taken")
    return Checked(
        tenant=fields.text("tenant"),
        session_id=fields.text("session_id"),
        id=fields.text("id"),
        type=kind,
        ttl_s=ttl_s,
        started_at=fields.number("started_at") if is_session else None,
        agent=fields.text("agent") if is_session else None,
        state=fields.text("state") if is_session else None,
        boot=boot_of(document) if is_session else None,
        body=body,
    )


def check_batch(documents: Sequence[Checked]) -> None:
    """Check that documents may be written together. Raises BadDocument."""
    if len({(document.tenant, document.session_id) for document in documents}) > 1:
        raise BadDocument("documents written together must be of one partition")
    if len(documents) > BATCH_MAX_DOCUMENTS:
        raise BadDocument(f"{len(documents)} documents are written together; at most {BATCH_MAX_DOCUMENTS} are taken")
    size = sum(len(document.body) for document in documents)
    if size > BATCH_MAX_BYTES:
        raise BadDocument(f"documents of {size} bytes are written together; at most {BATCH_MAX_BYTES} are taken")
