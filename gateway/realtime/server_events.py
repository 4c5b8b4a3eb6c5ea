"""Builds the server's events about the session, the input buffer and the conversation, as message bytes.

`gateway/realtime/response_events.py` has the events about responses. Keys that look superfluous are needed: public SDKs
drop events without them, or stop with an error.
Source: OpenAI Realtime API reference, server events; the shapes that six public clients were seen to require.
"""

from __future__ import annotations

from gateway.realtime.items import shown
from gateway.realtime.writing import write_json
from sessions.errors import WireError
from sessions.ports import JsonObject


def write(type: str, event_id: str, fields: JsonObject) -> bytes:
    """Serialise an event: its type, its id, and its fields in order."""
    return write_json({"type": type, "event_id": event_id, **fields})


def error(
    event_id: str,
    message: str,
    *,
    code: str | None,
    param: str | None = None,
    client_event_id: str | None = None,
    type: str = "invalid_request_error",
    model: JsonObject | None = None,
) -> bytes:
    """An error that leaves the session open; `client_event_id` is the id of the client's event that caused it.

    `type`: invalid_request_error, server_error or authentication_error. `model`: the problem that the model reported,
    sent as `model_problem`, which the protocol does not have.
    """
    problem: JsonObject = {
        "type": type,
        "code": code,
        "message": message,
        "param": param,
        "event_id": client_event_id,
    }
    if model is not None:
        problem = {**problem, "model_problem": model}
    return write("error", event_id, {"error": problem})


def error_for(event_id: str, problem: WireError) -> bytes:
    """The answer to a message that broke the protocol."""
    return error(event_id, problem.message, code=problem.code, param=problem.param, client_event_id=problem.event_id)


def session_created(event_id: str, session: JsonObject) -> bytes:
    """The first event. `session` is the whole session, with `type`, turn detection and output format."""
    return write("session.created", event_id, {"session": session})


def session_updated(event_id: str, session: JsonObject) -> bytes:
    """The whole session after an update."""
    return write("session.updated", event_id, {"session": session})


# ---- the input buffer


def speech_started(event_id: str, item_id: str, audio_start_ms: int) -> bytes:
    """The caller began to speak. `audio_start_ms` is a position in all sound appended."""
    return write("input_audio_buffer.speech_started", event_id, {"audio_start_ms": audio_start_ms, "item_id": item_id})


def speech_stopped(event_id: str, item_id: str, audio_end_ms: int) -> bytes:
    """The caller stopped speaking. `audio_end_ms` is a position in all sound appended."""
    return write("input_audio_buffer.speech_stopped", event_id, {"audio_end_ms": audio_end_ms, "item_id": item_id})


def committed(event_id: str, item_id: str, previous_item_id: str | None) -> bytes:
    """The buffered sound became the user's item with this id."""
    return write("input_audio_buffer.committed", event_id, {"previous_item_id": previous_item_id, "item_id": item_id})


def cleared(event_id: str) -> bytes:
    """The buffered sound was dropped."""
    return write("input_audio_buffer.cleared", event_id, {})


def timeout_triggered(event_id: str, item_id: str, audio_start_ms: int, audio_end_ms: int) -> bytes:
    """The caller was silent for the session's idle timeout."""
    return write(
        "input_audio_buffer.timeout_triggered",
        event_id,
        {"audio_start_ms": audio_start_ms, "audio_end_ms": audio_end_ms, "item_id": item_id},
    )


# ---- the conversation


def item_added(event_id: str, item: JsonObject, previous_item_id: str | None) -> bytes:
    """An item was added to the conversation after the one named (None: as the first)."""
    return write("conversation.item.added", event_id, {"previous_item_id": previous_item_id, "item": shown(item)})


def item_done(event_id: str, item: JsonObject, previous_item_id: str | None) -> bytes:
    """An item is complete."""
    return write("conversation.item.done", event_id, {"previous_item_id": previous_item_id, "item": shown(item)})


def item_retrieved(event_id: str, item: JsonObject) -> bytes:
    """An item as the server keeps it; its audio parts may have `audio` in base64."""
    whole = dict(shown(item))
    if item.get("type") == "message":
        whole["content"] = item["content"]
    return write("conversation.item.retrieved", event_id, {"item": whole})


def item_truncated(event_id: str, item_id: str, content_index: int, audio_end_ms: int) -> bytes:
    """The item was truncated to what the caller heard."""
    return write(
        "conversation.item.truncated",
        event_id,
        {"item_id": item_id, "content_index": content_index, "audio_end_ms": audio_end_ms},
    )


def item_deleted(event_id: str, item_id: str) -> bytes:
    """An item was deleted."""
    return write("conversation.item.deleted", event_id, {"item_id": item_id})


def transcription_delta(event_id: str, item_id: str, delta: str) -> bytes:
    """A further piece of the transcript of the caller's speech."""
    return write(
        "conversation.item.input_audio_transcription.delta",
        event_id,
        {"item_id": item_id, "content_index": 0, "delta": delta},
    )


def transcription_completed(event_id: str, item_id: str, transcript: str, seconds: float) -> bytes:
    """The whole transcript of the caller's speech. Usage is by duration, the form that all clients accept."""
    return write(
        "conversation.item.input_audio_transcription.completed",
        event_id,
        {
            "item_id": item_id,
            "content_index": 0,
            "transcript": transcript,
            "usage": {"type": "duration", "seconds": seconds},
        },
    )


def transcription_failed(event_id: str, item_id: str, code: str, message: str) -> bytes:
    """The transcription of the caller's speech failed. `code` must be a string, never null."""
    problem: JsonObject = {"type": "transcription_error", "code": code, "message": message, "param": "audio"}
    return write(
        "conversation.item.input_audio_transcription.failed",
        event_id,
        {"item_id": item_id, "content_index": 0, "error": problem},
    )


def mcp_list_tools(event_id: str, state: str, item_id: str) -> bytes:
    """The state of listing an MCP server's tools: `in_progress`, `completed` or `failed`."""
    return write(f"mcp_list_tools.{state}", event_id, {"item_id": item_id})


def rate_limits(event_id: str, limits: list[JsonObject]) -> bytes:
    """The remaining quotas, each as `{name: requests|tokens, limit, remaining, reset_seconds}`."""
    return write("rate_limits.updated", event_id, {"rate_limits": limits})
