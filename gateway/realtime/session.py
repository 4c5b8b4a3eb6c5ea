"""The effective session: what an agent's file says, with what a client may change laid over it.

`owners.py` says which field is whose. Source: OpenAI Realtime API reference, the session object (GA).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from audio.formats import PCM16_24K, AudioFormat
from gateway.realtime import fields, owners
from gateway.realtime.turn_detection import of_agent, read_turn_detection
from gateway.realtime.wire_formats import read_format, write_format
from sessions.agent import Agent, TurnDetection
from sessions.ports import Json, JsonObject
from sessions.setup import ModelSetup, ToolSpec

DEFAULT_VOICE = "alloy"
DEFAULT_TRANSCRIPTION: JsonObject = {"model": "gpt-4o-mini-transcribe"}
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


@dataclass(frozen=True, slots=True)
class AgentSide:
    """What the agent brings to a session. `instructions` are rendered; `transcription` None leaves it off."""

    instructions: str
    tools: tuple[ToolSpec, ...]
    voice: str | None
    speed: float | None
    turn_detection: TurnDetection
    transcription: JsonObject | None
    max_output_tokens: int | None

    @classmethod
    def of(cls, agent: Agent, instructions: str, tools: tuple[ToolSpec, ...]) -> AgentSide:
        """An agent's side of one call: its file, with the instructions rendered and the tools resolved."""
        return cls(
            instructions=instructions,
            tools=tools,
            voice=agent.voice,
            speed=agent.speed,
            turn_detection=agent.turn_detection,
            transcription=agent.transcription or DEFAULT_TRANSCRIPTION,
            max_output_tokens=agent.max_output_tokens,
        )


