"""A client's `session.update`, checked field by field: what of it changes the effective session.

What returns a `dict` gives the fields of `EffectiveSession` that change; each raises WireError naming the wire's field.
Source: OpenAI Realtime API reference, the session object (GA).
"""

from __future__ import annotations

from collections.abc import Callable, Set
from typing import Any

from gateway.realtime import fields, owners
from gateway.realtime.turn_detection import read_turn_detection
from gateway.realtime.wire_formats import read_format
from sessions.ports import Json, JsonObject

# What the beta's clients send, and where it went: said aloud, since silence would leave such a client at a loss.
BETA_NAMES = {
    "modalities": "session.output_modalities",
    "voice": "session.audio.output.voice",
    "input_audio_format": "session.audio.input.format",
    "output_audio_format": "session.audio.output.format",
    "input_audio_transcription": "session.audio.input.transcription",
    "input_audio_noise_reduction": "session.audio.input.noise_reduction",
    "turn_detection": "session.audio.input.turn_detection",
    "max_response_output_tokens": "session.max_output_tokens",
}
MAX_CLIENT_TOOLS = 1024  # functions that one client has declared so far


def check_kind(update: JsonObject) -> None:
    """Raise WireError unless this is a realtime session as the GA protocol writes it."""
    if fields.text(fields.required(update, "type", "session"), "session.type") != "realtime":
        raise fields.invalid("session.type", "only sessions of type 'realtime' are supported here")
    for key in sorted(update.keys() & BETA_NAMES.keys()):
        raise fields.invalid(
            f"session.{key}", f"that is the beta's name; it is '{BETA_NAMES[key]}' now", "unknown_parameter"
        )


def section(holder: JsonObject, key: str, path: str) -> JsonObject:
    """An object within an object, empty where there is none. `path` is the holder's, for the error."""
    value = holder.get(key)
    return {} if value is None else fields.json_object(value, f"{path}.{key}")


def answers(update: JsonObject, agents_tools: Set[str], declared: frozenset[str] | None) -> dict[str, Any]:
    """How answers come, and which tools of the client's they may call.

    `agents_tools`: names that are taken; `declared`: the functions so far, as `EffectiveSession.client_tools`.
    """
    changes: dict[str, Any] = {}
    if update.get("output_modalities") is not None:
        modes = fields.output_modalities(update["output_modalities"], "session.output_modalities")
        changes["text_only"] = modes == ["text"]
    if update.get("tools") is not None:
        changes["tools"] = tools = _tools(update["tools"], agents_tools)
        if declared is not None:
            declared |= {str(tool["name"]) for tool in tools if tool["type"] == "function"}
            if len(declared) > MAX_CLIENT_TOOLS:
                raise fields.invalid("session.tools", f"more than {MAX_CLIENT_TOOLS} functions in one session")
            changes["client_tools"] = declared
    if update.get("tool_choice") is not None:
        changes["tool_choice"] = fields.tool_choice(update["tool_choice"], "session.tool_choice")
    return changes


def extras(update: JsonObject) -> JsonObject:
    """Fields that only the model understands."""
    return {key: EXTRA_CHECKS[key](update[key], f"session.{key}") for key in update if key in EXTRA_CHECKS}


def audio_input(heard: JsonObject, turn_detection: JsonObject | None) -> dict[str, Any]:
    """How the caller is heard. `turn_detection`: as it stands, for an update that names only some of its fields."""
    path = "session.audio.input"
    changes: dict[str, Any] = {}
    if heard.get("format") is not None:
        changes["input_format"] = read_format(heard["format"], f"{path}.format")
    if "turn_detection" in heard:
        wish = heard["turn_detection"]
        changes["turn_detection"] = read_turn_detection(wish, turn_detection, f"{path}.turn_detection")
    if "noise_reduction" in heard:
        changes["noise_reduction"] = (_noise_reduction(heard["noise_reduction"], f"{path}.noise_reduction"),)
    return changes


def audio_output(said: JsonObject, locked_voice: Json) -> dict[str, Any]:
    """How the agent speaks. `locked_voice`: the one that it has been heard with; None while it may have any."""
    path = "session.audio.output"
    changes: dict[str, Any] = {}
    if said.get("format") is not None:
        changes["output_format"] = read_format(said["format"], f"{path}.format")
    if said.get("voice") is not None:
        changes["voice"] = fields.voice(said["voice"], f"{path}.voice")
        if locked_voice is not None and changes["voice"] != locked_voice:
            raise fields.invalid(
                f"{path}.voice", "the voice cannot change once the agent has spoken", "cannot_update_voice"
            )
    if said.get("speed") is not None:
        changes["speed"] = fields.number(said["speed"], f"{path}.speed", 0.25, 1.5)
    return changes


def agents_fields(update: JsonObject, heard: JsonObject, may_set: frozenset[str]) -> JsonObject:
    """The agent's fields that the client may set, under their names on the wire. `heard`: the update's audio input."""
    taken: dict[str, Json] = {}
    for key in ("instructions", "prompt", "tracing", "truncation", "max_output_tokens"):
        if key in may_set and key in update:
            taken[key] = AGENT_CHECKS[key](update[key], f"session.{key}")
    if "transcription" in may_set and "transcription" in heard:
        wish, path = heard["transcription"], "session.audio.input.transcription"
        taken["transcription"] = None if wish is None else fields.json_object(wish, path)
    return taken


def _tools(value: Json, agents_tools: Set[str]) -> tuple[JsonObject, ...]:
    tools = fields.tools(value, "session.tools")
    for index, tool in enumerate(tools):
        if tool.get("name") in agents_tools:
            raise fields.invalid(f"session.tools[{index}].name", "the agent has a tool of this name")
    return tuple(tools)


def _noise_reduction(value: Json, path: str) -> Json:
    if value is not None:
        wish = fields.json_object(value, path)
        fields.one_of(fields.required(wish, "type", path), f"{path}.type", ("near_field", "far_field"))
        if wish.get("strength") is not None:
            fields.number(wish["strength"], f"{path}.strength", 0, 10)
    return value


def _tracing(value: Json, path: str) -> Json:
    if value is None or value == "auto":
        return value
    return fields.json_object(value, path)


def _truncation(value: Json, path: str) -> Json:
    if isinstance(value, str):
        fields.one_of(value, path, ("auto", "disabled"))
        return value
    wish = fields.json_object(value, path)
    fields.one_of(fields.required(wish, "type", path), f"{path}.type", ("retention_ratio",))
    fields.number(fields.required(wish, "retention_ratio", path), f"{path}.retention_ratio", 0, 1)
    return value


AGENT_CHECKS: dict[str, Callable[[Json, str], Json]] = {
    "instructions": fields.text,
    "prompt": owners.prompt,
    "tracing": _tracing,
    "truncation": _truncation,
    "max_output_tokens": fields.max_tokens,
}
EXTRA_CHECKS: dict[str, Callable[[Json, str], Json]] = {
    "reasoning": owners.reasoning,
    "parallel_tool_calls": owners.parallel_tool_calls,
    "include": owners.include,
}
