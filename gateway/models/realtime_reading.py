"""One server event of the Realtime protocol, read whole: parsed message in, the call's event out.

Unknown types are passed on; a known type that lacks what it must have is a WireError. Source: OpenAI Realtime API
reference, server events (GA), and the beta's names for the same events.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from gateway.models.realtime_mending import SERVER_ERROR, words_of
from sessions.errors import WireError
from sessions.events import (
    AgentText,
    CallerTranscribed,
    CallerTurnTaken,
    ItemDeleted,
    ItemKind,
    ItemStarted,
    ItemTaken,
    ModelEvent,
    ModelPassed,
    ModelRefused,
    Outcome,
    ResponseEnded,
    ResponseStarted,
    SpeechEnded,
    SpeechStarted,
    ToolOutputTaken,
    ToolWanted,
    Wire,
)
from sessions.ports import Json, JsonObject
from sessions.problems import problem_of
from sessions.usage import TokenUsage

MAX_WHOLE = 1 << 53
Reader: TypeAlias = Callable[[JsonObject, Wire], ModelEvent | None]

BETA_NAMES = {
    "response.text.delta": "response.output_text.delta",
    "response.text.done": "response.output_text.done",
    "response.audio.delta": "response.output_audio.delta",
    "response.audio.done": "response.output_audio.done",
    "response.audio_transcript.delta": "response.output_audio_transcript.delta",
    "response.audio_transcript.done": "response.output_audio_transcript.done",
    "conversation.item.created": "conversation.item.added",
}
OUTCOMES = {
    "completed": Outcome.COMPLETED,
    "cancelled": Outcome.CANCELLED,
    "incomplete": Outcome.INCOMPLETE,
    "failed": Outcome.FAILED,
}


def text_of(holder: JsonObject, key: str) -> str:
    """A string that must be there."""
    value = holder.get(key)
    if not isinstance(value, str):
        raise WireError(f"the model's {str(holder.get('type', 'message'))[:64]} has no {key!r}", param=key)
    return value


def whole_of(holder: JsonObject, key: str) -> int:
    """A count or position that must be there."""
    value = holder.get(key)
    if type(value) is not int or not 0 <= value <= MAX_WHOLE:
        raise WireError(f"the model's {str(holder.get('type', 'message'))[:64]} has no {key!r}", param=key)
    return value


def object_of(holder: JsonObject, key: str) -> JsonObject:
    """An object that must be there."""
    value = holder.get(key)
    if not isinstance(value, dict):
        raise WireError(f"the model's {str(holder.get('type', 'message'))[:64]} has no {key!r}", param=key)
    return value


def read_server_event(parsed: JsonObject, wire: Wire) -> ModelEvent | None:
    """What a message means; None for one that is not the call's business. Raises WireError."""
    reader = READERS.get(str(parsed.get("type")))
    return ModelPassed(wire) if reader is None else reader(parsed, wire)


def _speech_started(parsed: JsonObject, wire: Wire) -> ModelEvent:
    return SpeechStarted(text_of(parsed, "item_id"), whole_of(parsed, "audio_start_ms"), wire)


def _speech_stopped(parsed: JsonObject, wire: Wire) -> ModelEvent:
    return SpeechEnded(text_of(parsed, "item_id"), whole_of(parsed, "audio_end_ms"), wire)


def _committed(parsed: JsonObject, wire: Wire) -> ModelEvent:
    return CallerTurnTaken(text_of(parsed, "item_id"), wire)


def _transcription_delta(parsed: JsonObject, wire: Wire) -> ModelEvent:
    delta = parsed.get("delta")
    return CallerTranscribed(text_of(parsed, "item_id"), delta if isinstance(delta, str) else "", False, wire)


def _transcription_completed(parsed: JsonObject, wire: Wire) -> ModelEvent:
    return CallerTranscribed(text_of(parsed, "item_id"), text_of(parsed, "transcript"), True, wire)


def _item_added(parsed: JsonObject, wire: Wire) -> ModelEvent:
    item = object_of(parsed, "item")
    if item.get("type") == "function_call_output":
        return ToolOutputTaken(text_of(item, "call_id"), wire)
    if item.get("type") in ("message", "function_call"):
        return ItemTaken(text_of(item, "id"), wire)
    return ModelPassed(wire)


def _item_deleted(parsed: JsonObject, wire: Wire) -> ModelEvent:
    return ItemDeleted(text_of(parsed, "item_id"), wire)


def _response_created(parsed: JsonObject, wire: Wire) -> ModelEvent:
    response = object_of(parsed, "response")
    metadata = response.get("metadata")
    # Absent says nothing: only an explicit null is a response beside the conversation.
    out_of_band = "conversation_id" in response and response["conversation_id"] is None
    return ResponseStarted(
        text_of(response, "id"), out_of_band, metadata if isinstance(metadata, Mapping) else None, wire
    )


