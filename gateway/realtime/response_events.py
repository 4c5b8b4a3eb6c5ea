"""Builds the server's events about responses, as message bytes, and the response object.

Content parts in events are of type `audio` and `text`; in items they are `output_audio` and `output_text`.
Source: OpenAI Realtime API reference, server events; the shapes that six public clients were seen to require.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pybase64

from audio.formats import AudioFormat
from gateway.realtime.items import shown
from gateway.realtime.server_events import write
from gateway.realtime.wire_formats import write_format
from sessions.ports import Json, JsonObject
from sessions.usage import TokenUsage


@dataclass(frozen=True, slots=True)
class Place:
    """The place of an event: a content part of an item of a response. Events of whole items ignore `content_index`."""

    response_id: str
    item_id: str
    output_index: int
    content_index: int = 0

    def of_part(self) -> dict[str, Json]:
        """The four fields of all events about a content part."""
        return {
            "response_id": self.response_id,
            "item_id": self.item_id,
            "output_index": self.output_index,
            "content_index": self.content_index,
        }

    def of_item(self) -> dict[str, Json]:
        """The three fields of all events about an item."""
        return {"response_id": self.response_id, "item_id": self.item_id, "output_index": self.output_index}


# ---- the response


def response_object(
    response_id: str,
    *,
    status: str,
    conversation_id: str | None,
    text_only: bool,
    format: AudioFormat,
    voice: Json,
    max_output_tokens: Json,
    metadata: JsonObject | None,
    output: Sequence[JsonObject] = (),
    details: JsonObject | None = None,
    usage: JsonObject | None = None,
) -> JsonObject:
    """The response object in events. `status`: in_progress, completed, cancelled, failed, incomplete.

    `conversation_id` is None out of band. `details` are made by `status_details`. A customer's own voice is shown by
    its id: some clients drop a `response.done` whose voice is not a string, and then wait for ever.
    """
    shown_voice = voice.get("id") if isinstance(voice, Mapping) else voice
    return {
        "object": "realtime.response",
        "id": response_id,
        "status": status,
        "status_details": details,
        "output": [shown(item) for item in output],
        "conversation_id": conversation_id,
        "output_modalities": ["text"] if text_only else ["audio"],
        "max_output_tokens": max_output_tokens,
        "audio": {"output": {"format": write_format(format), "voice": shown_voice}},
        "metadata": metadata,
        "usage": usage,
    }


def status_details(status: str, reason: str | None = None, error: JsonObject | None = None) -> JsonObject | None:
    """Why a response ended; None for one that completed."""
    if status == "completed":
        return None
    details: dict[str, Json] = {"type": status}
    if reason is not None:
        details["reason"] = reason
    if error is not None:
        details["error"] = error
    return details


def failure(code: str, message: str) -> JsonObject:
    """The `error` of a failed response."""
    return {"type": "server_error", "code": code, "message": message}


def usage_object(usage: TokenUsage) -> JsonObject:
    """Token usage in the form of `response.done`. Cached tokens that are not told apart are said to be text."""
    rest = max(usage.input_cached - usage.cached_text - usage.cached_audio - usage.cached_image, 0)
    reasoning: dict[str, Json] = {"reasoning_tokens": usage.output_reasoning} if usage.output_reasoning else {}
    inputs = usage.input_text + usage.input_audio + usage.input_image
    outputs = usage.output_text + usage.output_audio
    return {
        "total_tokens": inputs + outputs,
        "input_tokens": inputs,
        "output_tokens": outputs,
        "input_token_details": {
            "text_tokens": usage.input_text,
            "audio_tokens": usage.input_audio,
            "image_tokens": usage.input_image,
            "cached_tokens": usage.input_cached,
            "cached_tokens_details": {
                "text_tokens": usage.cached_text + rest,
                "audio_tokens": usage.cached_audio,
                "image_tokens": usage.cached_image,
            },
        },
        "output_token_details": {
            "text_tokens": usage.output_text,
            "audio_tokens": usage.output_audio,
            **reasoning,
        },
    }


def response_created(event_id: str, response: JsonObject) -> bytes:
    """A response began. Its `metadata` is the request's, by which some clients recognise their response."""
    return write("response.created", event_id, {"response": response})


