"""Documents in a SQLite file: each operation of the store as synchronous code on a connection.

An ETag is a row's version. SQLite's AUTOINCREMENT never uses a version twice, not even after a deletion, and every
write gives a row the newest version. Source: sqlite.org/autoinc.html
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from sessions.stores.checks import Checked, check_document
from sessions.stores.contract import (
    ABSENT,
    PAGE_MAX,
    BadCursor,
    BadDocument,
    Changes,
    Conflict,
    Document,
    IfMatch,
    Missing,
    Page,
    SessionKey,
)
from sessions.stores.cursors import read_cursor, write_cursor
from sessions.stores.fields import in_words, names_in

WRITE = """INSERT OR REPLACE INTO documents
    (tenant, session_id, id, type, expires_s, started_at, agent, state, body, written_s, boot)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
# A partition expires with its session document, or, without one, once the last of its documents is past its ttl.
EXPIRED = """SELECT tenant, session_id FROM documents AS old WHERE expires_s <= :now_s AND (
        type = 'session' OR NOT EXISTS (
            SELECT 1 FROM documents WHERE tenant = old.tenant AND session_id = old.session_id
            AND (type = 'session' OR expires_s IS NULL OR expires_s > :now_s)))
    GROUP BY tenant, session_id ORDER BY min(expires_s) LIMIT :limit"""
READ = "SELECT version, body, written_s, tenant, session_id, id FROM documents WHERE "  # rows for `_document`
POSITION = "sqlite-"  # begins a position in the changes, so that no other store's position is taken for one

log = logging.getLogger("patchbay.state")


@dataclass(frozen=True, slots=True)
class Row:
    """A checked document, ready to be written at `written_s` (Unix seconds)."""

    document: Checked
    if_match: IfMatch
    written_s: float

    def columns(self) -> tuple[object, ...]:
        """The values of a row, in the order of WRITE."""
        document = self.document
        return (
            document.tenant,
            document.session_id,
            document.id,
            document.type,
            None if document.ttl_s is None else self.written_s + document.ttl_s,
            document.started_at,
            document.agent,
            document.state,
            document.body,
            self.written_s,
            document.boot,
        )


def row_of(document: Document, if_match: IfMatch, now_s: float) -> Row:
    """Check and encode a document that is written at `now_s` (Unix seconds). Raises BadDocument."""
    return Row(check_document(document), if_match, now_s)


def write_rows(connection: sqlite3.Connection, rows: Sequence[Row]) -> list[str]:
    """Write rows inside the caller's transaction and return their ETags. Raises Conflict before it changes anything."""
    for row in rows:
        if row.if_match is None:
            continue
        document = row.document
        found = connection.execute(
            "SELECT version FROM documents WHERE tenant = ? AND session_id = ? AND id = ?",
            (document.tenant, document.session_id, document.id),
        ).fetchone()
        if row.if_match is ABSENT:
            if found is not None:
                raise Conflict(f"document {document.id} exists already")
        elif found is None or str(found[0]) != row.if_match:
            raise Conflict(f"document {document.id} has changed or is gone")
    return [str(connection.execute(WRITE, row.columns()).lastrowid) for row in rows]


def delete_one(connection: sqlite3.Connection, tenant: str, session_id: str, document_id: str) -> bool:
    """Remove one document; return whether there was one."""
    removed = connection.execute(
        "DELETE FROM documents WHERE tenant = ? AND session_id = ? AND id = ?", (tenant, session_id, document_id)
    )
    return removed.rowcount > 0


def delete_partition(connection: sqlite3.Connection, tenant: str, session_id: str) -> int:
    """Remove a partition and return how many documents it held."""
    return connection.execute(
        "DELETE FROM documents WHERE tenant = ? AND session_id = ?", (tenant, session_id)
    ).rowcount


def expired_partitions(connection: sqlite3.Connection, now_s: float, limit: int = PAGE_MAX) -> list[SessionKey]:
    """The partitions whose documents are all past their ttl."""
    return [SessionKey(*found) for found in connection.execute(EXPIRED, {"now_s": now_s, "limit": limit})]


def read_one(connection: sqlite3.Connection, tenant: str, session_id: str, document_id: str) -> Document:
    """Read one document. Raises Missing, and BadDocument if the row holds no document."""
    found = connection.execute(
        READ + "tenant = ? AND session_id = ? AND id = ?",
        (tenant, session_id, document_id),
    ).fetchone()
    if found is None:
        raise Missing(f"there is no document {document_id}")
    return _document(*found)


