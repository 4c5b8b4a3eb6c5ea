"""Checks a client's `session.update` field by field, and finds what changes in the effective session.

Functions that return a `dict` return the fields of `EffectiveSession` that change. All raise WireError, which names the
field of the message.
Source: OpenAI Realtime API reference, the session object (GA).
"""

from __future__ import annotations

from collections.abc import Callable, Set
from typing import Any

from gateway.realtime import fields, owners
from gateway.realtime.turn_detection import read_turn_detection
from gateway.realtime.wire_formats import read_format
from sessions.ports import Json, JsonObject

# The beta protocol's field names and their successors. They are refused with a hint, because ignoring them would leave
# a beta client without an explanation.
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
MAX_CLIENT_TOOLS = 1024  # functions that one client may declare during a session


def check_kind(update: JsonObject) -> None:
    """Raise WireError unless this is a realtime session in the form of the GA protocol."""
    if fields.text(fields.required(update, "type", "session"), "session.type") != "realtime":
        raise fields.invalid("session.type", "only sessions of type 'realtime' are supported here")
    for key in sorted(update.keys() & BETA_NAMES.keys()):
        raise fields.invalid(
            f"session.{key}", f"this is the beta protocol's name; use '{BETA_NAMES[key]}'", "unknown_parameter"
        )


def section(holder: JsonObject, key: str, path: str) -> JsonObject:
    """An object inside an object, empty where it is absent. `path` is the outer object's path, for the error."""
    value = holder.get(key)
    return {} if value is None else fields.json_object(value, f"{path}.{key}")


def response_settings(update: JsonObject, agents_tools: Set[str], declared: frozenset[str] | None) -> dict[str, Any]:
    """The changes to the modalities, the client's tools and the tool choice.

    `agents_tools`: names that the client must not use; `declared`: the functions declared so far, as in
    `EffectiveSession.client_tools`.
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
    """The update's fields that are passed on to the model."""
    return {key: EXTRA_CHECKS[key](update[key], f"session.{key}") for key in update if key in EXTRA_CHECKS}


def audio_input(update: JsonObject, turn_detection: JsonObject | None) -> dict[str, Any]:
    """The changes in `audio.input`, which is `update`.

    `turn_detection`: the present value, because an update may contain only some of its fields.
    """
    path = "session.audio.input"
    changes: dict[str, Any] = {}
    if update.get("format") is not None:
        changes["input_format"] = read_format(update["format"], f"{path}.format")
    if "turn_detection" in update:
        value = update["turn_detection"]
        changes["turn_detection"] = read_turn_detection(value, turn_detection, f"{path}.turn_detection")
    if "noise_reduction" in update:
        changes["noise_reduction"] = (_noise_reduction(update["noise_reduction"], f"{path}.noise_reduction"),)
    return changes


def audio_output(update: JsonObject, locked_voice: Json) -> dict[str, Any]:
    """The changes in `audio.output`, which is `update`.

    `locked_voice`: the voice that the agent has spoken with, which cannot change; None: any voice is allowed.
    """
    path = "session.audio.output"
    changes: dict[str, Any] = {}
    if update.get("format") is not None:
        changes["output_format"] = read_format(update["format"], f"{path}.format")
    if update.get("voice") is not None:
        changes["voice"] = fields.voice(update["voice"], f"{path}.voice")
        if locked_voice is not None and changes["voice"] != locked_voice:
            raise fields.invalid(
                f"{path}.voice", "the voice cannot change once the agent has spoken", "cannot_update_voice"
            )
    if update.get("speed") is not None:
        changes["speed"] = fields.number(update["speed"], f"{path}.speed", 0.25, 1.5)
    return changes


def agents_fields(update: JsonObject, audio_input: JsonObject, may_set: frozenset[str]) -> JsonObject:
    """The agent's fields that the client may set, by their wire names. `audio_input` is the update's `audio.input`."""
    taken: dict[str, Json] = {}
    for key in ("instructions", "prompt", "tracing", "truncation", "max_output_tokens"):
        if key in may_set and key in update:
            taken[key] = AGENT_CHECKS[key](update[key], f"session.{key}")
    if "transcription" in may_set and "transcription" in audio_input:
        value, path = audio_input["transcription"], "session.audio.input.transcription"
        taken["transcription"] = None if value is None else fields.json_object(value, path)
    return taken


def _tools(value: Json, agents_tools: Set[str]) -> tuple[JsonObject, ...]:
    tools = fields.tools(value, "session.tools")
    for index, tool in enumerate(tools):
        if tool.get("name") in agents_tools:
            raise fields.invalid(f"session.tools[{index}].name", "the agent has a tool of this name")
    return tuple(tools)


def _noise_reduction(value: Json, path: str) -> Json:
    if value is not None:
        reduction = fields.json_object(value, path)
        fields.one_of(fields.required(reduction, "type", path), f"{path}.type", ("near_field", "far_field"))
        if reduction.get("strength") is not None:
            fields.number(reduction["strength"], f"{path}.strength", 0, 10)
    return value


def _tracing(value: Json, path: str) -> Json:
    if value is None or value == "auto":
        return value
    return fields.json_object(value, path)


def _truncation(value: Json, path: str) -> Json:
    if isinstance(value, str):
        fields.one_of(value, path, ("auto", "disabled"))
        return value
    truncation = fields.json_object(value, path)
    fields.one_of(fields.required(truncation, "type", path), f"{path}.type", ("retention_ratio",))
    fields.number(fields.required(truncation, "retention_ratio", path), f"{path}.retention_ratio", 0, 1)
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
