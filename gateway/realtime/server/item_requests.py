"""Carries out a client's `conversation.item.*` events in a Realtime server, and answers them.

Source: OpenAI Realtime API reference, `conversation.item.*` client events.
"""

from __future__ import annotations

from audio.formats import AudioFormat
from gateway.realtime import fields, server_events
from gateway.realtime.client_events import ItemCreate, ItemTruncate
from gateway.realtime.items import check_item, shown
from gateway.realtime.scan import decode_audio
from gateway.realtime.server.conversation import Conversation, sound_parts
from gateway.realtime.server.event_sender import EventSender
from sessions.ports import JsonObject


class ItemRequests:
    """Creates, shows, truncates and deletes items. Each method raises WireError for a request that cannot be met."""

    def __init__(self, out: EventSender, conversation: Conversation) -> None:
        self._out = out
        self._conversation = conversation

    def create(self, event: ItemCreate, format: AudioFormat) -> JsonObject:
        """Add the client's item, and return it with its id and its sound. `format` is the format of that sound."""
        item_id = str(event.item.get("id") or self._out.new_id("item"))
        item: JsonObject = {**event.item, "id": item_id}
        previous = self._conversation.add(shown(item), event.previous_item_id)
        sounds = [part["audio"] for part in sound_parts(item).values() if part.get("type") == "input_audio"]
        if len(sounds) == 1:  # the conversation keeps one sound for each item, and could not separate two
            self._conversation.sound.add(item_id, format, decode_audio(str(sounds[0]), format))
        self._out.send(server_events.item_added, item, previous)
        self._out.send(server_events.item_done, item, previous)
        return item

    def retrieve(self, item_id: str) -> None:
        """Send the item, with its sound where that is kept."""
        self._out.send(server_events.item_retrieved, self._conversation.retrieved(item_id))

    def truncate(self, event: ItemTruncate) -> None:
        """Truncate an agent's item to what the caller heard."""
        self._conversation.truncate(event.item_id, event.content_index, event.audio_end_ms)
        self._out.send(server_events.item_truncated, event.item_id, event.content_index, event.audio_end_ms)

    def delete(self, item_id: str) -> None:
        """Delete an item."""
        self._conversation.delete(item_id)
        self._out.send(server_events.item_deleted, item_id)

    def check_input(self, request: JsonObject, format: AudioFormat) -> None:
        """Check the `input` of a `response.create`: valid items, and references to items of the conversation.

        `format` is the format of sound in the items.
        """
        for index, value in enumerate(fields.array(request.get("input", []), "response.input")):
            path = f"response.input[{index}]"
            entry = fields.json_object(value, path)
            if entry.get("type") != "item_reference":
                check_item(entry, path, format)
                continue
            item_id = fields.name(fields.required(entry, "id", path), f"{path}.id")
            if item_id not in self._conversation:
                raise fields.invalid(f"{path}.id", "there is no item of this id in the conversation")
