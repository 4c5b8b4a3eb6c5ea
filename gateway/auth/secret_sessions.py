"""The session that a client secret opens: the same owner table as for every other session of a client's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.realtime.owners import AGENT_SESSION_FIELDS
from sessions.ports import Json, JsonObject


@dataclass(frozen=True, slots=True)
class SecretSession:
    """What a client secret is made for: calls to `agent`. `shown` is what those are when `defaults` are laid over."""

    agent: str
    defaults: JsonObject | None  # what a client may set of what was asked for
    shown: dict[str, Json]  # without the agent's own fields, whoever set them: browsers get to see it


def counted(wish: JsonObject, may_set: frozenset[str]) -> JsonObject:
    """A session wish without the fields that would not count: whoever holds the secret could read them in it."""
    left_out = (AGENT_SESSION_FIELDS - may_set) | {"model"}
    kept = {key: value for key, value in wish.items() if key not in left_out}
    audio = kept.get("audio")
    heard = audio.get("input") if isinstance(audio, Mapping) else None
    if isinstance(audio, Mapping) and isinstance(heard, Mapping) and "transcription" in left_out:
        kept["audio"] = {**audio, "input": {key: heard[key] for key in heard if key != "transcription"}}
    return kept


def without_the_agents(shown: dict[str, Json]) -> dict[str, Json]:
    """A session as a client sees it, without what the agent is told."""
    return {**shown, "instructions": "", "prompt": None, "tracing": None}
