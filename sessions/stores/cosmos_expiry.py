"""Finds the partitions in Cosmos DB that have expired.

A partition expires with its session document. One without a session document, which a crash may leave, expires with the
last of its documents; such partitions are few, and each is read to decide.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from sessions.stores import cosmos_queries as queries
from sessions.stores.contract import PAGE_MAX, SESSION, SessionKey
from sessions.stores.fields import names_in

Rows: TypeAlias = Callable[[str, Mapping[str, Any], Sequence[str] | None, int], Awaitable[list[Any]]]

# Documents expire a little before their session's, so most of these rows belong to sessions that are found anyway.
LOOSE_ROWS = 10_000

log = logging.getLogger("patchbay.state")


async def expired_keys(rows: Rows, now_s: float) -> list[SessionKey]:
    """The partitions that have expired at `now_s` (Unix time), oldest first; at most PAGE_MAX. `rows` reads a query."""
    ends = _ends(await rows(queries.EXPIRED_SESSIONS, {"now": now_s}, None, PAGE_MAX))
    if len(ends) < PAGE_MAX:
        others = _ends(await rows(queries.EXPIRED_OTHERS, {"now": now_s}, None, LOOSE_ROWS))
        for key, end_s in sorted(others.items(), key=lambda entry: entry[1]):
            if len(ends) >= PAGE_MAX:
                break
            if key not in ends and await _is_over(rows, key, now_s):
                ends[key] = end_s
    return sorted(ends, key=lambda key: ends[key])[:PAGE_MAX]


async def _is_over(rows: Rows, key: SessionKey, now_s: float) -> bool:
    """Whether a partition has no session document, and all its documents have expired."""
    found = await rows(queries.ENDS, {}, (key.tenant, key.session_id), LOOSE_ROWS)
    return bool(found) and all(
        row.get("type") != SESSION and isinstance(end_s := row.get("purge_after"), int | float) and end_s <= now_s
        for row in found
    )


def _ends(rows: Iterable[Any]) -> dict[SessionKey, float]:
    """The earliest time at which something of each partition expired."""
    ends: dict[SessionKey, float] = {}
    for row in rows:
        match row:
            case {"tenant": str(tenant), "session_id": str(session_id), "purge_after": int() | float() as end_s}:
                key = SessionKey(tenant, session_id)
                ends[key] = min(end_s, ends.get(key, end_s))
            case _:
                names = names_in(row) if isinstance(row, Mapping) else {}
                extra = {"reason": "it has no key or no time of expiry", **names}
                log.error("a stored document cannot be read", extra=extra)
    return ends
