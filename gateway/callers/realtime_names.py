"""The names that one Realtime client gives to its items.

The model's conversation has other items too, which the client must not see. These it must, whatever they look like.
"""

from __future__ import annotations

from gateway.callers.realtime_order import MAX_ITEMS


class ClientNames:
    """Remembers the latest items that the client wrote itself, as many as their order is kept of."""

    __slots__ = ("_items",)

    def __init__(self) -> None:
        self._items: dict[str, None] = {}

    def wrote(self, item_id: str) -> None:
        """The client is about to create an item of this id."""
        self._items[item_id] = None
        if len(self._items) > MAX_ITEMS:
            del self._items[next(iter(self._items))]

    def has_item(self, item_id: str) -> bool:
        """Whether the client wrote it."""
        return item_id in self._items
