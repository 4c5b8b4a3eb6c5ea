"""Documents in one SQLite file: the tables, and each operation of the store as plain synchronous code on a connection.

An ETag is a row's version, which SQLite's AUTOINCREMENT never gives twice, not even after a deletion.
Source: sqlite.org/wal.html, sqlite.org/autoinc.html, sqlite.org/pragma.html
"""

from __future__ import annotations

import base64
import binascii
import logging
import os
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from sessions.stores.contract import (
    PAGE_MAX,
    SESSION,
    BadCursor,
    BadDocument,
    Conflict,
    Document,
    Missing,
    Page,
    SessionKey,
    StoreFailed,
)
from sessions.stores.fields import Fields

APPLICATION_ID = 0x50427931  # marks the file as ours
SCHEMA_VERSION = 1
BUSY_MS = 5000  # how long another process may hold the file before a write fails
TTL_MAX_S = 2**31 - 1  # Cosmos DB's own ceiling

TABLES = (
    """CREATE TABLE documents (
        version INTEGER PRIMARY KEY AUTOINCREMENT,
        tenant TEXT NOT NULL, session_id TEXT NOT NULL, id TEXT NOT NULL, type TEXT NOT NULL,
        expires_s REAL, started_at REAL, agent TEXT, state TEXT, body BLOB NOT NULL)""",
    "CREATE UNIQUE INDEX by_id ON documents (tenant, session_id, id)",
    "CREATE INDEX by_start ON documents (tenant, started_at, session_id) WHERE type = 'session'",
    "CREATE INDEX by_state ON documents (state) WHERE type = 'session' AND state = 'live'",
    "CREATE INDEX by_expiry ON documents (expires_s) WHERE expires_s IS NOT NULL",
)
WRITE = """INSERT OR REPLACE INTO documents
    (tenant, session_id, id, type, expires_s, started_at, agent, state, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"""
# A partition is forgotten as a whole: when the last of its documents is past its ttl.
EXPIRED = """SELECT tenant, session_id FROM documents AS old WHERE expires_s <= :now_s AND NOT EXISTS (
        SELECT 1 FROM documents WHERE tenant = old.tenant AND session_id = old.session_id
        AND (expires_s IS NULL OR expires_s > :now_s))
    GROUP BY tenant, session_id ORDER BY min(expires_s) LIMIT :limit"""

log = logging.getLogger("patchbay.state")


@dataclass(frozen=True, slots=True)
class Row:
    """A document, checked and encoded, ready for its table."""

    tenant: str
    session_id: str
    id: str
    type: str
    expires_s: float | None
    started_at: float | None
    agent: str | None
    state: str | None
    body: bytes
    if_match: str | None


def row_of(document: Document, if_match: str | None, now_s: float) -> Row:
    """Check and encode one document that is written at `now_s` (Unix seconds). Raises BadDocument."""
    fields = Fields(document)
    kind = fields.text("type")
    fields.whole("schema")
    ttl_s = fields.whole_or_none("ttl")
    if ttl_s is not None and not 1 <= ttl_s <= TTL_MAX_S:
        raise BadDocument(f"field 'ttl' of a document of type {kind!r} is not from 1 to {TTL_MAX_S} seconds")
    is_session = kind == SESSION
    try:
        body = orjson.dumps({name: value for name, value in document.items() if name != "etag"})
    except orjson.JSONEncodeError as error:
        raise BadDocument(f"a document of type {kind!r} cannot be written as JSON: {error}") from error
    return Row(
        tenant=fields.text("tenant"),
        session_id=fields.text("session_id"),
        id=fields.text("id"),
        type=kind,
        expires_s=None if ttl_s is None else now_s + ttl_s,
        started_at=fields.number("started_at") if is_session else None,
        agent=fields.text("agent") if is_session else None,
        state=fields.text("state") if is_session else None,
        body=body,
        if_match=if_match,
    )


def failure(path: str, error: sqlite3.Error) -> StoreFailed:
    """SQLite's complaint, in words that name the file."""
    text = str(error)
    if "locked" in text or "busy" in text:
        return StoreFailed(f"{path} is locked by another process")
    if "not a database" in text or "malformed" in text:
        return StoreFailed(f"{path} is damaged, or is not a SQLite database ({text})")
    return StoreFailed(f"{path} cannot be used: {text}")


def connect(path: str, *, busy_ms: int = BUSY_MS) -> sqlite3.Connection:
    """Open the file, made private to its owner if it is new, with its tables. Raises StoreFailed."""
    try:
        if path != ":memory:":
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise StoreFailed(f"{path} cannot be opened: {error.strerror}") from error
    connection = sqlite3.connect(path, timeout=busy_ms / 1000, isolation_level=None, check_same_thread=False)
    try:
        _prepare(connection, path)
    except sqlite3.Error as error:
        connection.close()
        raise failure(path, error) from error
    except StoreFailed:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: str) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")  # survives the process; a power cut may cost the last moments
    connection.execute("PRAGMA secure_delete=ON")  # a deleted session shall not linger in free pages
    connection.execute("BEGIN IMMEDIATE")  # two processes may start at once on a new file
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if tables and application != APPLICATION_ID:
            raise StoreFailed(f"{path} is a database of another program")
        if version > SCHEMA_VERSION:
            raise StoreFailed(
                f"{path} was written by a newer Patchbay (schema {version}, this one knows {SCHEMA_VERSION})"
            )
        if version == 0:
            for statement in TABLES:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    finally:
        connection.execute("COMMIT")


