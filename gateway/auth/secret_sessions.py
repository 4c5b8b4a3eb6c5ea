"""The session that a client secret opens; the same table of field owners applies as to every client's session."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.realtime.owners import AGENT_SESSION_FIELDS
from sessions.ports import Json, JsonObject


@dataclass(frozen=True, slots=True)
class SecretSession:
    """The session of the calls to `agent` that a client secret opens."""

    agent: str
    defaults: JsonObject | None  # those of the requested fields that a client may set
    shown: dict[str, Json]  # the session with these defaults, without the agent's fields, because browsers can read it


def settable_fields(requested: JsonObject, may_set: frozenset[str]) -> JsonObject:
    """A requested session without the fields that have no effect, because a secret's holder could read them in it."""
    left_out = (AGENT_SESSION_FIELDS - may_set) | {"model"}
    kept = {key: value for key, value in requested.items() if key not in left_out}
    audio = kept.get("audio")
    sound = audio.get("input") if isinstance(audio, Mapping) else None
    if isinstance(audio, Mapping) and isinstance(sound, Mapping) and "transcription" in left_out:
        kept["audio"] = {**audio, "input": {key: sound[key] for key in sound if key != "transcription"}}
    return kept


def without_agent_fields(shown: dict[str, Json]) -> dict[str, Json]:
    """A session as a client sees it, without the agent's instructions, prompt and tracing."""
    return {**shown, "instructions": "", "prompt": None, "tracing": None}