def _response_done(parsed: JsonObject, wire: Wire) -> ModelEvent:
    response = object_of(parsed, "response")
    outcome = OUTCOMES.get(text_of(response, "status"), Outcome.FAILED)
    details = response.get("status_details")
    details = details if isinstance(details, Mapping) else {}
    failure = details.get("error")
    failure = failure if isinstance(failure, Mapping) else {}
    reason = details.get("reason") or failure.get("code")
    problem = None
    if outcome in (Outcome.FAILED, Outcome.INCOMPLETE):
        problem = problem_of(failure.get("code") or details.get("reason"), failure.get("type") or details.get("type"))
    usage = response.get("usage")
    return ResponseEnded(
        text_of(response, "id"),
        outcome,
        reason if isinstance(reason, str) else None,
        read_usage(usage) if isinstance(usage, Mapping) else None,
        wire,
        problem,
    )


def read_usage(usage: JsonObject) -> TokenUsage:
    """Tokens; what a model does not count is 0."""
    inputs, outputs = usage.get("input_token_details"), usage.get("output_token_details")
    inputs = inputs if isinstance(inputs, Mapping) else {}
    outputs = outputs if isinstance(outputs, Mapping) else {}
    return TokenUsage(
        input_text=_count(inputs.get("text_tokens")),
        input_audio=_count(inputs.get("audio_tokens")),
        input_image=_count(inputs.get("image_tokens")),
        input_cached=_count(inputs.get("cached_tokens")),
        output_text=_count(outputs.get("text_tokens")),
        output_audio=_count(outputs.get("audio_tokens")),
    )


def _count(value: Json) -> int:
    return value if type(value) is int and 0 <= value <= MAX_WHOLE else 0


def _output_item_added(parsed: JsonObject, wire: Wire) -> ModelEvent:
    item = object_of(parsed, "item")
    kinds = {"message": ItemKind.MESSAGE, "function_call": ItemKind.TOOL_CALL}
    kind = kinds.get(str(item.get("type")), ItemKind.OTHER)
    name, call_id = item.get("name"), item.get("call_id")
    return ItemStarted(
        text_of(parsed, "response_id"),
        text_of(item, "id"),
        kind,
        name if isinstance(name, str) else None,
        call_id if isinstance(call_id, str) else None,
        wire,
    )


def _output_item_done(parsed: JsonObject, wire: Wire) -> ModelEvent:
    item = object_of(parsed, "item")
    if item.get("type") != "function_call":
        return ModelPassed(wire)
    if item.get("status", "completed") != "completed":
        return _output_item_added(parsed, wire)  # cut short: there is nothing to run, but it may be one to hide
    return ToolWanted(
        text_of(parsed, "response_id"),
        text_of(item, "id"),
        text_of(item, "call_id"),
        text_of(item, "name"),
        text_of(item, "arguments"),
        wire,
    )


def _words(spoken: bool) -> Reader:
    def read(parsed: JsonObject, wire: Wire) -> ModelEvent:
        return AgentText(
            text_of(parsed, "response_id"), text_of(parsed, "item_id"), text_of(parsed, "delta"), spoken, wire
        )

    return read


def _not_transcribed(parsed: JsonObject, wire: Wire) -> ModelEvent:
    return _error(parsed, wire) if isinstance(parsed.get("error"), Mapping) else ModelPassed(wire)


def _error(parsed: JsonObject, wire: Wire) -> ModelEvent:
    given = parsed.get("error")
    error: JsonObject = given if isinstance(given, Mapping) else {}
    code, kind, event_id = error.get("code"), error.get("type"), error.get("event_id")
    if code is None and kind is None:
        code = SERVER_ERROR
    return ModelRefused(
        str(code) if type(code) in (str, int) else None,
        words_of(given),
        event_id if isinstance(event_id, str) else None,
        wire,
        problem_of(code, kind),
    )


def _conversation_created(parsed: JsonObject, wire: Wire) -> None:
    return None  # the gateway's session is the client's; the model's conversation is nobody's business


READERS: dict[str, Reader] = {
    "input_audio_buffer.speech_started": _speech_started,
    "input_audio_buffer.speech_stopped": _speech_stopped,
    "input_audio_buffer.committed": _committed,
    "conversation.created": _conversation_created,
    "conversation.item.added": _item_added,
    "conversation.item.deleted": _item_deleted,
    "conversation.item.input_audio_transcription.delta": _transcription_delta,
    "conversation.item.input_audio_transcription.completed": _transcription_completed,
    "conversation.item.input_audio_transcription.failed": _not_transcribed,
    "response.created": _response_created,
    "response.done": _response_done,
    "response.output_item.added": _output_item_added,
    "response.output_item.done": _output_item_done,
    "response.output_audio_transcript.delta": _words(spoken=True),
    "response.output_text.delta": _words(spoken=False),
    "error": _error,
}
