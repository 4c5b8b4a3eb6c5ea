"""An agent as plain values: the content of a file in the agents' folder, which `gateway/agents/book.py` reads."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sessions.ports import JsonObject

BUDGET_GOODBYE = "I am sorry, but we have to end our call here. Thank you for calling, and goodbye."


class KeyMode(StrEnum):
    """Says what becomes of the keys that a caller presses: they are told to the model, or nobody hears of them.

    Of secret ones, only their number is kept in whatever is stored.
    """

    TEXT = "text"
    SECRET = "secret"  # noqa: S105 - no password
    OFF = "off"


class ReplayPolicy(StrEnum):
    """Says what of a call is kept for replays: nothing, the messages without sound, or everything."""

    OFF = "off"
    TEXT = "text"
    FULL = "full"


class TelemetryContent(StrEnum):
    """Says what of a call's words may be sent to tracing services: nothing, texts, or texts and sound."""

    NONE = "none"
    TEXT = "text"
    AUDIO = "audio"


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """Names a model as `KIND/NAME`: local/offline, scripted/FILE, openai/MODEL, azure/DEPLOYMENT."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


@dataclass(frozen=True, slots=True)
class TurnDetection:
    """Says how the model finds the caller's turns. `kind`: server_vad, semantic_vad or none (the client ends turns)."""

    kind: str = "server_vad"
    silence_ms: int = 500
    prefix_ms: int = 300
    threshold: float = 0.5
    barge_in: bool = True


@dataclass(frozen=True, slots=True)
class ToolRule:
    """Says how one tool is used. `server` is its MCP server in mcp.json, None for a Python function."""

    server: str | None
    name: str
    deadline_ms: int = 10_000
    stop_on_barge_in: bool = False


@dataclass(frozen=True, slots=True)
class ToolGrant:
    """Holds one line under `tools:`: a function, or an MCP server with some of its tools (`only` None: with all)."""

    server: str | None
    function: str | None
    only: tuple[ToolRule, ...] | None
    deadline_ms: int = 10_000


@dataclass(frozen=True, slots=True)
class AgentLimits:
    """Says how long a call may last, how long it may be silent, and what it may cost (None: no limit)."""

    length_ms: int = 60 * 60_000
    idle_ms: int | None = None
    cost_nano: int | None = None  # in nano-dollars


@dataclass(frozen=True, slots=True)
class PhoneRules:
    """Says what the keys of a telephone do. The terminator, or a rest, ends a message of keys."""

    keys: KeyMode = KeyMode.TEXT
    terminator: str | None = "#"  # None: only a rest ends a message
    rest_ms: int = 2_000
    barge_in: bool = True  # whether a key stops the agent's speech


@dataclass(frozen=True, slots=True)
class Agent:
    """Holds one version of one agent; `version` is a digest of its file."""

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
    limits: AgentLimits
    description: str = ""
    max_output_tokens: int | None = None
    speed: float | None = None
    phone: PhoneRules = PhoneRules()
    transcription: JsonObject | None = None  # the Realtime object; None: the model's default is switched on
    budget_goodbye: str = BUDGET_GOODBYE  # said when the call's budget is used up
    telemetry: TelemetryContent | None = None  # the most that is sent of its calls' words; None: as set
