"""Decodes the client's eleven events: each message is parsed whole, checked, and converted to one frozen event.

Most appended sound is decoded faster by `gateway/realtime/scan.py`; what that does not accept is decoded here.
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
    """Change the fields of the session that are present."""

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
    """Make a user's item of the buffered sound."""

    event_id: str | None
    parsed: JsonObject


@dataclass(frozen=True, slots=True)
class AudioClear:
    """Drop the buffered sound."""

    event_id: str | None
    parsed: JsonObject


@dataclass(frozen=True, slots=True)
class OutputAudioClear:
    """Stop the server's playback; for WebRTC and SIP only."""

    event_id: str | None
    parsed: JsonObject


@dataclass(frozen=True, slots=True)
class ItemCreate:
    """Add an item to the conversation: after the one named, first (`root`) or last (None)."""

    event_id: str | None
    parsed: JsonObject
    item: JsonObject
    previous_item_id: str | None


@dataclass(frozen=True, slots=True)
class ItemRetrieve:
    """Send an item as the server keeps it, with its sound."""

    event_id: str | None
    parsed: JsonObject
    item_id: str


@dataclass(frozen=True, slots=True)
class ItemTruncate:
    """The caller heard only the first `audio_end_ms` of an agent's item."""

    event_id: str | None
    parsed: JsonObject
    item_id: str
    content_index: int
    audio_end_ms: int


@dataclass(frozen=True, slots=True)
class ItemDelete:
    """Delete an item from the conversation."""

    event_id: str | None
    parsed: JsonObject
    item_id: str


@dataclass(frozen=True, slots=True)
class ResponseCreate:
    """Request a response. `response` is unchecked: `owners.filtered_response` checks it."""

    event_id: str | None
    parsed: JsonObject
    response: JsonObject


@dataclass(frozen=True, slots=True)
class ResponseCancel:
    """Cancel a response: the one named, or (None) the conversation's."""

    event_id: str | None
    parsed: JsonObject
    response_id: str | None


@dataclass(frozen=True, slots=True)
class UnknownClientEvent:
    """A well-formed event of a type that the protocol does not have."""

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
    """Decode one message; appended sound must be whole samples of `format`, the session's input format.

    Raises WireError with the protocol's code, the field's path, and the message's `event_id` where it has one.
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
        check_keys(parsed, text)
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
    """The sound of one append. Raises WireError for too much sound, invalid base64, or half a sample."""
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
