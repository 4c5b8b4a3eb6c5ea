"""How a model's session is set up: the few facts that the call decides by, and the rest as the dialect writes it."""

from __future__ import annotations

from dataclasses import dataclass

from audio.formats import AudioFormat
from sessions.ports import JsonObject


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as a model sees it. `parameters` is a JSON schema object."""

    name: str
    description: str
    parameters: JsonObject


@dataclass(frozen=True, slots=True)
class ModelSetup:
    """What one model session shall be.

    `session` is the whole session object in the GA Realtime shape (instructions, tools, audio, turn detection), which
    other dialects translate; the other fields are the facts in it that a call needs.
    """

    session: JsonObject
    input_format: AudioFormat
    output_format: AudioFormat
    text_only: bool
    answers_by_itself: bool  # the model starts a response when it hears the caller stop
    interrupts_by_itself: bool  # the model cancels its response when it hears the caller start
    client_tools: frozenset[str] | None  # functions that the client has declared so far; None: any name may be one

    def is_clients(self, tool: str) -> bool:
        """Whether a function that is none of the agent's is the client's to run."""
        return self.client_tools is None or tool in self.client_tools
