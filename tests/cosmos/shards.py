"""Physical partitions: the items of one run of the key space, and what a replica that lags shows of them.

A shard counts its transactions: each gets the next log sequence number (LSN), and a session token names the LSN that
its bearer has seen. All writes go to the leader. While a follower lags it stands still at the LSN at which it was made:
it shows every item as it was then. It is asked only by reads that bring no newer token, as under the service's session
consistency; everyone else is answered by the leader.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cosmos.epk import Key, KeyRange


@dataclass(frozen=True, slots=True)
class Stored:
    """One version of an item."""

    key: Key
    epk: str
    number: int  # in the order of creation
    body: dict[str, Any]  # with the properties that the service adds
    size_bytes: int
    lsn: int
    etag: str
    expires_s: float | None  # by the server's clock
    rewritten: bool  # not the item's first version

    @property
    def id(self) -> str:
        """The item's id."""
        return str(self.body["id"])


class Shard:
    """One physical partition: its leader, and the follower while it lags."""

    def __init__(self, number: int, bounds: KeyRange) -> None:
        self.id = str(number)
        self.bounds = bounds
        self.lsn = 0
        self.follower: Follower | None = None
        self.tombstones: list[tuple[int, dict[str, Any]]] = []  # for the promise `feed_deletions`, broken
        self._items: dict[Key, dict[str, Stored]] = {}

    def get(self, key: Key, item_id: str) -> Stored | None:
        """The newest version of an item."""
        return self._items.get(key, {}).get(item_id)

    def of_key(self, key: Key) -> list[Stored]:
        """The items of one logical partition."""
        return list(self._items.get(key, {}).values())

    def all(self) -> Iterator[Stored]:
        """All items."""
        for items in self._items.values():
            yield from items.values()

    def put(self, key: Key, stored: Stored) -> None:
        """Write a version."""
        self._remember(key, stored.id)
        self._items.setdefault(key, {})[stored.id] = stored

    def remove(self, key: Key, item_id: str) -> None:
        """Delete an item that is there."""
        self._remember(key, item_id)
        items = self._items[key]
        del items[item_id]
        if not items:
            del self._items[key]

    def restore(self, key: Key, item_id: str, before: Stored | None) -> None:
        """Undo a write: what was there is there again."""
        if before is not None:
            self._items.setdefault(key, {})[item_id] = before
        elif self.get(key, item_id) is not None:
            self.remove(key, item_id)

    def lag(self) -> None:
        """Let the follower stand still from now on."""
        if self.follower is None:
            self.follower = Follower(self)

    def catch_up(self) -> None:
        """The follower has all that the leader has."""
        self.follower = None

    def replica(self, token_lsn: int, lags: bool) -> Shard | Follower:
        """Who answers a read whose session token is at `token_lsn`; `lags`: it goes to the follower, if it may."""
        if lags and self.follower is not None and token_lsn <= self.follower.lsn:
            return self.follower
        return self

    def _remember(self, key: Key, item_id: str) -> None:
        if self.follower is not None:
            self.follower.remember(key, item_id, self.get(key, item_id))


class Follower:
    """A replica that stands still."""

    def __init__(self, leader: Shard) -> None:
        self.lsn = leader.lsn
        self.tombstones = list(leader.tombstones)
        self._leader = leader
        self._before: dict[tuple[Key, str], Stored | None] = {}  # what the leader has changed since

    def remember(self, key: Key, item_id: str, before: Stored | None) -> None:
        """Keep what an item was before the leader changed it first."""
        self._before.setdefault((key, item_id), before)

    def get(self, key: Key, item_id: str) -> Stored | None:
        """The item as it was."""
        place = (key, item_id)
        return self._before[place] if place in self._before else self._leader.get(key, item_id)

    def of_key(self, key: Key) -> list[Stored]:
        """The items of one logical partition, as they were."""
        return [stored for place, stored in self._placed() if place[0] == key]

    def all(self) -> Iterator[Stored]:
        """All items as they were."""
        for _, stored in self._placed():
            yield stored

    def _placed(self) -> Iterator[tuple[tuple[Key, str], Stored]]:
        for stored in self._leader.all():
            place = (stored.key, stored.id)
            if place not in self._before:
                yield place, stored
        for place, before in self._before.items():
            if before is not None:
                yield place, before


Replica = Shard | Follower