def response_done(event_id: str, response: JsonObject) -> bytes:
    """A response ended, for any reason."""
    return write("response.done", event_id, {"response": response})


# ---- items of a response


def output_item_added(event_id: str, place: Place, item: JsonObject) -> bytes:
    """The response added an item."""
    return _output_item("response.output_item.added", event_id, place, item)


def output_item_done(event_id: str, place: Place, item: JsonObject) -> bytes:
    """The response completed an item; some clients read function calls from this event."""
    return _output_item("response.output_item.done", event_id, place, item)


def _output_item(type: str, event_id: str, place: Place, item: JsonObject) -> bytes:
    return write(
        type,
        event_id,
        {"response_id": place.response_id, "output_index": place.output_index, "item": shown(item)},
    )


# ---- speech and text


def audio_part(transcript: str = "") -> JsonObject:
    """A content part of speech."""
    return {"type": "audio", "transcript": transcript}


def text_part(text: str = "") -> JsonObject:
    """A content part of text."""
    return {"type": "text", "text": text}


def content_part_added(event_id: str, place: Place, part: JsonObject) -> bytes:
    """An item added a content part."""
    return write("response.content_part.added", event_id, place.of_part() | {"part": part})


def content_part_done(event_id: str, place: Place, part: JsonObject) -> bytes:
    """An item completed a content part."""
    return write("response.content_part.done", event_id, place.of_part() | {"part": part})


def audio_delta(event_id: str, place: Place, payload: bytes) -> bytes:
    """A further run of sound in the response's output format."""
    sound = pybase64.b64encode_as_string(payload)
    return write("response.output_audio.delta", event_id, place.of_part() | {"delta": sound})


def audio_done(event_id: str, place: Place) -> bytes:
    """The sound of a part is complete."""
    return write("response.output_audio.done", event_id, place.of_part())


def transcript_delta(event_id: str, place: Place, delta: str) -> bytes:
    """A further piece of the transcript of the speech."""
    return write("response.output_audio_transcript.delta", event_id, place.of_part() | {"delta": delta})


def transcript_done(event_id: str, place: Place, transcript: str) -> bytes:
    """The whole transcript of a part."""
    return write("response.output_audio_transcript.done", event_id, place.of_part() | {"transcript": transcript})


def text_delta(event_id: str, place: Place, delta: str) -> bytes:
    """A further piece of a text answer."""
    return write("response.output_text.delta", event_id, place.of_part() | {"delta": delta})


def text_done(event_id: str, place: Place, text: str) -> bytes:
    """The whole text of a part."""
    return write("response.output_text.done", event_id, place.of_part() | {"text": text})


# ---- functions and tools


def arguments_delta(event_id: str, place: Place, call_id: str, delta: str) -> bytes:
    """A further piece of a function call's arguments."""
    return write(
        "response.function_call_arguments.delta", event_id, place.of_item() | {"call_id": call_id, "delta": delta}
    )


def arguments_done(event_id: str, place: Place, call_id: str, name: str, arguments: str) -> bytes:
    """All arguments of a function call; one client's model of this event requires the function's name."""
    return write(
        "response.function_call_arguments.done",
        event_id,
        place.of_item() | {"call_id": call_id, "name": name, "arguments": arguments},
    )


def mcp_arguments_delta(event_id: str, place: Place, delta: str) -> bytes:
    """A further piece of a server-side tool's arguments; one client skips the event without `obfuscation`."""
    return write("response.mcp_call_arguments.delta", event_id, place.of_item() | {"delta": delta, "obfuscation": ""})


def mcp_arguments_done(event_id: str, place: Place, arguments: str) -> bytes:
    """All arguments of a server-side tool."""
    return write("response.mcp_call_arguments.done", event_id, place.of_item() | {"arguments": arguments})


def mcp_call(event_id: str, state: str, item_id: str, output_index: int) -> bytes:
    """The state of a server-side tool's call: `in_progress`, `completed` or `failed`. Its output is in its item."""
    return write(f"response.mcp_call.{state}", event_id, {"item_id": item_id, "output_index": output_index})
