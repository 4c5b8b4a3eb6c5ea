"""What a client of a Realtime server asks about the conversation's items, done and answered.

Source: OpenAI Realtime API reference, `conversation.item.*` client events.
"""

from __future__ import annotations

from audio.formats import AudioFormat
from gateway.realtime import fields, server_events
from gateway.realtime.client_events import ItemCreate, ItemTruncate
from gateway.realtime.conversation import Conversation, sound_parts
from gateway.realtime.items import check_item, shown
from gateway.realtime.outlet import Outlet
from gateway.realtime.scan import decode_audio
from sessions.ports import JsonObject


class ItemRequests:
    """Follows a client's wishes about items, and tells it so; each raises WireError for what cannot be."""

    def __init__(self, out: Outlet, conversation: Conversation) -> None:
        self._out = out
        self._conversation = conversation

    def create(self, event: ItemCreate, format: AudioFormat) -> JsonObject:
        """Add the client's item, and return it with its id, a client's own sound included; `format` is the sound's."""
        item_id = str(event.item.get("id") or self._out.new_id("item"))
        item: JsonObject = {**event.item, "id": item_id}
        previous = self._conversation.add(shown(item), event.previous_item_id)
        sounds = [part["audio"] for part in sound_parts(item).values() if part.get("type") == "input_audio"]
        if len(sounds) == 1:  # the conversation keeps one run of sound for an item, and could not tell two apart
            self._conversation.sound.add(item_id, format, decode_audio(str(sounds[0]), format))
        self._out.send(server_events.item_added, item, previous)
        self._out.send(server_events.item_done, item, previous)
        return item

    def retrieve(self, item_id: str) -> None:
        """Answer with the item, and its sound where that is kept."""
        self._out.send(server_events.item_retrieved, self._conversation.retrieved(item_id))

    def truncate(self, event: ItemTruncate) -> None:
        """Cut an answer to what was heard of it."""
        self._conversation.truncate(event.item_id, event.content_index, event.audio_end_ms)
        self._out.send(server_events.item_truncated, event.item_id, event.content_index, event.audio_end_ms)

    def delete(self, item_id: str) -> None:
        """Take an item out of the conversation."""
        self._conversation.delete(item_id)
        self._out.send(server_events.item_deleted, item_id)

    def check_input(self, request: JsonObject, format: AudioFormat) -> None:
        """See whether the `input` of a `response.create` is of whole items, and of references to items that are here.

        `format`: in which sound in them comes.
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
