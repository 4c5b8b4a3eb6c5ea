"""How a model's session is set up: the few facts that the call needs, and the whole session for the codec."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from audio.formats import AudioFormat
from sessions.ports import JsonObject


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as a model sees it. `parameters` is a JSON schema object."""

    name: str
    description: str
    parameters: JsonObject


class TurnPolicy(Enum):
    """Says who takes turns: who begins an answer, and who stops it when the caller speaks."""

    # The client ends turns, asks for each answer, and stops it.
    CLIENT = ("client", False, False)
    # The client asks for each answer; the model stops by itself when it hears the caller.
    CLIENT_ASKS = ("client_asks", False, True)
    # The model answers when it hears the caller stop, and speaks on when the caller speaks.
    MODEL = ("model", True, False)
    # The model answers when it hears the caller stop, and stops when the caller speaks.
    MODEL_INTERRUPTS = ("model_interrupts", True, True)
    # The model hears and speaks at the same time, and decides by itself when to do either.
    DUPLEX = ("duplex", True, False)

    def __init__(self, label: str, model_answers: bool, model_interrupts: bool) -> None:
        self.label = label
        self.model_answers = model_answers  # it begins an answer by itself when the caller has spoken
        self.model_interrupts = model_interrupts  # it always stops its answer when it hears the caller speak


@dataclass(frozen=True, slots=True)
class ModelSetup:
    """The settings of one session of a model.

    `session` is the whole session object in the shape of the GA Realtime protocol (instructions, tools, audio, turn
    detection), which codecs of other dialects translate. The other fields are the facts in it that the call needs.
    """

    session: JsonObject
    input_format: AudioFormat
    output_format: AudioFormat
    text_only: bool
    turn_policy: TurnPolicy
    client_tools: frozenset[str] | None  # functions that the client has declared so far; None: any name may be one

    def is_clients(self, tool: str) -> bool:
        """Whether a function that is not one of the agent's tools is the client's to run."""
        return self.client_tools is None or tool in self.client_tools
