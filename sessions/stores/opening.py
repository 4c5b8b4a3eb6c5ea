"""Makes the store that the setting `store` names, for a server or for a program that only reads it."""

from __future__ import annotations

from dataclasses import replace

from sessions.ports import Clock
from sessions.stores.contract import ChangeReader, Store, StoreFailed
from sessions.stores.cosmos import CosmosAccess, CosmosStore
from sessions.stores.cosmos_setting import CosmosPlace, check_access, is_cosmos, read_cosmos_url
from sessions.stores.sqlite import SqliteStore
from sessions.stores.sqlite_reader import SqliteReader


def open_store(url: str, clock: Clock, *, cosmos: CosmosAccess, inline: bool = False) -> Store:
    """Make the store that `url` names, without opening it. Raises StoreFailed for a URL that names no store.

    In `sqlite://PATH` everything after the two slashes is the path: `sqlite://./data/patchbay.db` is relative,
    `sqlite:///var/lib/patchbay.db` is absolute. `sqlite://:memory:` keeps nothing on the disk and needs `inline`.
    `cosmos://ACCOUNT.documents.azure.com/DATABASE/CONTAINER` is entered with `cosmos`.
    """
    if is_cosmos(url):
        return CosmosStore(_cosmos_place(url, cosmos), clock, cosmos)
    return SqliteStore(_sqlite_path(url), clock, inline=inline)


def open_reader(url: str, clock: Clock, *, cosmos: CosmosAccess) -> ChangeReader:
    """Make a reader of the changes in the store that `url` names, which must exist, without opening it.

    Raises StoreFailed for a URL that names no store.
    """
    if is_cosmos(url):
        return CosmosStore(replace(_cosmos_place(url, cosmos), create=False), clock, cosmos)
    return SqliteReader(_sqlite_path(url))


def _cosmos_place(url: str, cosmos: CosmosAccess) -> CosmosPlace:
    try:
        place = read_cosmos_url(url)
        check_access(place, key=cosmos.key, plain_allowed=cosmos.plain_allowed)
    except ValueError as error:
        raise StoreFailed(f"the store's setting {error}") from error
    return place


def _sqlite_path(url: str) -> str:
    scheme, mark, place = url.partition("://")
    if scheme == "sqlite" and mark:
        if not place or place.endswith("/"):
            raise StoreFailed("the store's setting names no file; write one like sqlite://./data/patchbay.db")
        return place
    # The message does not repeat the setting, which may contain a key.
    raise StoreFailed("the store's setting is of no known kind; write one like sqlite://./data/patchbay.db")
