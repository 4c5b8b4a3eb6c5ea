"""The order of a conversation's items as one Realtime client has it.

The model knows items that the client must not see, and the client has items that are kept from the model. So an item's
`previous_item_id` is looked up here. LiveKit and others order by it, and take null for the head of the list.
"""

from __future__ import annotations

from gateway.realtime.item_list import ItemList
from sessions.ports import JsonObject

MAX_ITEMS = 4000  # the oldest are forgotten; whoever stands behind one of those then stands at the end


class ItemOrder:
    """All items in order, of which the client sees those that are not in `hidden`, to which others add."""

    def __init__(self) -> None:
        self.hidden: set[str] = set()  # some are in it before they are added
        self._items = ItemList()
        self._kept: set[str] = set()  # unknown to the model
        self._told: dict[str, str | None] = {}  # what an item was said to stand behind when it was added
        self._wanted: dict[str, str] = {}  # where the client wants an item that the model is to add
        self._earlier: set[str] = set()  # items from before the model's present leg, which may not know them all

    def knows(self, item_id: str) -> bool:
        """Whether an item of this id is there, hidden or not."""
        return item_id in self._items

    def wanted(self, item_id: str, previous: str | None) -> str | None:
        """The client is about to create an item behind `previous` ("root": first); what to tell the model of that."""
        if previous is not None:
            self._wanted[item_id] = previous
        if previous is None or previous not in self._kept:
            return previous
        return self._nearest(self._items.before(previous), self._kept) or "root"

    def leg_replaced(self) -> None:
        """The model's leg is a new one: what it adds comes after all that is there."""
        self._earlier = set(self._items)

    def add(self, item_id: str, previous: str | None) -> str | None:
        """An item of the model's, behind `previous` in the model's order; what the client sees it behind."""
        if item_id not in self._items:
            wanted = self._wanted.pop(item_id, None)
            self._insert(self._place(previous) if wanted is None else self._behind(wanted), item_id)
        told = self._told[item_id] = self._seen_before(item_id)
        return told

    def keep(self, item_id: str, previous: str | None) -> str | None:
        """An item that only the client has, behind `previous` ("root": first, None: last); what it stands behind."""
        if item_id not in self._items:
            self._insert(self._behind(previous), item_id)
        self._kept.add(item_id)
        return self._seen_before(item_id)

    def place_for(self, previous: str | None) -> str | None:
        """What the client will see an item behind that is not added yet."""
        return self._nearest(self._place(previous), self.hidden)

    def done(self, item_id: str, previous: str | None) -> str | None:
        """An item is whole: it stands behind what it was added behind."""
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
        """What the model's next item behind `previous` goes behind: also what the model does not know of there."""
        if previous is None or previous not in self._items:
            return self._items.last
        unknown = self._kept | self._earlier if previous in self._earlier else self._kept
        follower = self._items.after(previous)
        while follower is not None and follower in unknown:
            previous, follower = follower, self._items.after(follower)
        return previous

    def _seen_before(self, item_id: str) -> str | None:
        """The nearest item in front of this one that the client sees; None where there is none."""
        return self._nearest(self._items.before(item_id), self.hidden)

    def _nearest(self, item_id: str | None, without: set[str]) -> str | None:
        """This item, or the nearest in front of it that is not one of `without`; None where there is none."""
        while item_id is not None and item_id in without:
            item_id = self._items.before(item_id)
        return item_id


def previous_id(event: JsonObject) -> str | None:
    """The item that one of the model's events about an item names as the one in front; None where there is none."""
    previous = event.get("previous_item_id")
    return previous if isinstance(previous, str) else None
