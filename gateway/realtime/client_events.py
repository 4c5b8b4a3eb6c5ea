"""The client's eleven events, each read whole and checked: message text in, one frozen event out.

Appended sound has its own quick way in (`gateway/realtime/scan.py`); what that does not fit comes here too.
Source: OpenAI Realtime API reference, client events.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from audio.formats import AudioFormat
from gateway.realtime import fields
from gateway.realtime.items import check_item
from gateway.realtime.reading import check_depth, check_keys, check_size, read_object
from gateway.realtime.scan import decode_audio
from sessions.errors import WireError
from sessions.ports import JsonObject

MAX_APPEND_BYTES = 15 * 1024 * 1024  # of base64, in one event


@dataclass(frozen=True, slots=True)
class SessionUpdate:
    """Change the session: the fields that are present."""

    event_id: str | None
    parsed: JsonObject
    session: JsonObject


@dataclass(frozen=True, slots=True)
class AudioAppend:
    """Sound for the input buffer, decoded, in the session's input format."""

    event_id: str | None
    parsed: JsonObject
    payload: bytes


@dataclass(frozen=True, slots=True)
class AudioCommit:
    """The buffered sound is a user's item now."""

    event_id: str | None
    parsed: JsonObject


@dataclass(frozen=True, slots=True)
class AudioClear:
    """Forget the buffered sound."""

    event_id: str | None
    parsed: JsonObject


@dataclass(frozen=True, slots=True)
class OutputAudioClear:
    """WebRTC and SIP only: stop what the server plays."""

    event_id: str | None
    parsed: JsonObject


@dataclass(frozen=True, slots=True)
class ItemCreate:
    """Put an item into the conversation: after the one named, first when that is `root`, last when it is None."""

    event_id: str | None
    parsed: JsonObject
    item: JsonObject
    previous_item_id: str | None


@dataclass(frozen=True, slots=True)
class ItemRetrieve:
    """Show an item as the server has it, with its sound."""

    event_id: str | None
    parsed: JsonObject
    item_id: str


@dataclass(frozen=True, slots=True)
class ItemTruncate:
    """The caller heard only so much of the agent's item."""

    event_id: str | None
    parsed: JsonObject
    item_id: str
    content_index: int
    audio_end_ms: int


@dataclass(frozen=True, slots=True)
class ItemDelete:
    """Remove an item from the conversation."""

    event_id: str | None
    parsed: JsonObject
    item_id: str


@dataclass(frozen=True, slots=True)
class ResponseCreate:
    """Answer now. `response` is the client's wish, unchecked: `owners.filtered_response` reads it."""

    event_id: str | None
    parsed: JsonObject
    response: JsonObject


@dataclass(frozen=True, slots=True)
class ResponseCancel:
    """Stop a response: the one named, or the one that speaks."""

    event_id: str | None
    parsed: JsonObject
    response_id: str | None


@dataclass(frozen=True, slots=True)
class UnknownClientEvent:
    """A well-formed event of a type that is not the protocol's."""

    event_id: str | None
    parsed: JsonObject
    type: str


ClientEvent: TypeAlias = (
    SessionUpdate
    | AudioAppend
    | AudioCommit
    | AudioClear
    | OutputAudioClear
    | ItemCreate
    | ItemRetrieve
    | ItemTruncate
    | ItemDelete
    | ResponseCreate
    | ResponseCancel
    | UnknownClientEvent
)


def read_client_event(text: bytes, format: AudioFormat) -> ClientEvent:
    """Read one message; `format` is the session's input format, whose samples appended sound must consist of.

    Raises WireError with the protocol's code, the path of the field, and the message's own `event_id` where it has one.
    """
    check_size(text)
    parsed = read_object(text)
    event_id = parsed.get("event_id")
    named = event_id if type(event_id) is str and len(event_id) <= fields.MAX_ID_CHARS else None
    try:
        if event_id is not None:
            fields.name(event_id, "event_id")
        kind = parsed.get("type")
        if type(kind) is not str:
            raise WireError("The event has no 'type', or one that is not a string.", code="invalid_event", param="type")
        check_depth(parsed, text)
        check_keys(text)
        reader = READERS.get(kind)
        return UnknownClientEvent(named, parsed, kind) if reader is None else reader(named, parsed, format)
    except WireError as error:
        error.event_id = named
        raise


