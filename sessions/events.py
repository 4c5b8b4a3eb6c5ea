"""What happens to a call: the closed sets of events that its two legs, its tools and its clock bring.

The words are the call's own, not a vendor's; each leg's codec translates. An event keeps the message it came from, so
that a leg of the same dialect can pass it on unchanged. Positions inside sound are in samples of the frame's format.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from audio.formats import AudioFrame
from audio.values import hot_value
from sessions.past import Past
from sessions.ports import JsonObject
from sessions.problems import ModelProblem
from sessions.setup import ModelSetup
from sessions.usage import TokenUsage


@dataclass(frozen=True, slots=True)
class Wire:
    """A message as it came: its bytes, and what its codec read in it, which only legs of the same dialect look into."""

    dialect: str  # "realtime"
    text: bytes
    parsed: JsonObject


class ItemKind(StrEnum):
    """What a conversation item is."""

    MESSAGE = "message"
    TOOL_CALL = "tool_call"
    OTHER = "other"


class Outcome(StrEnum):
    """How a response ended."""

    COMPLETED = "completed"
    CANCELLED = "cancelled"
    INCOMPLETE = "incomplete"
    FAILED = "failed"


# ---- from the caller's leg


@hot_value
class CallerAudio:
    """Sound from the caller. `wire` is the whole message, where the model may get it as it is."""

    frame: AudioFrame
    wire: bytes | None


@dataclass(frozen=True, slots=True)
class CallerCommitted:
    """A caller who takes turns by hand says that this one is over."""

    wire: Wire | None


@dataclass(frozen=True, slots=True)
class CallerText:
    """A message from the caller; `images` counts the pictures in it, `spoken` says that it is sound, given whole.

    An error of the model's about it names `event_id`, which is the client's own name for the message if it gave one.
    """

    item_id: str
    text: str
    images: int
    spoken: bool
    event_id: str
    client_event_id: str | None
    wire: Wire | None


@dataclass(frozen=True, slots=True)
class ItemWritten:
    """An item that the client writes in another's name, of an earlier talk, say: a message, or a function call.

    Nothing is run for a call, whose result comes later. `event_id` and `client_event_id` as in `CallerText`.
    """

    entry: Past
    event_id: str
    client_event_id: str | None
    wire: Wire


@dataclass(frozen=True, slots=True)
class DeleteWanted:
    """The client wants an item gone. The ids as in `CallerText`; without one a refusal names nothing."""

    item_id: str
    event_id: str | None
    client_event_id: str | None
    wire: Wire


@dataclass(frozen=True, slots=True)
class ClientToolAnswered:
    """A client gave the result of a function of its own."""

    call_id: str
    output: str
    wire: Wire | None


@dataclass(frozen=True, slots=True)
class ResponseRequest:
    """A wish for an answer. `request_id` names it towards the model; errors about it carry that name."""

    request_id: str
    out_of_band: bool  # beside the conversation: waits for nobody
    metadata: JsonObject | None
    say: str | None  # speak this text, word for word, instead of thinking
    wire: Wire | None  # the client's own message, already cut down to what a client may set


@dataclass(frozen=True, slots=True)
class ResponseWanted:
    """The client asks for an answer; `client_event_id` is its own name for the request, if it gave one."""

    request: ResponseRequest
    client_event_id: str | None


@dataclass(frozen=True, slots=True)
class CancelWanted:
    """The client asks to stop a response: a named one, or the one that speaks."""

    response_id: str | None
    client_event_id: str | None
    wire: Wire | None


@dataclass(frozen=True, slots=True)
class PlaybackReported:
    """The client, which owns playback, says how much of an item was heard before it stopped."""

    item_id: str
    heard_ms: int
    wire: Wire | None


@dataclass(frozen=True, slots=True)
class MarkEchoed:
    """A far end that buffers speech has played up to the mark of this name."""

    name: str


@dataclass(frozen=True, slots=True)
class SettingsChanged:
    """The client changed what it may change; `setup` is the whole new setup of the model's session."""

    setup: ModelSetup


@dataclass(frozen=True, slots=True)
class CallerPassed:
    """A message that the call has no opinion on and the model shall have."""

    wire: Wire


@dataclass(frozen=True, slots=True)
class HungUp:
    """The caller is gone, or its leg must go. `reason` becomes the record's end reason."""

    reason: str


CallerEvent: TypeAlias = (
    CallerAudio
    | CallerCommitted
    | CallerText
    | ItemWritten
    | DeleteWanted
    | ClientToolAnswered
    | ResponseWanted
    | CancelWanted
    | PlaybackReported
    | MarkEchoed
    | SettingsChanged
    | CallerPassed
    | HungUp
)

