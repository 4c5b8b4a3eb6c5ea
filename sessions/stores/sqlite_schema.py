"""The tables of the SQLite store: opened, created, and brought up to date from older versions.

Source: sqlite.org/wal.html, sqlite.org/autoinc.html, sqlite.org/pragma.html
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import orjson

from sessions.stores.contract import SESSION, StoreFailed, StoreMisconfigured
from sessions.stores.fields import boot_of

APPLICATION_ID = 0x50427931  # marks the file as a database of Patchbay
SCHEMA_VERSION = 2
BUSY_MS = 5000  # how long another process may lock the file before a write fails

TABLES = (
    """CREATE TABLE documents (
        version INTEGER PRIMARY KEY AUTOINCREMENT,
        tenant TEXT NOT NULL, session_id TEXT NOT NULL, id TEXT NOT NULL, type TEXT NOT NULL,
        expires_s REAL, started_at REAL, agent TEXT, state TEXT, body BLOB NOT NULL)""",
    "CREATE UNIQUE INDEX by_id ON documents (tenant, session_id, id)",
    "CREATE INDEX by_start ON documents (tenant, started_at, session_id) WHERE type = 'session'",
    "CREATE INDEX by_expiry ON documents (expires_s) WHERE expires_s IS NOT NULL",
)
# Schema 2 knows when each row was written and which instance runs a live session.
SECOND = (
    "ALTER TABLE documents ADD COLUMN written_s REAL NOT NULL DEFAULT 0",
    "ALTER TABLE documents ADD COLUMN boot TEXT",
    "DROP INDEX IF EXISTS by_state",
    "CREATE INDEX by_boot ON documents (boot) WHERE type = 'session' AND state = 'live'",
)


def failure(path: str, error: sqlite3.Error) -> StoreFailed:
    """SQLite's error as a StoreFailed that names the file."""
    text = str(error)
    if "locked" in text or "busy" in text:
        return StoreFailed(f"{path} is locked by another process")
    if "not a database" in text or "malformed" in text:
        return StoreFailed(f"{path} is damaged, or is not a SQLite database ({text})")
    return StoreFailed(f"{path} cannot be used: {text}")


def _text(stored: bytes) -> str:
    """A stored text. One that is not UTF-8, written by another program, must not fail the query for all other rows."""
    return stored.decode("utf-8", "replace")


def connect(path: str, *, busy_ms: int = BUSY_MS) -> sqlite3.Connection:
    """Open the file, or create it with its tables, readable only by its owner. Raises StoreFailed.

    The rows of a file with the older schema count as written now.
    """
    try:
        if path != ":memory:":
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise StoreFailed(f"{path} cannot be opened: {error.strerror}") from error
    connection = sqlite3.connect(path, timeout=busy_ms / 1000, isolation_level=None, check_same_thread=False)
    connection.text_factory = _text
    try:
        _prepare(connection, path)
    except sqlite3.Error as error:
        connection.close()
        raise failure(path, error) from error
    except StoreFailed:
        connection.close()
        raise
    return connection


def connect_for_reading(path: str, *, busy_ms: int = BUSY_MS) -> sqlite3.Connection:
    """Open an existing file of the present schema without changing it. Raises StoreFailed."""
    if not os.path.lexists(path):
        raise StoreFailed(f"{path} does not exist; a server makes it when it starts")
    try:
        place = f"{Path(path).absolute().as_uri()}?mode=ro"
        connection = sqlite3.connect(place, uri=True, timeout=busy_ms / 1000, isolation_level=None)
        connection.text_factory = _text
    except sqlite3.Error as error:
        raise failure(path, error) from error
    try:
        if _version_in(connection, path) < SCHEMA_VERSION:
            raise StoreFailed(f"{path} has an older schema; a server of this version brings it up to date at its start")
    except sqlite3.Error as error:
        connection.close()
        raise failure(path, error) from error
    except StoreFailed:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: str) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    # This survives the end of the process; a power cut may lose the last writes.
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA secure_delete=ON")  # free pages must not hold deleted sessions
    connection.execute("BEGIN IMMEDIATE")  # two processes may start at once on a new file
    try:
        _bring_up_to_date(connection, path)
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _version_in(connection: sqlite3.Connection, path: str) -> int:
    """The file's schema version; 0 if it is new. Raises StoreFailed for a file that this version cannot use."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if tables and application != APPLICATION_ID:
        raise StoreMisconfigured(f"{path} is a database of another program")
    if version > SCHEMA_VERSION:
        known = f"schema {version}, this one knows {SCHEMA_VERSION}"
        raise StoreMisconfigured(f"{path} was written by a newer Patchbay ({known})")
    return int(version)


def _bring_up_to_date(connection: sqlite3.Connection, path: str) -> None:
    version = _version_in(connection, path)
    if version == SCHEMA_VERSION:
        return
    if version == 0:
        for statement in TABLES:
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
    for statement in SECOND:
        connection.execute(statement)
    connection.execute("UPDATE documents SET written_s = CAST(strftime('%s', 'now') AS REAL)")
    live = connection.execute("SELECT version, body FROM documents WHERE type = ? AND state = 'live'", (SESSION,))
    for row, body in live.fetchall():
        connection.execute("UPDATE documents SET boot = ? WHERE version = ?", (_boot_in(body), row))
    connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")


def _boot_in(body: object) -> str | None:
    """The boot id in a stored session document; None if the row holds none."""
    try:
        found = orjson.loads(body if isinstance(body, bytes | str) else b"")
    except orjson.JSONDecodeError:
        return None
    return boot_of(found) if isinstance(found, dict) else None
