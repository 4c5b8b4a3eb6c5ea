"""The order of a conversation's items as one Realtime client has it.

The model has items that the client must not see, and the client has items that are kept from the model. So each item's
`previous_item_id` is found here. LiveKit and others order items by it, and read null as the beginning.
"""

from __future__ import annotations

from gateway.realtime.server.item_list import ItemList
from sessions.ports import JsonObject

# Past this number the oldest items are forgotten; an item behind a forgotten one is put at the end.
MAX_ITEMS = 4000


class ItemOrder:
    """Keeps all items in order; the client sees those that are not in `hidden`, a set that others fill."""

    def __init__(self) -> None:
        self.hidden: set[str] = set()  # an item may be in it before it is added
        self._items = ItemList()
        self._kept: set[str] = set()  # items that the model does not have
        self._told: dict[str, str | None] = {}  # item -> the item in front of it, as the client was told
        self._wanted: dict[str, str] = {}  # item -> the item behind which the client wants it
        self._earlier: set[str] = set()  # items of earlier legs, which the present one may not have

    def knows(self, item_id: str) -> bool:
        """Whether there is an item of this id, hidden or not."""
        return item_id in self._items

    def wanted(self, item_id: str, previous: str | None) -> str | None:
        """The client adds an item behind `previous` ("root": first). Returns the `previous_item_id` for the model."""
        if previous is not None:
            self._wanted[item_id] = previous
        if previous is None or previous not in self._kept:
            return previous
        return self._nearest(self._items.before(previous), self._kept) or "root"

    def leg_replaced(self) -> None:
        """The model's leg has been replaced: the items that it adds come after all others."""
        self._earlier = set(self._items)

    def add(self, item_id: str, previous: str | None) -> str | None:
        """Add an item that the model has behind `previous`. Returns the item behind which the client sees it."""
        if item_id not in self._items:
            wanted = self._wanted.pop(item_id, None)
            self._insert(self._place(previous) if wanted is None else self._behind(wanted), item_id)
        told = self._told[item_id] = self._seen_before(item_id)
        return told

    def keep(self, item_id: str, previous: str | None) -> str | None:
        """Add an item that only the client has, behind `previous` ("root": first, None: last), as `add` does."""
        if item_id not in self._items:
            self._insert(self._behind(previous), item_id)
        self._kept.add(item_id)
        return self._seen_before(item_id)

    def place_for(self, previous: str | None) -> str | None:
        """The item behind which the client will see an item that is not added yet."""
        return self._nearest(self._place(previous), self.hidden)

    def done(self, item_id: str, previous: str | None) -> str | None:
        """An item is complete. Returns the item behind which it was added."""
        return self._told.pop(item_id) if item_id in self._told else self.place_for(previous)

    def remove(self, item_id: str) -> None:
        """An item was deleted."""
        if item_id in self._items:
            self._remove(item_id)
        else:
            self._told.pop(item_id, None)

    def _remove(self, item_id: str) -> None:
        self._items.remove(item_id)
        self._kept.discard(item_id)
        self._told.pop(item_id, None)

    def _insert(self, behind: str | None, item_id: str) -> None:
        self._items.insert(item_id, behind)
        if len(self._items) > MAX_ITEMS:
            oldest = self._items.first
            if oldest == item_id:
                oldest = self._items.after(item_id)
            assert oldest is not None
            self._remove(oldest)

    def _behind(self, previous: str | None) -> str | None:
        if previous == "root":
            return None
        return previous if previous is not None and previous in self._items else self._items.last

    def _place(self, previous: str | None) -> str | None:
        """Where the model's next item behind `previous` goes: behind items there that the model does not have, too."""
        if previous is None or previous not in self._items:
            return self._items.last
        unknown = self._kept | self._earlier if previous in self._earlier else self._kept
        follower = self._items.after(previous)
        while follower is not None and follower in unknown:
            previous, follower = follower, self._items.after(follower)
        return previous

    def _seen_before(self, item_id: str) -> str | None:
        """The nearest item before this one that the client sees; None if there is none."""
        return self._nearest(self._items.before(item_id), self.hidden)

    def _nearest(self, item_id: str | None, without: set[str]) -> str | None:
        """This item, or the nearest before it that is not in `without`; None if there is none."""
        while item_id is not None and item_id in without:
            item_id = self._items.before(item_id)
        return item_id


def previous_id(event: JsonObject) -> str | None:
    """The item that one of the model's events names as the previous one; None if there is none."""
    previous = event.get("previous_item_id")
    return previous if isinstance(previous, str) else None
