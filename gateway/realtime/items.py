"""Conversation items: checks of a client's items, and the forms in which a server sends items.

Source: OpenAI Realtime API reference, `conversation.item.create` and the item types.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from audio.formats import AudioFormat
from gateway.realtime import fields
from gateway.realtime.scan import decode_audio
from sessions.ports import Json, JsonObject

IMAGE = re.compile(r"data:image/(?:png|jpe?g);base64,")
STATUSES = ("completed", "incomplete", "in_progress")
CONTENT_TYPES = {
    "user": ("input_text", "input_audio", "input_image"),
    "system": ("input_text",),
    "assistant": ("output_text", "output_audio"),
}
# The strings that an item of each type must have.
REQUIRED: dict[str, tuple[str, ...]] = {
    "message": (),
    "function_call": ("name", "arguments"),
    "function_call_output": ("call_id", "output"),
    "mcp_approval_response": ("approval_request_id",),
    "mcp_approval_request": ("server_label", "name", "arguments"),
    "mcp_call": ("server_label", "name", "arguments"),
    "mcp_list_tools": ("server_label",),
}


def check_item(item: JsonObject, path: str, format: AudioFormat) -> None:
    """Raise WireError, which names the field below `path`, unless this is an item that a client may create."""
    kind = fields.one_of(fields.required(item, "type", path), f"{path}.type", REQUIRED)
    for key in ("id", "call_id", "name", "approval_request_id"):
        if item.get(key) is not None:
            fields.name(item[key], f"{path}.{key}")
    if item.get("status") is not None:
        fields.one_of(item["status"], f"{path}.status", STATUSES)
    for key in REQUIRED[kind]:
        fields.text(fields.required(item, key, path), f"{path}.{key}")
    if kind == "message":
        _check_message(item, path, format)
    elif kind == "mcp_approval_response":
        fields.flag(fields.required(item, "approve", path), f"{path}.approve")
    elif kind == "mcp_list_tools":
        fields.array(fields.required(item, "tools", path), f"{path}.tools")


def _check_message(item: JsonObject, path: str, format: AudioFormat) -> None:
    role = fields.one_of(fields.required(item, "role", path), f"{path}.role", CONTENT_TYPES)
    for index, entry in enumerate(fields.array(fields.required(item, "content", path), f"{path}.content")):
        here = f"{path}.content[{index}]"
        part = fields.json_object(entry, here)
        kind = fields.one_of(fields.required(part, "type", here), f"{here}.type", CONTENT_TYPES[role])
        PART_CHECKS[kind](part, here, format)


def _check_text(part: JsonObject, path: str, format: AudioFormat) -> None:
    fields.text(fields.required(part, "text", path), f"{path}.text")


def _check_input_audio(part: JsonObject, path: str, format: AudioFormat) -> None:
    audio = fields.text(fields.required(part, "audio", path), f"{path}.audio", fields.MAX_ENCODED_CHARS)
    decode_audio(audio, format, param=f"{path}.audio")
    if part.get("transcript") is not None:
        fields.text(part["transcript"], f"{path}.transcript")


def _check_output_audio(part: JsonObject, path: str, format: AudioFormat) -> None:
    # The service accepts no assistant sound from a client: only its transcript is used.
    fields.text(fields.required(part, "transcript", path), f"{path}.transcript")


def _check_image(part: JsonObject, path: str, format: AudioFormat) -> None:
    url = fields.text(fields.required(part, "image_url", path), f"{path}.image_url", fields.MAX_ENCODED_CHARS)
    head = IMAGE.match(url)
    if head is None:
        raise fields.invalid(f"{path}.image_url", "expected a data URI of type image/png or image/jpeg")
    decode_audio(url[head.end() :], param=f"{path}.image_url")
    if part.get("detail") is not None:
        fields.one_of(part["detail"], f"{path}.detail", ("auto", "low", "high"))


PART_CHECKS: dict[str, Callable[[JsonObject, str, AudioFormat], None]] = {
    "input_text": _check_text,
    "output_text": _check_text,
    "input_audio": _check_input_audio,
    "output_audio": _check_output_audio,
    "input_image": _check_image,
}


# ---- items as a server sends them


def shown(item: JsonObject) -> JsonObject:
    """The item for an event: without its sound, and with the keys that strict clients require."""
    whole: dict[str, Json] = {"id": "", "type": "", **item, "object": "realtime.item"}
    content = item.get("content")
    if isinstance(content, list):
        whole["content"] = [_shown_part(part) for part in content]
    if item.get("type") in ("message", "function_call", "function_call_output"):
        whole["status"] = item.get("status") or "completed"
    if item.get("type") == "function_call":
        whole["call_id"] = item.get("call_id") or ""
    if item.get("type") == "mcp_call":
        # @openai/agents-realtime throws inside its socket handler when `output` is absent.
        whole.update({"output": None, "error": None, "approval_request_id": None} | dict(item))
    if item.get("type") in ("mcp_call", "mcp_list_tools", "mcp_approval_request", "mcp_approval_response"):
        whole.pop("object", None)
    return whole


def _shown_part(part: Json) -> Json:
    if not isinstance(part, Mapping) or part.get("type") not in ("input_audio", "output_audio"):
        return part
    # The key `transcript` must be present, if need be null: the same client throws without it.
    return {"type": part["type"], "transcript": part.get("transcript")}


def user_audio(item_id: str, transcript: str | None = None) -> JsonObject:
    """An item of the caller's speech."""
    part: JsonObject = {"type": "input_audio", "transcript": transcript}
    return _message(item_id, "user", "completed", [part])


