"""The ids that one Realtime client gives to its items and messages.

Items and messages that the gateway itself sends to the model have ids too, and are hidden from the client. An item that
the client has named is never hidden, even if its id looks like the gateway's: the client may be such a gateway.
"""

from __future__ import annotations

from gateway.callers.realtime.item_order import MAX_ITEMS
from sessions.ports import OWN_PREFIX, Ids, JsonObject

MAX_MESSAGES = 256  # renamed messages; the model has answered older ones by then


class ClientIds:
    """Remembers the ids that the client gives, and renames messages whose ids could be the gateway's."""

    __slots__ = ("_ids", "_items", "_messages")

    def __init__(self, ids: Ids) -> None:
        self._ids = ids
        self._items: dict[str, None] = {}
        self._messages: dict[str, str] = {}  # new id -> the client's own

    def wrote(self, item_id: str) -> None:
        """The client is about to create an item of this id."""
        self._items[item_id] = None
        if len(self._items) > MAX_ITEMS:
            del self._items[next(iter(self._items))]

    def has_item(self, item_id: str) -> bool:
        """Whether the client created this item."""
        return item_id in self._items

    def towards_model(self, message: JsonObject) -> JsonObject:
        """The client's message for the model: with a new id, if its own could be one of the gateway's."""
        event_id = message.get("event_id")
        if not isinstance(event_id, str) or not event_id.startswith(OWN_PREFIX):
            return message
        name = self._ids.new("client")
        self._messages[name] = event_id
        if len(self._messages) > MAX_MESSAGES:
            del self._messages[next(iter(self._messages))]
        return {**message, "event_id": name}

    def towards_client(self, answer: JsonObject) -> JsonObject:
        """The model's `error` for the client: with the client's own id of the message, if it gave one."""
        error = answer.get("error")
        event_id = error.get("event_id") if isinstance(error, dict) else None
        if not isinstance(error, dict) or not isinstance(event_id, str):
            return answer
        if event_id not in self._messages and not event_id.startswith(OWN_PREFIX):
            return answer
        return {**answer, "error": {**error, "event_id": self._messages.get(event_id)}}