def _session_update(event_id: str | None, parsed: JsonObject, format: AudioFormat) -> ClientEvent:
    return SessionUpdate(event_id, parsed, fields.json_object(fields.required(parsed, "session", ""), "session"))


def _append(event_id: str | None, parsed: JsonObject, format: AudioFormat) -> ClientEvent:
    audio = fields.text(fields.required(parsed, "audio", ""), "audio", fields.MAX_ENCODED_CHARS)
    return AudioAppend(event_id, parsed, decode_append(audio, format))


def decode_append(audio: bytes | str, format: AudioFormat) -> bytes:
    """The sound of one append. Raises WireError for too much of it, bad base64, or half a sample."""
    if len(audio) > MAX_APPEND_BYTES:
        raise WireError("Invalid 'audio': more than 15 MiB in one event.", param="audio")
    return decode_audio(audio, format)


def _commit(event_id: str | None, parsed: JsonObject, format: AudioFormat) -> ClientEvent:
    return AudioCommit(event_id, parsed)


def _clear(event_id: str | None, parsed: JsonObject, format: AudioFormat) -> ClientEvent:
    return AudioClear(event_id, parsed)


def _output_clear(event_id: str | None, parsed: JsonObject, format: AudioFormat) -> ClientEvent:
    return OutputAudioClear(event_id, parsed)


def _item_create(event_id: str | None, parsed: JsonObject, format: AudioFormat) -> ClientEvent:
    item = fields.json_object(fields.required(parsed, "item", ""), "item")
    check_item(item, "item", format)
    return ItemCreate(event_id, parsed, item, _optional_name(parsed, "previous_item_id"))


def _item_retrieve(event_id: str | None, parsed: JsonObject, format: AudioFormat) -> ClientEvent:
    return ItemRetrieve(event_id, parsed, fields.name(fields.required(parsed, "item_id", ""), "item_id"))


def _item_truncate(event_id: str | None, parsed: JsonObject, format: AudioFormat) -> ClientEvent:
    item_id = fields.name(fields.required(parsed, "item_id", ""), "item_id")
    content_index = fields.whole(fields.required(parsed, "content_index", ""), "content_index", 0, 1000)
    end_ms = fields.whole(fields.required(parsed, "audio_end_ms", ""), "audio_end_ms", 0, 2**53)
    return ItemTruncate(event_id, parsed, item_id, content_index, end_ms)


def _item_delete(event_id: str | None, parsed: JsonObject, format: AudioFormat) -> ClientEvent:
    return ItemDelete(event_id, parsed, fields.name(fields.required(parsed, "item_id", ""), "item_id"))


def _response_create(event_id: str | None, parsed: JsonObject, format: AudioFormat) -> ClientEvent:
    response = parsed.get("response")
    return ResponseCreate(event_id, parsed, {} if response is None else fields.json_object(response, "response"))


def _response_cancel(event_id: str | None, parsed: JsonObject, format: AudioFormat) -> ClientEvent:
    return ResponseCancel(event_id, parsed, _optional_name(parsed, "response_id"))


def _optional_name(parsed: JsonObject, key: str) -> str | None:
    return None if parsed.get(key) is None else fields.name(parsed[key], key)


READERS: dict[str, Callable[[str | None, JsonObject, AudioFormat], ClientEvent]] = {
    "session.update": _session_update,
    "input_audio_buffer.append": _append,
    "input_audio_buffer.commit": _commit,
    "input_audio_buffer.clear": _clear,
    "output_audio_buffer.clear": _output_clear,
    "conversation.item.create": _item_create,
    "conversation.item.retrieve": _item_retrieve,
    "conversation.item.truncate": _item_truncate,
    "conversation.item.delete": _item_delete,
    "response.create": _response_create,
    "response.cancel": _response_cancel,
}