def read_type(connection: sqlite3.Connection, tenant: str, session_id: str, document_type: str) -> list[Document]:
    """Read a partition's documents of one type, in order of their ids."""
    rows = connection.execute(
        READ + "tenant = ? AND session_id = ? AND type = ? ORDER BY id",
        (tenant, session_id, document_type),
    )
    return _readable(rows)


def read_live(connection: sqlite3.Connection, boot: str | None) -> list[Document]:
    """Read the session documents in state `live`, of all tenants: those of one instance, or all if it is None."""
    rows = connection.execute(
        READ + "type = 'session' AND state = 'live' AND (:boot IS NULL OR boot = :boot) ORDER BY started_at",
        {"boot": boot},
    )
    return _readable(rows)


def read_changes(connection: sqlite3.Connection, after: str | None, limit: int) -> Changes:
    """Read the documents that changed after a position. Raises BadCursor."""
    version = 0 if after is None else _read_position(after)
    rows = connection.execute(READ + "version > ? ORDER BY version LIMIT ?", (version, limit)).fetchall()
    if not rows and version > _last_version(connection):  # of a file that was at this path before
        raise BadCursor("the position did not come from this store")
    last = rows[-1][0] if rows else version
    return Changes(tuple(_readable(rows)), f"{POSITION}{last}")


def _last_version(connection: sqlite3.Connection) -> int:
    """The highest version that a row ever had; 0 if nothing was ever written."""
    found = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'documents'").fetchone()
    return 0 if found is None else int(found[0])


def read_page(
    connection: sqlite3.Connection, tenant: str, limit: int, after: str | None, agent: str | None, state: str | None
) -> Page:
    """Read a page of a tenant's sessions, newest first. Raises BadCursor."""
    terms = ["tenant = ?", "type = 'session'"]
    values: list[str | float] = [tenant]  # for the question marks in the terms
    if after is not None:
        terms.append("(started_at, session_id) < (?, ?)")
        values.extend(read_cursor(after))
    for column, wanted in (("agent", agent), ("state", state)):
        if wanted is not None:
            terms.append(f"{column} = ?")
            values.append(wanted)
    conditions = " AND ".join(terms)
    rows = connection.execute(
        f"SELECT version, body, written_s, tenant, session_id, id, started_at FROM documents WHERE {conditions}"  # noqa: S608
        " ORDER BY started_at DESC, session_id DESC LIMIT ?",
        (*values, limit + 1),
    ).fetchall()
    more = len(rows) > limit
    rows = rows[:limit]
    return Page(
        items=tuple(_readable(row[:-1] for row in rows)),
        next_cursor=write_cursor(rows[-1][-1], rows[-1][4]) if more else None,
    )


def _document(
    version: int, body: object, written_s: float, tenant: object, session_id: object, document_id: object
) -> Document:
    """The document in a row. Raises BadDocument if the row holds none, because another program may have written it."""
    # The row names its document, whatever another program has written into it.
    named = {"id": str(document_id), "tenant": str(tenant), "session_id": str(session_id)}
    place = f"{in_words(named)} (row {version})"
    try:
        found = orjson.loads(body if isinstance(body, bytes | str) else b"")
    except orjson.JSONDecodeError as error:
        raise BadDocument(f"{place} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise BadDocument(f"{place} is not a JSON object")
    return {**found, **named, "etag": str(version), "written_s": written_s}


def _readable(rows: Iterable[tuple[Any, ...]]) -> list[Document]:
    """The documents in these rows; those that cannot be read are logged and skipped."""
    found = []
    for row in rows:
        try:
            found.append(_document(*row))
        except BadDocument as error:
            tenant, session_id, document_id = map(str, row[3:])
            names = names_in({"tenant": tenant, "session_id": session_id, "id": document_id})
            log.error("a stored document cannot be read", extra={"reason": str(error), **names})
    return found


def _read_position(text: str) -> int:
    version = text.removeprefix(POSITION)
    if not text.startswith(POSITION) or not version.isascii() or not version.isdigit() or len(version) > 18:
        raise BadCursor("the position did not come from this store")
    return int(version)
