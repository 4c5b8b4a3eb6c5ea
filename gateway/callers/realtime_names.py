"""The names that one Realtime client gives: to its items, and to its messages.

The gateway names things towards the model too, and the client must not see what they name. What the client itself named
it must see, whatever the name looks like: the client may be a gateway of this kind.
"""

from __future__ import annotations

from gateway.callers.realtime_order import MAX_ITEMS
from sessions.ports import Ids, JsonObject

OWN_PREFIX = "pb_"  # of what the gateway names towards the model: items, and messages
MAX_MESSAGES = 256  # renamed; the model has answered the oldest by then


class ClientNames:
    """Remembers the latest items that the client wrote itself, as many as their order is kept of.

    Its messages go to the model under another name where theirs could be one of ours: errors about those stay here.
    """

    __slots__ = ("_ids", "_items", "_messages")

    def __init__(self, ids: Ids) -> None:
        self._ids = ids
        self._items: dict[str, None] = {}
        self._messages: dict[str, str] = {}  # what the client calls them, by what the model does

    def wrote(self, item_id: str) -> None:
        """The client is about to create an item of this id."""
        self._items[item_id] = None
        if len(self._items) > MAX_ITEMS:
            del self._items[next(iter(self._items))]

    def has_item(self, item_id: str) -> bool:
        """Whether the client wrote it."""
        return item_id in self._items

    def towards_model(self, message: JsonObject) -> JsonObject:
        """A message of the client's as the model gets it: the same, but for a name that could be one of ours."""
        event_id = message.get("event_id")
        if not isinstance(event_id, str) or not event_id.startswith(OWN_PREFIX):
            return message
        name = self._ids.new("client")
        self._messages[name] = event_id
        if len(self._messages) > MAX_MESSAGES:
            del self._messages[next(iter(self._messages))]
        return {**message, "event_id": name}

    def towards_client(self, answer: JsonObject) -> JsonObject:
        """An `error` of the model's as the client gets it: about the message as the client named it, if it did."""
        error = answer.get("error")
        event_id = error.get("event_id") if isinstance(error, dict) else None
        if not isinstance(error, dict) or not isinstance(event_id, str):
            return answer
        if event_id not in self._messages and not event_id.startswith(OWN_PREFIX):
            return answer
        return {**answer, "error": {**error, "event_id": self._messages.get(event_id)}}
