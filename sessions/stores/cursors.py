"""The cursor of a list of sessions, which is the same in every store: the start and the id of the last session."""

from __future__ import annotations

import base64
import binascii

import orjson

from sessions.stores.contract import BadCursor


def write_cursor(started_at: object, session_id: str) -> str | None:
    """The cursor after the session with this start (Unix seconds) and id.

    None if no start is stored: such sessions, which another program wrote, are the last of all.
    """
    if not isinstance(started_at, float | int | str):
        return None
    return base64.urlsafe_b64encode(orjson.dumps([started_at, session_id])).decode().rstrip("=")


def read_cursor(text: str) -> tuple[float | str, str]:
    """The start and the id in a cursor. Raises BadCursor.

    A start that is text was written by another program; SQLite sorts it behind all numbers.
    """
    try:
        parsed = orjson.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, binascii.Error) as error:  # orjson's error is a ValueError
        raise BadCursor("the cursor did not come from this list") from error
    match parsed:
        case [float() | int() | str() as started_at, str(session_id)] if not isinstance(started_at, bool):
            return started_at if isinstance(started_at, str) else float(started_at), session_id
    raise BadCursor("the cursor did not come from this list")