@dataclass(frozen=True, slots=True)
class EffectiveSession:
    """One state of a session; `merged` makes the next one."""

    agent: AgentSide
    session_id: str
    expires_at: int  # Unix seconds
    model: str  # as the client knows it
    input_format: AudioFormat
    output_format: AudioFormat
    text_only: bool
    turn_detection: JsonObject | None
    voice: Json
    speed: float | None
    tools: tuple[JsonObject, ...]  # the client's own
    client_tools: frozenset[str] | None  # the names of all it has ever declared; None: it may bring tools unseen
    tool_choice: Json
    noise_reduction: tuple[Json, ...]  # empty until the client says something, null included
    extras: JsonObject  # CLIENT_EXTRAS that the client has set
    set_by_client: JsonObject  # fields of the agent's that it let the client set

    @classmethod
    def for_agent(cls, agent: AgentSide, session_id: str, expires_at: int, model: str) -> EffectiveSession:
        """The session before any client has said a word."""
        return cls(
            agent=agent,
            session_id=session_id,
            expires_at=expires_at,
            model=model,
            input_format=PCM16_24K,
            output_format=PCM16_24K,
            text_only=False,
            turn_detection=of_agent(agent.turn_detection),
            voice=agent.voice,
            speed=agent.speed,
            tools=(),
            client_tools=frozenset(),
            tool_choice="auto",
            noise_reduction=(),
            extras={},
            set_by_client={},
        )

    def merged(
        self, update: JsonObject, may_set: frozenset[str] = owners.NOTHING, *, voice_locked: bool = False
    ) -> EffectiveSession:
        """The session after an update: fields that are present replace, fields of the agent's are passed over.

        `voice_locked`: the agent has been heard, and keeps its voice. Raises WireError naming the field.
        """
        if fields.text(fields.required(update, "type", "session"), "session.type") != "realtime":
            raise fields.invalid("session.type", "only sessions of type 'realtime' are supported here")
        for key in sorted(update.keys() & BETA_NAMES.keys()):
            raise fields.invalid(
                f"session.{key}", f"that is the beta's name; it is '{BETA_NAMES[key]}' now", "unknown_parameter"
            )
        audio = _object(update, "audio", "session")
        changes: dict[str, Any] = {}
        changes |= self._top(update)
        changes |= self._input(_object(audio, "input", "session.audio"))
        changes |= self._output(_object(audio, "output", "session.audio"), voice_locked)
        changes["set_by_client"] = {**self.set_by_client, **_of_agent(update, may_set)}
        return replace(self, **changes)

    def for_client(self, may_set: frozenset[str]) -> EffectiveSession:
        """The same for a client that may set these fields: its prompt, or its responses, may bring tools unseen."""
        return replace(self, client_tools=None) if may_set & {"tools", "prompt"} else self

    def _top(self, update: JsonObject) -> dict[str, Any]:
        changes: dict[str, Any] = {}
        if update.get("output_modalities") is not None:
            modes = fields.output_modalities(update["output_modalities"], "session.output_modalities")
            changes["text_only"] = modes == ["text"]
        if update.get("tools") is not None:
            changes["tools"] = tools = self._tools(update["tools"])
            if self.client_tools is not None:
                declared = self.client_tools | {str(tool["name"]) for tool in tools if tool["type"] == "function"}
                if len(declared) > MAX_CLIENT_TOOLS:
                    raise fields.invalid("session.tools", f"more than {MAX_CLIENT_TOOLS} functions in one session")
                changes["client_tools"] = declared
        if update.get("tool_choice") is not None:
            changes["tool_choice"] = fields.tool_choice(update["tool_choice"], "session.tool_choice")
        extras = {key: EXTRA_CHECKS[key](update[key], f"session.{key}") for key in update if key in EXTRA_CHECKS}
        changes["extras"] = {**self.extras, **extras}
        return changes

    def _tools(self, value: Json) -> tuple[JsonObject, ...]:
        tools = fields.tools(value, "session.tools")
        ours = {tool.name for tool in self.agent.tools}
        for index, tool in enumerate(tools):
            if tool.get("name") in ours:
                raise fields.invalid(f"session.tools[{index}].name", "the agent has a tool of this name")
        return tuple(tools)

    def _input(self, update: JsonObject) -> dict[str, Any]:
        path = "session.audio.input"
        changes: dict[str, Any] = {}
        if update.get("format") is not None:
            changes["input_format"] = read_format(update["format"], f"{path}.format")
        if "turn_detection" in update:
            changes["turn_detection"] = read_turn_detection(
                update["turn_detection"], self.turn_detection, f"{path}.turn_detection"
            )
        if "noise_reduction" in update:
            changes["noise_reduction"] = (_noise_reduction(update["noise_reduction"], f"{path}.noise_reduction"),)
        return changes

    def _output(self, update: JsonObject, voice_locked: bool) -> dict[str, Any]:
        path = "session.audio.output"
        changes: dict[str, Any] = {}
        if update.get("format") is not None:
            changes["output_format"] = read_format(update["format"], f"{path}.format")
        if update.get("voice") is not None:
            changes["voice"] = fields.voice(update["voice"], f"{path}.voice")
            if voice_locked and changes["voice"] != (self.voice or DEFAULT_VOICE):
                raise fields.invalid(
                    f"{path}.voice", "the voice cannot change once the agent has spoken", "cannot_update_voice"
                )
        if update.get("speed") is not None:
            changes["speed"] = fields.number(update["speed"], f"{path}.speed", 0.25, 1.5)
        return changes

    # ---- faces

    @property
    def answers_by_itself(self) -> bool:
        """Whether a response starts when the caller has stopped."""
        return self.turn_detection is not None and self.turn_detection["create_response"] is True

    @property
    def interrupts_by_itself(self) -> bool:
        """Whether a response stops when the caller starts."""
        return self.turn_detection is not None and self.turn_detection["interrupt_response"] is True

    @property
    def max_output_tokens(self) -> Json:
        """The limit of one response, "inf" where there is none."""
        return self.set_by_client.get("max_output_tokens") or self.agent.max_output_tokens or "inf"

    @property
    def transcription(self) -> Json:
        """How the caller's words are written down; None where they are not."""
        return self.set_by_client.get("transcription", self.agent.transcription)

    def as_client_sees(self) -> dict[str, Json]:
        """The whole session for `session.created` and `session.updated`: nothing that is the agent's own secret."""
        own = self.set_by_client
        return {
            "type": "realtime",
            "object": "realtime.session",
            "id": self.session_id,
            "model": self.model,
            "output_modalities": ["text"] if self.text_only else ["audio"],
            "instructions": own.get("instructions", ""),
            "tools": list(self.tools),
            "tool_choice": self.tool_choice,
            "max_output_tokens": self.max_output_tokens,
            "tracing": own.get("tracing"),
            "truncation": own.get("truncation", "auto"),
            "prompt": own.get("prompt"),
            "expires_at": self.expires_at,
            **({"include": None} | dict(self.extras)),
            "audio": {
                "input": {
                    "format": write_format(self.input_format),
                    "transcription": self._shown_transcription(),
                    "noise_reduction": self.noise_reduction[0] if self.noise_reduction else None,
                    "turn_detection": self.turn_detection,
                },
                "output": {
                    "format": write_format(self.output_format),
                    "voice": self.voice or DEFAULT_VOICE,
                    "speed": 1.0 if self.speed is None else self.speed,
                },
            },
        }

    def as_model_gets(self) -> dict[str, Json]:
        """The session for `session.update` towards a model: what nobody has set is left to the model."""
        heard: dict[str, Json] = {"format": write_format(self.input_format), "transcription": self.transcription}
        heard["turn_detection"] = self.turn_detection
        if self.noise_reduction:
            heard["noise_reduction"] = self.noise_reduction[0]
        said: dict[str, Json] = {"format": write_format(self.output_format)}
        if self.voice is not None:
            said["voice"] = self.voice
        if self.speed is not None:
            said["speed"] = self.speed
        own = {key: self.set_by_client[key] for key in PASSED_ON if self.set_by_client.get(key) is not None}
        if self.max_output_tokens != "inf" or "max_output_tokens" in self.set_by_client:
            own["max_output_tokens"] = self.max_output_tokens
        return {
            "type": "realtime",
            "output_modalities": ["text"] if self.text_only else ["audio"],
            "instructions": self.set_by_client.get("instructions", self.agent.instructions),
            "tools": [*(write_tool(tool) for tool in self.agent.tools), *self.tools],
            "tool_choice": self.tool_choice,
            "audio": {"input": heard, "output": said},
            **self.extras,
            **own,
        }

    def setup(self) -> ModelSetup:
        """The session as a call knows it."""
        return ModelSetup(
            session=self.as_model_gets(),
            input_format=self.input_format,
            output_format=self.output_format,
            text_only=self.text_only,
            answers_by_itself=self.answers_by_itself,
            interrupts_by_itself=self.interrupts_by_itself,
            client_tools=self.client_tools,
        )

    def _shown_transcription(self) -> Json:
        if "transcription" in self.set_by_client or self.agent.transcription is None:
            return self.transcription
        # The agent's own prompt and keywords stay with it.
        return {key: value for key, value in self.agent.transcription.items() if key in ("model", "language")}


