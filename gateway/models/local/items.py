"""Converts a client's conversation items into the model's inputs: words, pictures, sound, tool results, history.

The server has checked the items' shapes. Items that the offline model cannot use convert to nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from gateway.models.local.dialogue.answerer import Input, Picture, ToolOutput, Typed
from sessions.ports import Json, JsonObject


@dataclass(frozen=True, slots=True)
class Sound:
    """A whole recording: base64, in the session's input format."""

    base64: str


@dataclass(frozen=True, slots=True)
class PastCall:
    """History: an earlier model called this tool. `arguments` is a JSON text."""

    call_id: str
    tool: str
    arguments: str


@dataclass(frozen=True, slots=True)
class PastAnswer:
    """History: an earlier model said this."""

    text: str


ItemContent: TypeAlias = Typed | Picture | ToolOutput | Sound | PastCall | PastAnswer


def contents_of(item: JsonObject) -> list[ItemContent]:
    """An item's usable contents, in order."""
    match item:
        case {"type": "function_call_output", "call_id": str(call_id), "output": str(output)}:
            return [ToolOutput(call_id, output)]
        case {"type": "function_call", "call_id": str(call_id), "name": str(name), "arguments": str(arguments)}:
            return [PastCall(call_id, name, arguments)]
        case {"type": "message", "role": "user", "content": [*parts]}:
            return [content for content in map(_content_of_part, parts) if content is not None]
        case {"type": "message", "role": "assistant", "content": [*parts]}:
            return [PastAnswer(" ".join(filter(None, map(_words, parts))))]
    return []


def inputs_of(items: Sequence[Json]) -> list[Input]:
    """The caller's words and pictures in the `input` of a `response.create`."""
    inputs: list[Input] = []
    for item in items:
        match item:
            case {"role": "user", "content": [*parts]}:
                inputs += [entry for entry in map(_input_of_part, parts) if entry is not None]
    return inputs


def _content_of_part(part: Json) -> Typed | Picture | Sound | None:
    match part:
        case {"type": "input_audio", "transcript": str(text)} if text:
            return Typed(text)
        case {"type": "input_audio", "audio": str(sound)}:
            return Sound(sound)
    return _input_of_part(part)


def _input_of_part(part: Json) -> Typed | Picture | None:
    match part:
        case {"type": "input_image", "image_url": str(url)}:
            return Picture(url)
    words = _words(part)
    return Typed(words) if words else None


def _words(part: Json) -> str:
    if not isinstance(part, Mapping):
        return ""
    text = part.get("text") or part.get("transcript")
    return text.strip() if isinstance(text, str) else ""
