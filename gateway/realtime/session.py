"""The effective session: what an agent's file says, with what a client may change laid over it.

`owners.py` says which field is whose. Source: OpenAI Realtime API reference, the session object (GA).
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
from sessions.setup import ModelSetup, ToolSpec

DEFAULT_VOICE = "alloy"
DEFAULT_TRANSCRIPTION: JsonObject = {"model": "gpt-4o-mini-transcribe"}
PASSED_ON = ("prompt", "tracing", "truncation")  # of the agent's fields that it let the client set, as they are


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
        session_update.check_kind(update)
        audio = section(update, "audio", "session")
        changes = session_update.answers(update, {tool.name for tool in self.agent.tools}, self.client_tools)
        changes["extras"] = {**self.extras, **session_update.extras(update)}
        heard = section(audio, "input", "session.audio")
        changes |= session_update.audio_input(heard, self.turn_detection)
        said = section(audio, "output", "session.audio")
        changes |= session_update.audio_output(said, (self.voice or DEFAULT_VOICE) if voice_locked else None)
        changes["set_by_client"] = {**self.set_by_client, **session_update.agents_fields(update, heard, may_set)}
        return replace(self, **changes)

    def for_client(self, may_set: frozenset[str]) -> EffectiveSession:
        """The same for a client that may set these fields: its prompt, or its responses, may bring tools unseen."""
        return replace(self, client_tools=None) if may_set & {"tools", "prompt"} else self

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


def write_tool(tool: ToolSpec) -> JsonObject:
    """A server-side tool as the model sees it."""
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
    }
