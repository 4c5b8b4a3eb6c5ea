"""The effective session: the agent's settings, with the client's changes merged over them.

`owners.py` lists the fields that belong to the agent. Source: OpenAI Realtime API reference, the session object (GA).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from audio.formats import PCM16_24K, AudioFormat
from gateway.realtime import owners, session_update
from gateway.realtime.session_update import section
from gateway.realtime.turn_detection import of_agent
from gateway.realtime.wire_formats import write_format
from sessions.agent import Agent, TurnDetection
from sessions.ports import Json, JsonObject
from sessions.setup import ModelSetup, ToolSpec, TurnPolicy

DEFAULT_VOICE = "alloy"
DEFAULT_TRANSCRIPTION: JsonObject = {"model": "gpt-4o-mini-transcribe"}
PASSED_ON = ("prompt", "tracing", "truncation")  # agent's fields that are passed on unchanged where the client set them


@dataclass(frozen=True, slots=True)
class AgentSide:
    """The agent's settings of a session. `instructions` are rendered; `transcription` None turns it off."""

    instructions: str
    tools: tuple[ToolSpec, ...]
    voice: str | None
    speed: float | None
    turn_detection: TurnDetection
    transcription: JsonObject | None
    max_output_tokens: int | None

    @classmethod
    def of(cls, agent: Agent, instructions: str, tools: tuple[ToolSpec, ...], language: str | None = None) -> AgentSide:
        """The settings of one call: the agent's file, with rendered instructions and resolved tools.

        `language` is the tag of the language in which the caller is expected to speak.
        """
        return cls(
            instructions=instructions,
            tools=tools,
            voice=agent.voice,
            speed=agent.speed,
            turn_detection=agent.turn_detection,
            transcription=_in_language(agent.transcription or DEFAULT_TRANSCRIPTION, language),
            max_output_tokens=agent.max_output_tokens,
        )


def _in_language(transcription: JsonObject, language: str | None) -> JsonObject:
    """The transcription with the call's language as a hint, unless the agent's file gives one.

    Models take the codes of ISO 639-1, which have two letters, and refuse a session with a longer tag.
    """
    code = (language or "").partition("-")[0].lower()
    if len(code) != 2 or transcription.get("language"):
        return transcription
    return {**transcription, "language": code}


