"""Items that one Realtime client has and the model does not have, or has in another shape.

Examples are a system message that is kept from the model, and the `mcp_call` in the place of a function call. The
model cannot answer a `retrieve` of such an item, so the gateway does. It also answers a `delete`, unless the model has
the item too.
"""

from __future__ import annotations

from gateway.callers.realtime.item_order import ItemOrder
from gateway.realtime import server_events
from sessions.errors import WireError
from sessions.ports import Ids, JsonObject

MAX_KEPT_BYTES = 1024 * 1024  # of all items of one call that are kept from the model


class GatewayItems:
    """Keeps such items, and answers the client's requests about them."""

    __slots__ = ("_ids", "_items", "_kept_bytes", "_models", "_order")

    def __init__(self, ids: Ids, order: ItemOrder) -> None:
        self._ids = ids
        self._order = order
        self._items: dict[str, JsonObject] = {}
        self._models: set[str] = set()  # those that the model has too, in another shape
        self._kept_bytes = 0

    def create(self, item: JsonObject, previous_item_id: str | None, message_bytes: int) -> tuple[bytes, ...]:
        """Keep a client's item from the model. Returns the messages that confirm it to the client.

        `message_bytes` is the length of the client's message. Raises WireError for an id that is taken, and when there
        is no room for more items.
        """
        item_id = str(item["id"])
        if self._order.knows(item_id):
            text = f"Error adding item: an item with id '{item_id}' exists already."
            raise WireError(text, code="item_create_duplicate_item_id", param="item.id")
        self._kept_bytes += message_bytes
        if self._kept_bytes > MAX_KEPT_BYTES:
            text = "Error adding item: the conversation holds as many system messages as it can."
            raise WireError(text, code="rate_limit_exceeded", param="item")
        self._items[item_id] = item
        before = self._order.keep(item_id, previous_item_id)
        return (
            server_events.item_added(self._ids.new("event"), item, before),
            server_events.item_done(self._ids.new("event"), item, before),
        )

    def put(self, item: JsonObject) -> None:
        """Show an item of the model's to the client in this shape."""
        self._items[str(item["id"])] = item
        self._models.add(str(item["id"]))

    def change(self, item: JsonObject) -> None:
        """Change such an item, unless the client has deleted it."""
        if item["id"] in self._items:
            self._items[str(item["id"])] = item

    def retrieve(self, item_id: str) -> bytes | None:
        """The answer to a `retrieve` of an item that is kept here; None if the model has to answer."""
        item = self._items.get(item_id)
        return None if item is None else server_events.item_retrieved(self._ids.new("event"), item)

    def delete(self, item_id: str) -> bytes | None:
        """Delete an item. Returns the answer; None if the model has to delete it and to answer."""
        if self._items.pop(item_id, None) is None:
            return None
        if item_id in self._models:
            self._models.discard(item_id)
            return None
        self._order.remove(item_id)
        return server_events.item_deleted(self._ids.new("event"), item_id)
