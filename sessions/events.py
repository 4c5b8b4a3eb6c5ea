"""What happens to a call: the closed sets of events that its two legs and its tools bring.

The events have a meaning of their own, into which each leg's codec translates its protocol. An event may also carry the
message that it came from, so that a leg of the same dialect can send that on unchanged. Positions inside sound are in
samples of the frame's format.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from audio.formats import AudioFrame
from audio.values import hot_value
from sessions.accounts import LegError
from sessions.line_events import CallerSilence, DigitPressed, LineMeasured, SpeechDropped
from sessions.past import Past
from sessions.ports import JsonObject
from sessions.problems import ModelProblem
from sessions.setup import ModelSetup
from sessions.usage import TokenUsage, TranscriptionUsage
from sessions.values import ItemKind, ModelSession, Outcome, ResponseRequest, Wire

# ---- from the caller's leg


@hot_value
class CallerAudio:
    """Sound from the caller. `wire` is the whole message as it came, where it is one of the Realtime protocol."""

    frame: AudioFrame
    wire: bytes | None


@dataclass(frozen=True, slots=True)
class CallerCommitted:
    """A caller who takes turns by hand ends the turn: the sound so far becomes an item of the conversation."""

    wire: Wire | None


@dataclass(frozen=True, slots=True)
class CallerCleared:
    """The caller takes back the sound that no turn has ended yet."""

    wire: Wire | None


@dataclass(frozen=True, slots=True)
class CallerText:
    """A message from the caller. `images` counts its pictures; `spoken` says that it is sound in one piece.

    The model's error about it names `event_id`; `client_event_id` is the client's own name for the message, if it has
    one. `item_id` has at most 32 characters.
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
    """An item that the client adds in another's name, of an earlier talk for example: a message, or a function call.

    A function call is not run, and its result comes later. `event_id` and `client_event_id` are those of `CallerText`.
    """

    entry: Past
    event_id: str
    client_event_id: str | None
    wire: Wire | None


@dataclass(frozen=True, slots=True)
class DeleteWanted:
    """The client wants an item deleted. The ids are those of `CallerText`; `event_id` is None where it gave no name."""

    item_id: str
    event_id: str | None
    client_event_id: str | None
    wire: Wire | None


@dataclass(frozen=True, slots=True)
class ClientToolAnswered:
    """The client gives the result of one of its own functions."""

    call_id: str
    output: str
    wire: Wire | None


@dataclass(frozen=True, slots=True)
class ResponseWanted:
    """The client asks for a response; `client_event_id` is its own name for the request, if it gave one."""

    request: ResponseRequest
    client_event_id: str | None


@dataclass(frozen=True, slots=True)
class CancelWanted:
    """The client stops a response: the one it names, or the one that speaks."""

    response_id: str | None
    client_event_id: str | None
    wire: Wire | None


@dataclass(frozen=True, slots=True)
class PlaybackReported:
    """The client, which owns playback, reports how much of an item was played before it stopped."""

    item_id: str
    heard_ms: int
    wire: Wire | None


@dataclass(frozen=True, slots=True)
class MarkEchoed:
    """A far end that buffers speech has played an item up to this position.

    A mark from before a clear brings no event.
    """

    item_id: str
    position_ms: int


@dataclass(frozen=True, slots=True)
class SettingsChanged:
    """The client has changed its settings; `setup` is the whole new setup of the model's session."""

    setup: ModelSetup


@dataclass(frozen=True, slots=True)
class CallerPassed:
    """A message of a kind that the call does not know, for a model that speaks the same dialect."""

    wire: Wire


@dataclass(frozen=True, slots=True)
class HungUp:
    """The caller is gone, or its leg must be closed. `reason` becomes the record's end reason."""

    reason: str


CallerEvent: TypeAlias = (
    CallerAudio
    | CallerSilence
    | LineMeasured
    | CallerCommitted
    | CallerCleared
    | CallerText
    | ItemWritten
    | DeleteWanted
    | ClientToolAnswered
    | ResponseWanted
    | CancelWanted
    | PlaybackReported
    | MarkEchoed
    | SpeechDropped
    | DigitPressed
    | SettingsChanged
    | CallerPassed
    | HungUp
)

# ---- from the model's leg


@dataclass(frozen=True, slots=True)
class ModelReady:
    """The model's session is open and set up; `session` is what it says of itself."""

    session: ModelSession | None = None


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """The model hears the caller speak. `at_ms` counts in the caller's sound of the whole call."""

    item_id: str
    at_ms: int
    wire: Wire | None


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """The model hears the caller stop. `at_ms` as in `SpeechStarted`."""

    item_id: str
    at_ms: int
    wire: Wire | None