def write_rows(connection: sqlite3.Connection, rows: Sequence[Row]) -> list[str]:
    """Write rows inside the caller's transaction; their ETags. Raises Conflict before it has changed anything."""
    for row in rows:
        if row.if_match is not None:
            found = connection.execute(
                "SELECT version FROM documents WHERE tenant = ? AND session_id = ? AND id = ?",
                (row.tenant, row.session_id, row.id),
            ).fetchone()
            if found is None or str(found[0]) != row.if_match:
                raise Conflict(f"document {row.id} has changed")
    etags = []
    for row in rows:
        columns = (row.tenant, row.session_id, row.id, row.type, row.expires_s, row.started_at, row.agent, row.state)
        etags.append(str(connection.execute(WRITE, (*columns, row.body)).lastrowid))
    return etags


def delete_partition(connection: sqlite3.Connection, tenant: str, session_id: str) -> int:
    """Remove a partition; how many documents it held."""
    return connection.execute(
        "DELETE FROM documents WHERE tenant = ? AND session_id = ?", (tenant, session_id)
    ).rowcount


def expired_partitions(connection: sqlite3.Connection, now_s: float, limit: int = PAGE_MAX) -> list[SessionKey]:
    """Partitions all of whose documents are past their ttl."""
    return [SessionKey(*found) for found in connection.execute(EXPIRED, {"now_s": now_s, "limit": limit})]


def purge_expired(connection: sqlite3.Connection, now_s: float) -> int:
    """Remove every partition that is expired; how many documents."""
    return sum(
        delete_partition(connection, key.tenant, key.session_id) for key in expired_partitions(connection, now_s, -1)
    )


def read_one(connection: sqlite3.Connection, tenant: str, session_id: str, document_id: str) -> Document:
    """One document. Raises Missing, and BadDocument where the row holds none."""
    found = connection.execute(
        "SELECT version, body FROM documents WHERE tenant = ? AND session_id = ? AND id = ?",
        (tenant, session_id, document_id),
    ).fetchone()
    if found is None:
        raise Missing(f"there is no document {document_id}")
    return _document(*found)


def read_type(connection: sqlite3.Connection, tenant: str, session_id: str, document_type: str) -> list[Document]:
    """A partition's documents of one type, by id."""
    rows = connection.execute(
        "SELECT version, body FROM documents WHERE tenant = ? AND session_id = ? AND type = ? ORDER BY id",
        (tenant, session_id, document_type),
    )
    return _readable(rows)


def read_live(connection: sqlite3.Connection) -> list[Document]:
    """Session documents in state live, of every tenant."""
    rows = connection.execute(
        "SELECT version, body FROM documents WHERE type = 'session' AND state = 'live' ORDER BY started_at"
    )
    return _readable(rows)


def read_page(
    connection: sqlite3.Connection, tenant: str, limit: int, after: str | None, agent: str | None, state: str | None
) -> Page:
    """A page of a tenant's sessions, newest first. Raises BadCursor."""
    terms = ["tenant = ?", "type = 'session'"]
    bounds: list[str | float] = [tenant]  # what the terms' question marks stand for
    if after is not None:
        terms.append("(started_at, session_id) < (?, ?)")
        bounds.extend(_read_cursor(after))
    for column, wanted in (("agent", agent), ("state", state)):
        if wanted is not None:
            terms.append(f"{column} = ?")
            bounds.append(wanted)
    rows = connection.execute(
        f"SELECT version, body, started_at, session_id FROM documents WHERE {' AND '.join(terms)}"  # noqa: S608
        " ORDER BY started_at DESC, session_id DESC LIMIT ?",
        (*bounds, limit + 1),
    ).fetchall()
    more = len(rows) > limit
    rows = rows[:limit]
    return Page(
        items=tuple(_readable((version, body) for version, body, _, _ in rows)),
        next_cursor=_cursor(rows[-1][2], rows[-1][3]) if more else None,
    )


def _document(version: int, body: object) -> Document:
    """A row's document. Raises BadDocument where the row does not hold one, whoever wrote it."""
    try:
        found = orjson.loads(body if isinstance(body, bytes | str) else b"")
    except orjson.JSONDecodeError as error:
        raise BadDocument(f"row {version} of the table of documents is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise BadDocument(f"row {version} of the table of documents is no JSON object")
    return {**found, "etag": str(version)}


def _readable(rows: Iterable[tuple[int, object]]) -> list[Document]:
    """The documents of these rows; one that cannot be read costs itself, and is told."""
    found = []
    for version, body in rows:
        try:
            found.append(_document(version, body))
        except BadDocument as error:
            log.error("a stored document cannot be read", extra={"reason": str(error)})
    return found


def _cursor(started_at: float, session_id: str) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([started_at, session_id])).decode().rstrip("=")


def _read_cursor(text: str) -> tuple[float, str]:
    try:
        parsed = orjson.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, binascii.Error) as error:  # orjson's error is a ValueError
        raise BadCursor("the cursor is not one that this list gave") from error
    match parsed:
        case [float() | int() as started_at, str(session_id)]:
            return float(started_at), session_id
    raise BadCursor("the cursor is not one that this list gave")
