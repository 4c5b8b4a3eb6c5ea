"""The change feed of one physical range: the latest version of each item, in the order of the last writes.

The position is the LSN up to which its bearer has seen everything, as an ETag. Items that one transaction wrote share
an LSN and come in one page. Deleted and expired items are not shown.
Source: learn.microsoft.com/azure/cosmos-db/change-feed-modes (latest version mode).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cosmos.items import Container
from cosmos.queries import Scope
from cosmos.refusals import bad

DEFAULT_PAGE = 100


@dataclass(frozen=True, slots=True)
class Changes:
    """One page of the feed; empty where nothing is new."""

    documents: list[dict[str, Any]]
    returned_bytes: int
    position: str
    lsn: int  # of the replica that answered


def position_lsn(etag: str | None, scope: Scope) -> int:
    """The LSN behind which the feed goes on; `*` is now. Raises Refusal 400."""
    if etag is None:
        return 0
    if etag == "*":
        return scope.replica.lsn
    try:
        return int(etag.strip('"'))
    except ValueError:
        raise bad("If-None-Match is not a position of the change feed.") from None


def changes(container: Container, scope: Scope, etag: str | None, since_s: float | None, limit: int | None) -> Changes:
    """What was written behind the position `etag` and not before `since_s`, about `limit` items."""
    broken = container.broken
    after_lsn = position_lsn(etag, scope)
    if etag is not None and "feed_position" in broken:
        after_lsn += 1  # a transaction is missed
    found = [
        (stored.lsn, stored.number, stored.body, stored.size_bytes)
        for stored in scope.items(container)
        if stored.lsn > after_lsn
        and (since_s is None or stored.body["_ts"] >= since_s)
        and not (stored.rewritten and "feed_updates" in broken)
    ]
    if "feed_deletions" in broken:
        found += [(lsn, 0, body, 1) for lsn, body in scope.replica.tombstones if lsn > after_lsn]
    found.sort(key=lambda change: (change[1], change[0]) if "feed_order" in broken else change[:2])
    wanted = DEFAULT_PAGE if limit is None or limit < 1 else limit
    taken = found[:wanted]
    for change in found[wanted:]:
        if change[0] != taken[-1][0]:
            break
        taken.append(change)
    # Where all is taken, the position is the replica's own: what was deleted or expired lies behind it, too.
    seen_lsn = taken[-1][0] if len(taken) < len(found) else max(scope.replica.lsn, after_lsn)
    documents = [{**body, "_lsn": lsn} for lsn, _, body, _ in taken]
    return Changes(documents, sum(change[3] for change in taken), f'"{seen_lsn}"', scope.replica.lsn)