# ---- from the model's leg


@dataclass(frozen=True, slots=True)
class ModelReady:
    """The model's session is open and takes messages."""


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """The model hears the caller speak, from `at_ms` of all caller sound it has had."""

    item_id: str
    at_ms: int
    wire: Wire | None


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """The model hears the caller stop."""

    item_id: str
    at_ms: int
    wire: Wire | None


@dataclass(frozen=True, slots=True)
class CallerTurnTaken:
    """The caller's sound so far became the conversation item of this id."""

    item_id: str
    wire: Wire | None


@dataclass(frozen=True, slots=True)
class CallerTranscribed:
    """What the caller said; `final` is False for a part, which is then appended."""

    item_id: str
    text: str
    final: bool
    wire: Wire | None


@dataclass(frozen=True, slots=True)
class ResponseStarted:
    """An answer begins: to a request of ours, or because the model heard the caller stop. Which, the dialect hides."""

    response_id: str
    out_of_band: bool
    metadata: JsonObject | None
    wire: Wire | None


@dataclass(frozen=True, slots=True)
class ItemStarted:
    """A response opened an item. `name` and `call_id` are set for tool calls."""

    response_id: str
    item_id: str
    kind: ItemKind
    name: str | None
    call_id: str | None
    wire: Wire | None


@hot_value
class AgentAudio:
    """Speech of the agent; samples count from the item's start. `wire` is the whole message."""

    response_id: str
    item_id: str
    frame: AudioFrame
    wire: bytes | None


@dataclass(frozen=True, slots=True)
class AgentText:
    """A piece of what an item says, or what comes with its end (`whole`); `spoken`: it is the transcript of sound."""

    response_id: str
    item_id: str
    text: str
    spoken: bool
    wire: Wire | None
    whole: bool = False


@dataclass(frozen=True, slots=True)
class ToolWanted:
    """The model calls a function, with all its arguments (a JSON text). No other call of ours has this `call_id`."""

    response_id: str
    item_id: str
    call_id: str
    name: str
    arguments: str
    wire: Wire | None


@dataclass(frozen=True, slots=True)
class ResponseEnded:
    """An answer is over, however; `reason` is the model's word for why, `problem` what it failed of or was cut by."""

    response_id: str
    outcome: Outcome
    reason: str | None
    usage: TokenUsage | None
    wire: Wire | None
    problem: ModelProblem | None = None


@dataclass(frozen=True, slots=True)
class ModelRefused:
    """The model answered a message, or sound, with an error; the session goes on. `event_id` names it, if known."""

    code: str | None
    message: str
    event_id: str | None
    wire: Wire | None
    problem: ModelProblem | None = None


@dataclass(frozen=True, slots=True)
class ToolOutputTaken:
    """The model's conversation now holds the result of this tool call: what it says from here on knows it."""

    call_id: str
    wire: Wire | None


@dataclass(frozen=True, slots=True)
class ItemTaken:
    """The model's conversation now holds this item: a message, or a function call."""

    item_id: str
    wire: Wire | None


@dataclass(frozen=True, slots=True)
class ItemDeleted:
    """The model's conversation no longer holds this item: the client wanted it gone."""

    item_id: str
    wire: Wire | None


@dataclass(frozen=True, slots=True)
class ModelPassed:
    """A message that the call has no opinion on and the client shall have."""

    wire: Wire


@dataclass(frozen=True, slots=True)
class ModelLost:
    """The model's leg is gone, or could not be opened; `problem` where the model has said why."""

    reason: str  # for the log
    retryable: bool
    problem: ModelProblem | None = None


ModelEvent: TypeAlias = (
    ModelReady
    | SpeechStarted
    | SpeechEnded
    | CallerTurnTaken
    | CallerTranscribed
    | ResponseStarted
    | ItemStarted
    | AgentAudio
    | AgentText
    | ToolWanted
    | ResponseEnded
    | ModelRefused
    | ToolOutputTaken
    | ItemTaken
    | ItemDeleted
    | ModelPassed
    | ModelLost
)

# ---- from the tools


@dataclass(frozen=True, slots=True)
class ToolFinished:
    """A server-side tool came back. `error` is the kind of failure (`ToolFailed.kind`), None when it worked.

    With `hang_up` the call ends once the agent has spoken.
    """

    call_id: str
    output: str
    error: str | None
    hang_up: bool


ToolEvent: TypeAlias = ToolFinished
CallEvent: TypeAlias = CallerEvent | ModelEvent | ToolEvent