def user_text(item_id: str, text: str) -> JsonObject:
    """An item of text that the caller typed."""
    return _message(item_id, "user", "completed", [{"type": "input_text", "text": text}])


def assistant_empty(item_id: str) -> JsonObject:
    """The item of an answer that has just begun."""
    return _message(item_id, "assistant", "in_progress", [])


def assistant_audio(item_id: str, transcript: str, status: str = "completed") -> JsonObject:
    """An item of the agent's speech."""
    return _message(item_id, "assistant", status, [{"type": "output_audio", "transcript": transcript}])


def assistant_text(item_id: str, text: str, status: str = "completed") -> JsonObject:
    """An item of text by the agent."""
    return _message(item_id, "assistant", status, [{"type": "output_text", "text": text}])


def function_call(item_id: str, call_id: str, name: str, arguments: str, status: str = "completed") -> JsonObject:
    """A function call by the model; `arguments` is a JSON text, empty while it is being generated."""
    return {
        "id": item_id,
        "type": "function_call",
        "object": "realtime.item",
        "status": status,
        "call_id": call_id,
        "name": name,
        "arguments": arguments,
    }


def function_output(item_id: str, call_id: str, output: str) -> JsonObject:
    """A function's output."""
    return {
        "id": item_id,
        "type": "function_call_output",
        "object": "realtime.item",
        "status": "completed",
        "call_id": call_id,
        "output": output,
    }


def mcp_call(
    item_id: str,
    server_label: str,
    name: str,
    arguments: str,
    output: str | None = None,
    error: JsonObject | None = None,
) -> JsonObject:
    """A call of a server-side tool. `error` is made by `tool_error`."""
    return {
        "id": item_id,
        "type": "mcp_call",
        "server_label": server_label,
        "name": name,
        "arguments": arguments,
        "output": output,
        "error": error,
        "approval_request_id": None,
    }


def tool_error(message: str) -> JsonObject:
    """The error of a server-side tool that failed."""
    return {"type": "tool_execution_error", "message": message}


def _message(item_id: str, role: str, status: str, content: list[JsonObject]) -> JsonObject:
    return {
        "id": item_id,
        "type": "message",
        "object": "realtime.item",
        "status": status,
        "role": role,
        "content": content,
    }
