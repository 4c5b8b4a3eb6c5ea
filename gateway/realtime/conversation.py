"""The conversation that a Realtime server keeps: items in order, and some of their sound."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pybase64

from audio.formats import AudioFormat
from sessions.errors import WireError
from sessions.ports import Json, JsonObject

MAX_ITEMS = 2000  # the oldest goes then, as a model's context would let it go
# Of one item, so that a `conversation.item.retrieved` stays below the 1 MiB that some clients take in a frame.
MAX_ITEM_BYTES = 480_000
MAX_KEPT_BYTES = 8 * 1024 * 1024  # of the sound of all items together
MAX_ITEM_CHARS = 32 * 1024 * 1024  # of all items' words and pictures; the oldest go past it


@dataclass(slots=True)
class Entry:
    """An item, how much sound it has had, and that sound while it is kept."""

    item: JsonObject
    chars: int = 0  # of its words and pictures when it was added
    format: AudioFormat | None = None
    samples: int = 0
    kept: bytearray = field(default_factory=bytearray)
    truncated: bool = False


class Conversation:
    """Keeps the items, their order and their sound; refuses what cannot be with the protocol's own errors."""

    def __init__(self, conversation_id: str) -> None:
        self.id = conversation_id
        self._entries: dict[str, Entry] = {}
        self._order: list[str] = []
        self._kept_bytes = 0
        self._chars = 0

    def __contains__(self, item_id: str) -> bool:
        return item_id in self._entries

    def clear(self) -> None:
        """Forget all of it."""
        self._entries.clear()
        self._order.clear()
        self._kept_bytes = self._chars = 0

    @property
    def last_id(self) -> str | None:
        """The item that a new one would follow."""
        return self._order[-1] if self._order else None

    def previous_id(self, item_id: str) -> str | None:
        """The item in front; None for the first."""
        at = self._order.index(item_id)
        return self._order[at - 1] if at else None

    def add(self, item: JsonObject, after: str | None = None) -> str | None:
        """Put an item last, first (`after` "root"), or behind the one named, and return the id of the one in front.

        Raises WireError for an id that is taken, or a place that is not there.
        """
        item_id = str(item["id"])
        if item_id in self._entries:
            raise WireError(
                f"Error adding item: an item with id '{item_id}' exists already.",
                code="item_create_duplicate_item_id",
                param="item.id",
            )
        if after is None:
            at = len(self._order)
        elif after == "root":
            at = 0
        elif after in self._entries:
            at = self._order.index(after) + 1
        else:
            raise WireError(
                f"Error adding item: the previous item with id '{after}' does not exist.", param="previous_item_id"
            )
        self._order.insert(at, item_id)
        self._entries[item_id] = Entry(item, _chars(item))
        self._chars += self._entries[item_id].chars
        previous = self._order[at - 1] if at else None
        while len(self._order) > MAX_ITEMS or (self._chars > MAX_ITEM_CHARS and len(self._order) > 1):
            self._forget(self._order[0] if self._order[0] != item_id else self._order[1])
        return previous

    def item(self, item_id: str) -> JsonObject:
        """An item that is there, without its sound."""
        return self._entries[item_id].item

    def update(self, item: JsonObject) -> None:
        """An item in its new state, unless it was deleted meanwhile, or truncated: then its words stay cut."""
        entry = self._entries.get(str(item["id"]))
        if entry is None:
            return
        if entry.truncated:
            item = {**item, "content": entry.item.get("content", [])}
        entry.item = item

    def set_transcript(self, item_id: str, transcript: str) -> None:
        """What the caller's item says, once it is known."""
        entry = self._entries.get(item_id)
        if entry is not None:
            entry.item = {**entry.item, "content": [{"type": "input_audio", "transcript": transcript}]}

    def add_sound(self, item_id: str, format: AudioFormat, payload: bytes) -> None:
        """A further run of an item's sound. It is counted, and kept while the bounds allow."""
        entry = self._entries.get(item_id)
        if entry is None or entry.truncated:
            return
        already = entry.samples * format.sample_bytes
        entry.format = format
        entry.samples += format.samples_in(len(payload))
        if len(entry.kept) < already or already + len(payload) > MAX_ITEM_BYTES:
            self._drop_sound(entry)  # part of an item's sound is of no use to anyone
            return
        entry.kept += payload
        self._kept_bytes += len(payload)
        for other in self._order:
            if self._kept_bytes <= MAX_KEPT_BYTES:
                break
            if other != item_id:
                self._drop_sound(self._entries[other])

    def retrieved(self, item_id: str) -> JsonObject:
        """An item with its sound, where that is kept. Raises WireError when there is none of this id."""
        entry = self._entry(item_id, "retriev", "item_retrieve_invalid_item_id")
        content = entry.item.get("content")
        if not entry.kept or not isinstance(content, list) or not content:
            return entry.item
        first: dict[str, Json] = dict(content[0])
        first["audio"] = pybase64.b64encode_as_string(bytes(entry.kept))
        return {**entry.item, "content": [first, *content[1:]]}

    def truncate(self, item_id: str, content_index: int, audio_end_ms: int) -> None:
        """Forget what was not heard, and with it all words of the item. Raises WireError where it cannot be."""
        entry = self._entry(item_id, "truncat", "item_truncate_invalid_item_id")
        content = entry.item.get("content")
        if entry.item["type"] != "message" or entry.item["role"] != "assistant" or not isinstance(content, list):
            raise WireError("Only model output audio messages can be truncated.", code="invalid_value", param="item_id")
        if content_index != 0:
            raise WireError(
                f"Audio content at index {content_index} does not exist.", code="invalid_value", param="content_index"
            )
        had_ms = entry.format.ms_of(entry.samples) if entry.format is not None else 0
        if audio_end_ms > had_ms:
            raise WireError(
                f"Audio content of {had_ms}ms is already shorter than {audio_end_ms}ms", param="audio_end_ms"
            )
        entry.truncated = True
        entry.item = {**entry.item, "content": [{"type": "output_audio", "transcript": ""}]}
        if entry.format is not None:
            entry.samples = min(entry.samples, audio_end_ms * entry.format.rate_hz // 1000)
            if entry.kept:
                self._kept_bytes -= len(entry.kept)
                del entry.kept[entry.samples * entry.format.sample_bytes :]
                self._kept_bytes += len(entry.kept)

    def delete(self, item_id: str) -> None:
        """Remove an item. Raises WireError when there is none of this id."""
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
        self._drop_sound(entry)
        self._order.remove(item_id)

    def _drop_sound(self, entry: Entry) -> None:
        self._kept_bytes -= len(entry.kept)
        entry.kept = bytearray()


def _chars(value: Json) -> int:
    """The characters of all strings in it."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, Mapping):
        return sum(_chars(inner) for inner in value.values())
    return sum(_chars(inner) for inner in value) if isinstance(value, list) else 0
