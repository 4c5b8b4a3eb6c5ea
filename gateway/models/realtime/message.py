"""One message of a model while it is read: its fields, the corrections to them, and its bytes.

The beta names of events are replaced by the names of the GA protocol. Source: OpenAI Realtime API reference (GA), and
the event names of its beta.
"""

from __future__ import annotations

import orjson

from gateway.realtime.dialect import DIALECT
from gateway.realtime.reading import check_depth, check_size, read_object
from sessions.errors import WireError
from sessions.ports import Json, JsonObject
from sessions.values import Wire

# A shorter message cannot have so many parts that parsing it takes long.
LARGE_BYTES = 64 * 1024
BETA_NAMES = {
    "response.text.delta": "response.output_text.delta",
    "response.text.done": "response.output_text.done",
    "response.audio.delta": "response.output_audio.delta",
    "response.audio.done": "response.output_audio.done",
    "response.audio_transcript.delta": "response.output_audio_transcript.delta",
    "response.audio_transcript.done": "response.output_audio_transcript.done",
    "conversation.item.created": "conversation.item.added",
}


class ModelMessage:
    """A parsed message whose fields can be corrected; a corrected message is written anew, once."""

    __slots__ = ("_corrected", "came", "fields", "kind")

    came: bytes  # as the model sent it
    fields: JsonObject
    kind: str  # the event's type, in the GA protocol's name

    def __init__(self, came: bytes) -> None:
        """Parse a message. Raises WireError if it is no object, has no type, or is too large or too deep."""
        if len(came) > LARGE_BYTES:
            check_size(came)
        fields = read_object(came)
        check_depth(fields, came)
        kind = text_of(fields, "type")
        self.came = came
        self.fields = fields
        self.kind = kind
        self._corrected = False
        if kind in BETA_NAMES:
            self.kind = BETA_NAMES[kind]
            self.correct("type", self.kind)

    def correct(self, key: str, value: Json) -> None:
        """Give a field another value, for the call and for the client."""
        self.fields = {**self.fields, key: value}
        self._corrected = True

    def text(self) -> bytes:
        """The message's bytes: those that came unless a field was corrected."""
        return orjson.dumps(self.fields) if self._corrected else self.came

    def wire(self) -> Wire:
        """The message as an event keeps it."""
        return Wire(DIALECT, self.text(), self.fields)


def text_of(holder: JsonObject, key: str) -> str:
    """The string at `key`. Raises WireError if there is none."""
    value = holder.get(key)
    if not isinstance(value, str):
        raise _lacks(holder, key)
    return value


def object_of(holder: JsonObject, key: str) -> JsonObject:
    """The object at `key`. Raises WireError if there is none."""
    value = holder.get(key)
    if not isinstance(value, dict):
        raise _lacks(holder, key)
    return value


def _lacks(holder: JsonObject, key: str) -> WireError:
    return WireError(f"the model's {str(holder.get('type', 'message'))[:64]} has no {key!r}", param=key)