@dataclass(frozen=True, slots=True)
class EffectiveSession:
    """An immutable state of a session; `merged` makes the next state."""

    agent: AgentSide
    session_id: str
    expires_at: int  # Unix seconds
    model: str  # the model's name, as shown to the client
    input_format: AudioFormat
    output_format: AudioFormat
    text_only: bool
    turn_detection: JsonObject | None
    voice: Json
    speed: float | None
    tools: tuple[JsonObject, ...]  # the client's tools
    client_tools: frozenset[str] | None  # names of all functions it has declared; None: it may add undeclared ones
    tool_choice: Json
    noise_reduction: tuple[Json, ...]  # one value; empty until the client sets it, to null or an object
    extras: JsonObject  # CLIENT_EXTRAS that the client has set
    set_by_client: JsonObject  # the agent's fields that the client was allowed to set, and has set

    @classmethod
    def for_agent(
        cls, agent: AgentSide, session_id: str, expires_at: int, model: str, format: AudioFormat = PCM16_24K
    ) -> EffectiveSession:
        """The session before the client's first update, with sound in this format both ways."""
        return cls(
            agent=agent,
            session_id=session_id,
            expires_at=expires_at,
            model=model,
            input_format=format,
            output_format=format,
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
        """The session after an update: fields that are present replace the old values, the agent's fields are ignored.

        `voice_locked`: the agent has spoken, so its voice cannot change. Raises WireError, which names the field.
        """
        session_update.check_kind(update)
        audio = section(update, "audio", "session")
        changes = session_update.response_settings(update, {tool.name for tool in self.agent.tools}, self.client_tools)
        changes["extras"] = {**self.extras, **session_update.extras(update)}
        audio_input = section(audio, "input", "session.audio")
        changes |= session_update.audio_input(audio_input, self.turn_detection)
        audio_output = section(audio, "output", "session.audio")
        changes |= session_update.audio_output(audio_output, (self.voice or DEFAULT_VOICE) if voice_locked else None)
        changes["set_by_client"] = {**self.set_by_client, **session_update.agents_fields(update, audio_input, may_set)}
        return replace(self, **changes)

    def for_client(self, may_set: frozenset[str]) -> EffectiveSession:
        """The session for a client that may set these fields; some of them let it add undeclared tools."""
        return replace(self, client_tools=None) if may_set & {"tools", "prompt"} else self

    # ---- views

    @property
    def turn_policy(self) -> TurnPolicy:
        """Who begins a response when the caller has stopped, and who stops it when the caller starts."""
        detection = self.turn_detection
        if detection is None:
            return TurnPolicy.CLIENT
        interrupts = detection["interrupt_response"] is True
        if detection["create_response"] is True:
            return TurnPolicy.MODEL_INTERRUPTS if interrupts else TurnPolicy.MODEL
        return TurnPolicy.CLIENT_ASKS if interrupts else TurnPolicy.CLIENT

    @property
    def max_output_tokens(self) -> Json:
        """The limit of one response; "inf" where there is none."""
        return self.set_by_client.get("max_output_tokens") or self.agent.max_output_tokens or "inf"

    @property
    def transcription(self) -> Json:
        """The transcription settings; None where the caller's speech is not transcribed."""
        return self.set_by_client.get("transcription", self.agent.transcription)

    def as_client_sees(self) -> dict[str, Json]:
        """The whole session for `session.created` and `session.updated`, without what the agent keeps from clients."""
        set_fields = self.set_by_client
        return {
            "type": "realtime",
            "object": "realtime.session",
            "id": self.session_id,
            "model": self.model,
            "output_modalities": ["text"] if self.text_only else ["audio"],
            "instructions": set_fields.get("instructions", ""),
            "tools": list(self.tools),
            "tool_choice": self.tool_choice,
            "max_output_tokens": self.max_output_tokens,
            "tracing": set_fields.get("tracing"),
            "truncation": set_fields.get("truncation", "auto"),
            "prompt": set_fields.get("prompt"),
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
        """The session for a `session.update` to a model; fields without a setting are left out."""
        audio_input: dict[str, Json] = {"format": write_format(self.input_format), "transcription": self.transcription}
        audio_input["turn_detection"] = self.turn_detection
        if self.noise_reduction:
            audio_input["noise_reduction"] = self.noise_reduction[0]
        audio_output: dict[str, Json] = {"format": write_format(self.output_format)}
        if self.voice is not None:
            audio_output["voice"] = self.voice
        if self.speed is not None:
            audio_output["speed"] = self.speed
        set_fields = {key: self.set_by_client[key] for key in PASSED_ON if self.set_by_client.get(key) is not None}
        if self.max_output_tokens != "inf" or "max_output_tokens" in self.set_by_client:
            set_fields["max_output_tokens"] = self.max_output_tokens
        return {
            "type": "realtime",
            "output_modalities": ["text"] if self.text_only else ["audio"],
            "instructions": self.set_by_client.get("instructions", self.agent.instructions),
            "tools": [*(write_tool(tool) for tool in self.agent.tools), *self.tools],
            "tool_choice": self.tool_choice,
            "audio": {"input": audio_input, "output": audio_output},
            **self.extras,
            **set_fields,
        }

    def setup(self) -> ModelSetup:
        """The session's settings for the call."""
        return ModelSetup(
            session=self.as_model_gets(),
            input_format=self.input_format,
            output_format=self.output_format,
            text_only=self.text_only,
            turn_policy=self.turn_policy,
            client_tools=self.client_tools,
        )

    def _shown_transcription(self) -> Json:
        if "transcription" in self.set_by_client or self.agent.transcription is None:
            return self.transcription
        # The agent's transcription prompt and keywords are not shown to clients.
        return {key: value for key, value in self.agent.transcription.items() if key in ("model", "language")}


def write_tool(tool: ToolSpec) -> JsonObject:
    """A server-side tool as a function for the model."""
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
    }
