"""Which store a setting names."""

from __future__ import annotations

from sessions.ports import Clock
from sessions.stores.contract import Store, StoreFailed
from sessions.stores.sqlite import SqliteStore


def open_store(url: str, clock: Clock, *, inline: bool = False) -> Store:
    """The store that `url` names, not opened yet.

    `sqlite://PATH`: what follows the two slashes is the path, so `sqlite://./data/patchbay.db` is relative and
    `sqlite:///var/lib/patchbay.db` is not; `sqlite://:memory:` keeps nothing and needs `inline`. Raises StoreFailed.
    """
    scheme, mark, place = url.partition("://")
    if scheme == "sqlite" and mark:
        if not place or place.endswith("/"):
            raise StoreFailed("the store's setting names no file; write one like sqlite://./data/patchbay.db")
        return SqliteStore(place, clock, inline=inline)
    if scheme == "cosmos" and mark:
        raise StoreFailed("cosmos:// is not supported yet; use sqlite://PATH")
    # The setting itself stays out of the message: it may carry a key.
    raise StoreFailed("the store's setting is of no known kind; write one like sqlite://./data/patchbay.db")