PASSED_ON = ("prompt", "tracing", "truncation")


def write_tool(tool: ToolSpec) -> JsonObject:
    """A server-side tool as the model sees it."""
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
    }


def _object(holder: JsonObject, key: str, path: str) -> JsonObject:
    value = holder.get(key)
    return {} if value is None else fields.json_object(value, f"{path}.{key}")


def _noise_reduction(value: Json, path: str) -> Json:
    if value is not None:
        wish = fields.json_object(value, path)
        fields.one_of(fields.required(wish, "type", path), f"{path}.type", ("near_field", "far_field"))
        if wish.get("strength") is not None:
            fields.number(wish["strength"], f"{path}.strength", 0, 10)
    return value


def _of_agent(update: JsonObject, may_set: frozenset[str]) -> JsonObject:
    """The agent's fields in an update that the client may set, checked."""
    taken: dict[str, Json] = {}
    for key in ("instructions", "prompt", "tracing", "truncation", "max_output_tokens"):
        if key in may_set and key in update:
            taken[key] = AGENT_CHECKS[key](update[key], f"session.{key}")
    heard = _object(_object(update, "audio", "session"), "input", "session.audio")
    if "transcription" in may_set and "transcription" in heard:
        wish, path = heard["transcription"], "session.audio.input.transcription"
        taken["transcription"] = None if wish is None else fields.json_object(wish, path)
    return taken


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