@dataclass(frozen=True, slots=True)
class CallerTurnTaken:
    """The caller's sound so far has become the item of this id."""

    item_id: str
    wire: Wire | None


@dataclass(frozen=True, slots=True)
class CallerTranscribed:
    """What the caller said. `final` is False for a further part, which is appended to those before."""

    item_id: str
    text: str
    final: bool
    wire: Wire | None
    usage: TranscriptionUsage | None = None  # of the model that transcribes, where it says


@dataclass(frozen=True, slots=True)
class ResponseStarted:
    """A response begins: to a request, or because the model heard the caller stop. The event does not say which."""

    response_id: str
    out_of_band: bool
    metadata: JsonObject | None
    wire: Wire | None


@dataclass(frozen=True, slots=True)
class ItemStarted:
    """A response has begun an item. `name` and `call_id` are set for function calls."""

    response_id: str
    item_id: str
    kind: ItemKind
    name: str | None
    call_id: str | None
    wire: Wire | None


@hot_value
class AgentAudio:
    """Speech of the agent; samples count from the item's start.

    `wire` is the whole message as it came, where it is one of the Realtime protocol.
    """

    response_id: str
    item_id: str
    frame: AudioFrame
    wire: bytes | None


@dataclass(frozen=True, slots=True)
class AgentItemEnded:
    """All sound of an item has come: a leg that sends whole frames can fill up the last one."""

    response_id: str
    item_id: str
    wire: Wire | None


@dataclass(frozen=True, slots=True)
class AgentText:
    """A piece of an item's words; `whole` if they came with its end, `spoken` if they are the transcript of sound."""

    response_id: str
    item_id: str
    text: str
    spoken: bool
    wire: Wire | None
    whole: bool = False


@dataclass(frozen=True, slots=True)
class ToolWanted:
    """The model calls a function; `arguments` is a JSON text. The `call_id` is unique in the whole call."""

    response_id: str
    item_id: str
    call_id: str
    name: str
    arguments: str
    wire: Wire | None


@dataclass(frozen=True, slots=True)
class ResponseEnded:
    """A response is over; `reason` is the model's word for why, `problem` why it failed or is incomplete."""

    response_id: str
    outcome: Outcome
    reason: str | None
    usage: TokenUsage | None
    wire: Wire | None
    problem: ModelProblem | None = None


@dataclass(frozen=True, slots=True)
class ModelRefused:
    """The model refused a message or sound; the session goes on. `event_id` names the message, if it is known."""

    code: str | None
    message: str
    event_id: str | None
    wire: Wire | None
    problem: ModelProblem | None = None


@dataclass(frozen=True, slots=True)
class ToolOutputTaken:
    """The model has taken the result of this function call: responses that begin from now on know it."""

    call_id: str
    wire: Wire | None


@dataclass(frozen=True, slots=True)
class ItemTaken:
    """The model has taken this item: a message, or a function call."""

    item_id: str
    wire: Wire | None


@dataclass(frozen=True, slots=True)
class ItemDeleted:
    """The model has deleted this item at the client's request."""

    item_id: str
    wire: Wire | None


@dataclass(frozen=True, slots=True)
class CallerAudioDropped:
    """A connection to the model was too slow: so much sound of the caller was dropped on it, over its whole life."""

    dropped_ms: int


@dataclass(frozen=True, slots=True)
class ModelPassed:
    """A message of a kind that the call does not know, for a client that speaks the same dialect."""

    wire: Wire


@dataclass(frozen=True, slots=True)
class ModelLost:
    """The model's leg is lost, or could not be opened; `problem` where the model has given a reason."""

    reason: str  # for the log
    retryable: bool
    problem: ModelProblem | None = None
    error: LegError = LegError.CLOSED


ModelEvent: TypeAlias = (
    ModelReady
    | SpeechStarted
    | SpeechEnded
    | CallerTurnTaken
    | CallerTranscribed
    | ResponseStarted
    | ItemStarted
    | AgentAudio
    | AgentItemEnded
    | AgentText
    | ToolWanted
    | ResponseEnded
    | ModelRefused
    | ToolOutputTaken
    | ItemTaken
    | ItemDeleted
    | CallerAudioDropped
    | ModelPassed
    | ModelLost
)


@dataclass(frozen=True, slots=True)
class ToolFinished:
    """A server-side tool has returned. `error` is the kind of failure (`ToolFailed.kind`), None if it succeeded.

    With `hang_up` the call ends when the agent has said goodbye.
    """

    call_id: str
    output: str
    error: str | None
    hang_up: bool


CallEvent: TypeAlias = CallerEvent | ModelEvent | ToolFinished
