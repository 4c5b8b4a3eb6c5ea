"""Items that one Realtime client has and the model does not, at least not as the client has them.

A system message that the model must not be told of is one, the `mcp_call` that stands for a function call another.
The model cannot answer for them as they are here, so a `retrieve` of one is answered here. So is a `delete`, unless the
model has the item too, in another shape.
"""

from __future__ import annotations

from gateway.callers.realtime_order import ItemOrder
from gateway.realtime import server_events
from sessions.errors import WireError
from sessions.ports import Ids, JsonObject

MAX_KEPT_BYTES = 1024 * 1024  # of items that are kept from the model, in one call


class KeptItems:
    """Answers for the items that only the gateway can answer for."""

    __slots__ = ("_ids", "_items", "_kept_bytes", "_models", "_order")

    def __init__(self, ids: Ids, order: ItemOrder) -> None:
        self._ids = ids
        self._order = order
        self._items: dict[str, JsonObject] = {}
        self._models: set[str] = set()  # those among them that the model has in its own shape
        self._kept_bytes = 0

    def create(self, item: JsonObject, previous_item_id: str | None, message_bytes: int) -> tuple[bytes, ...]:
        """Keep a client's item from the model, and show it as if the conversation held it, in a message or two.

        `message_bytes`: the length of the message that brought it. Raises WireError for an id that is taken, and for
        one item too many.
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
        """The client has an item of the model's in this shape, which the model does not know."""
        self._items[str(item["id"])] = item
        self._models.add(str(item["id"]))

    def change(self, item: JsonObject) -> None:
        """Such an item has gone on, unless the client has deleted it."""
        if item["id"] in self._items:
            self._items[str(item["id"])] = item

    def retrieve(self, item_id: str) -> bytes | None:
        """The answer to a `retrieve` of an item that only the gateway knows; None for the model's own."""
        item = self._items.get(item_id)
        return None if item is None else server_events.item_retrieved(self._ids.new("event"), item)

    def delete(self, item_id: str) -> bytes | None:
        """The answer to a `delete` of an item that only the gateway has; None where the model is to delete it."""
        if self._items.pop(item_id, None) is None:
            return None
        if item_id in self._models:
            self._models.discard(item_id)
            return None
        self._order.remove(item_id)
        return server_events.item_deleted(self._ids.new("event"), item_id)
