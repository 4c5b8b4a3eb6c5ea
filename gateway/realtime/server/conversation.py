"""The conversation of a Realtime server: its items in order, and some of their sound."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pybase64

from gateway.realtime.server.item_audio import ItemAudio
from gateway.realtime.server.item_list import ItemList
from sessions.errors import WireError
from sessions.ports import Json, JsonObject

MAX_ITEMS = 2000  # past this the oldest item is dropped, as it would drop out of a model's context
MAX_ITEM_CHARS = 32 * 1024 * 1024  # of all items' words and pictures; past this the oldest items are dropped
SOUND_PARTS = ("input_audio", "output_audio")


@dataclass(slots=True)
class Entry:
    """An item without its sound."""

    item: JsonObject
    chars: int  # the characters of its words and pictures when it was added
    truncated: bool = False


class Conversation:
    """Keeps the items in order, and refuses impossible requests with the protocol's errors.

    `sound` holds the items' sound; it must be added there.
    """

    def __init__(self, conversation_id: str) -> None:
        self.id = conversation_id
        self._entries: dict[str, Entry] = {}
        self._order = ItemList()
        self._chars = 0
        self.sound = ItemAudio()

    def __contains__(self, item_id: str) -> bool:
        return item_id in self._entries

    def clear(self) -> None:
        """Remove all items."""
        self._entries.clear()
        self._order.clear()
        self._chars = 0
        self.sound.clear()

    @property
    def last_id(self) -> str | None:
        """The last item, which a new one would follow."""
        return self._order.last

    def previous_id(self, item_id: str) -> str | None:
        """The item before this one; None for the first."""
        return self._order.before(item_id)

    def add(self, item: JsonObject, after: str | None = None) -> str | None:
        """Add an item last, first (`after` "root"), or after the one named, and return the id of the item before it.

        Raises WireError for an id that is in use, or an unknown `after`.
        """
        item_id = str(item["id"])
        if item_id in self._entries:
            raise WireError(
                f"Error adding item: an item with id '{item_id}' exists already.",
                code="item_create_duplicate_item_id",
                param="item.id",
            )
        if after is None:
            previous = self._order.last
        elif after == "root":
            previous = None
        elif after in self._entries:
            previous = after
        else:
            raise WireError(
                f"Error adding item: the previous item with id '{after}' does not exist.", param="previous_item_id"
            )
        self._order.insert(item_id, previous)
        self._entries[item_id] = Entry(item, _chars(item))
        self._chars += self._entries[item_id].chars
        self.sound.open(item_id)
        while len(self._order) > MAX_ITEMS or (self._chars > MAX_ITEM_CHARS and len(self._order) > 1):
            oldest = self._order.first
            if oldest == item_id:
                oldest = self._order.after(item_id)
            assert oldest is not None
            self._forget(oldest)
        return previous

    def update(self, item: JsonObject) -> JsonObject | None:
        """Replace an item's state, and return the result: a truncated item stays without words.

        Returns None for an item that is not here, because the client may have deleted it.
        """
        entry = self._entries.get(str(item["id"]))
        if entry is None:
            return None
        if entry.truncated:
            item = {**item, "content": entry.item.get("content", [])}
        entry.item = item
        return item

    def set_transcript(self, item_id: str, transcript: str) -> None:
        """Set the transcript of a caller's item; of several sounds, the first without one gets it."""
        entry = self._entries.get(item_id)
        if entry is None:
            return
        places = sound_parts(entry.item)
        open_places = [place for place, part in places.items() if part.get("transcript") is None]
        for place in [*open_places, *places][:1]:
            entry.item = _with_part(entry.item, place, {**places[place], "transcript": transcript})

    def retrieved(self, item_id: str) -> JsonObject:
        """An item with its sound, where that is kept. Raises WireError for an unknown id."""
        entry = self._entry(item_id, "retriev", "item_retrieve_invalid_item_id")
        parts, kept = sound_parts(entry.item), self.sound.kept(item_id)
        if not parts or not kept:
            return entry.item
        place = min(parts)
        return _with_part(entry.item, place, {**parts[place], "audio": pybase64.b64encode_as_string(kept)})

    def truncate(self, item_id: str, content_index: int, audio_end_ms: int) -> None:
        """Drop an item's sound after `audio_end_ms`, and all its words. Raises WireError where that is impossible."""
        entry = self._entry(item_id, "truncat", "item_truncate_invalid_item_id")
        content = entry.item.get("content")
        if entry.item["type"] != "message" or entry.item["role"] != "assistant" or not isinstance(content, list):
            raise WireError("Only model output audio messages can be truncated.", code="invalid_value", param="item_id")
        if content_index != 0:
            raise WireError(
                f"Audio content at index {content_index} does not exist.", code="invalid_value", param="content_index"
            )
        had_ms = self.sound.length_ms(item_id)
        if audio_end_ms > had_ms:
            raise WireError(
                f"Audio content of {had_ms}ms is already shorter than {audio_end_ms}ms", param="audio_end_ms"
            )
        entry.truncated = True
        entry.item = {**entry.item, "content": [{"type": "output_audio", "transcript": ""}]}
        self.sound.cut(item_id, audio_end_ms)

    def delete(self, item_id: str) -> None:
        """Remove an item. Raises WireError for an unknown id."""
        self._entry(item_id, "delet", "item_delete_invalid_item_id")
        self._forget(item_id)

    def _entry(self, item_id: str, doing: str, code: str) -> Entry:
        entry = self._entries.get(item_id)
        if entry is None:
            raise WireError(
                f"Error {doing}ing item: the item with id '{item_id}' does not exist.", code=code, param="item_id"
            )
        return entry

    def _forget(self, item_id: str) -> None:
        entry = self._entries.pop(item_id)
        self._chars -= entry.chars
        self.sound.forget(item_id)
        self._order.remove(item_id)


def sound_parts(item: JsonObject) -> dict[int, JsonObject]:
    """An item's content parts with sound, by their index."""
    content = item.get("content")
    parts = enumerate(content if isinstance(content, list) else ())
    return {at: part for at, part in parts if isinstance(part, Mapping) and part.get("type") in SOUND_PARTS}


def _with_part(item: JsonObject, place: int, part: JsonObject) -> JsonObject:
    content = item["content"]
    assert isinstance(content, list)
    return {**item, "content": [*content[:place], part, *content[place + 1 :]]}


def _chars(value: Json) -> int:
    """The number of characters in all strings of a value."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, Mapping):
        return sum(_chars(inner) for inner in value.values())
    return sum(_chars(inner) for inner in value) if isinstance(value, list) else 0
