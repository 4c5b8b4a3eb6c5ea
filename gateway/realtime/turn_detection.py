"""The `turn_detection` object, which says how the caller's turns are found: from an agent's file and from clients.

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
    """The agent's setting as a wire object; None where the client commits the turns."""
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
    """A client's value merged over the present one, or over the defaults where it names another type.

    Raises WireError, which names the field. Fields that the type does not have are dropped.
    """
    if value is None:
        return None
    update = fields.json_object(value, path)
    kind = fields.one_of(fields.required(update, "type", path), f"{path}.type", DEFAULTS)
    base = current if current is not None and current["type"] == kind else DEFAULTS[kind]
    merged = dict(base)
    for key in base:
        if key in update and (update[key] is not None or key == "idle_timeout_ms"):
            merged[key] = _checked(key, update[key], f"{path}.{key}")
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
