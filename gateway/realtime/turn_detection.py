"""How the caller's turns are found: the `turn_detection` object, from an agent's file and from clients.

Source: OpenAI Realtime API reference, session.audio.input.turn_detection.
"""

from __future__ import annotations

from gateway.realtime import fields
from sessions.agent import TurnDetection
from sessions.ports import Json, JsonObject

SERVER_VAD: JsonObject = {
    "type": "server_vad",
    "threshold": 0.5,
    "prefix_padding_ms": 300,
    "silence_duration_ms": 500,
    "idle_timeout_ms": None,
    "create_response": True,
    "interrupt_response": True,
}
SEMANTIC_VAD: JsonObject = {
    "type": "semantic_vad",
    "eagerness": "auto",
    "create_response": True,
    "interrupt_response": True,
}
DEFAULTS = {"server_vad": SERVER_VAD, "semantic_vad": SEMANTIC_VAD}
MAX_MS = 600_000


def of_agent(detection: TurnDetection) -> JsonObject | None:
    """The agent's own way; None where turns are taken by hand."""
    if detection.kind == "none":
        return None
    if detection.kind == "semantic_vad":
        return {**SEMANTIC_VAD, "interrupt_response": detection.barge_in}
    return {
        **SERVER_VAD,
        "threshold": detection.threshold,
        "prefix_padding_ms": detection.prefix_ms,
        "silence_duration_ms": detection.silence_ms,
        "interrupt_response": detection.barge_in,
    }


def read_turn_detection(value: Json, current: JsonObject | None, path: str) -> JsonObject | None:
    """A client's wish laid over what holds now, or over the type's defaults where it names another type.

    Raises WireError naming the field. Fields that the type does not have are dropped.
    """
    if value is None:
        return None
    wish = fields.json_object(value, path)
    kind = fields.one_of(fields.required(wish, "type", path), f"{path}.type", DEFAULTS)
    base = current if current is not None and current["type"] == kind else DEFAULTS[kind]
    merged = dict(base)
    for key in base:
        if key in wish and (wish[key] is not None or key == "idle_timeout_ms"):
            merged[key] = _checked(key, wish[key], f"{path}.{key}")
    return merged


def _checked(key: str, value: Json, path: str) -> Json:
    match key:
        case "create_response" | "interrupt_response":
            return fields.flag(value, path)
        case "threshold":
            return fields.number(value, path, 0, 1)
        case "prefix_padding_ms" | "silence_duration_ms":
            return fields.whole(value, path, 0, MAX_MS)
        case "idle_timeout_ms":
            return None if value is None else fields.whole(value, path, 1, MAX_MS)
        case "eagerness":
            return fields.one_of(value, path, ("low", "medium", "high", "auto"))
    return value
