"""An agent: what a file in the agents' folder promises, as plain values. `gateway/agents.py` reads the file."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sessions.ports import JsonObject


class ReplayPolicy(StrEnum):
    """What of a call is kept so that it can be replayed: nothing, the messages without sound, or everything."""

    OFF = "off"
    TEXT = "text"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """`KIND/NAME`: local/offline, scripted/FILE, openai/MODEL, azure/DEPLOYMENT."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


@dataclass(frozen=True, slots=True)
class TurnDetection:
    """How the model finds the caller's turns. `kind`: server_vad, semantic_vad or none (turns by hand)."""

    kind: str = "server_vad"
    silence_ms: int = 500
    prefix_ms: int = 300
    threshold: float = 0.5
    barge_in: bool = True


@dataclass(frozen=True, slots=True)
class ToolRule:
    """How one tool is used. `server` is its MCP server in mcp.json, None for a Python function."""

    server: str | None
    name: str
    deadline_ms: int = 10_000
    stop_on_barge_in: bool = False


@dataclass(frozen=True, slots=True)
class ToolGrant:
    """One line under `tools:`: a function, or an MCP server with some (or, `only` None, all) of its tools."""

    server: str | None
    function: str | None
    only: tuple[ToolRule, ...] | None
    deadline_ms: int = 10_000


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a call may last, and how long it may be silent (None: no such limit)."""

    length_ms: int = 60 * 60_000
    idle_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Agent:
    """One version of one agent; `version` is a digest of its file."""

    name: str
    version: str
    model: ModelChoice
    voice: str | None
    greeting: str | None
    instructions: str
    turn_detection: TurnDetection
    tools: tuple[ToolGrant, ...]
    offline: JsonObject | None  # the dialogue of local/offline, as its compiler takes it
    client_may_set: frozenset[str]
    recording: bool
    replay: ReplayPolicy
    limits: Limits
    description: str = ""
    max_output_tokens: int | None = None
    speed: float | None = None
    transcription: JsonObject | None = None  # the Realtime object; None: the model's default is switched on
