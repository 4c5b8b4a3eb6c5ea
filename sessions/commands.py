"""What a call wants done: the closed sets of commands to its two legs, its tools and its record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from audio.formats import AudioFrame
from audio.values import hot_value
from sessions.events import ModelEvent, ResponseRequest, Wire
from sessions.past import Past
from sessions.problems import ModelProblem
from sessions.setup import ModelSetup

# ---- to the caller's leg


@hot_value
class Play:
    """Agent speech for the caller. `wire` is the model's message, for a leg of the same dialect."""

    response_id: str
    item_id: str
    frame: AudioFrame
    wire: bytes | None


@dataclass(frozen=True, slots=True)
class ClearPlayback:
    """Drop speech that the far end has buffered (where the gateway owns playback)."""


@dataclass(frozen=True, slots=True)
class Relay:
    """Something the model did, for a client that speaks the model's dialect; other legs skip it."""

    event: ModelEvent


@dataclass(frozen=True, slots=True)
class ToolRunning:
    """A server-side tool was started, for clients that asked to see them."""

    call_id: str
    item_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ToolEnded:
    """A server-side tool came back, for clients that asked to see them. `error` as in `ToolFinished`."""

    call_id: str
    item_id: str
    name: str
    arguments: str
    output: str
    error: str | None


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer the client's request `event_id` with an error of the protocol; the call goes on."""

    code: str
    message: str
    event_id: str | None


@dataclass(frozen=True, slots=True)
class ResponseGone:
    """A response that the client saw start will never end: its model leg was lost. End it towards the client."""

    response_id: str


@dataclass(frozen=True, slots=True)
class Truncated:
    """Tell the client that an item of an earlier model leg was truncated: the model itself no longer can."""

    item_id: str
    heard_ms: int


@dataclass(frozen=True, slots=True)
class EndCall:
    """Say why, then close the caller's leg. `error_code` None is an ordinary end."""

    reason: str  # the record's end reason
    message: str  # safe to tell the caller
    error_code: str | None
    problem: ModelProblem | None = None  # of the model's, that ended it


CallerCommand: TypeAlias = (
    Play | ClearPlayback | Relay | ToolRunning | ToolEnded | Refuse | ResponseGone | Truncated | EndCall
)

# ---- to the model's leg


@hot_value
class SendAudio:
    """Caller sound for the model."""

    frame: AudioFrame
    wire: bytes | None


@dataclass(frozen=True, slots=True)
class Configure:
    """Set up the model's session anew."""

    setup: ModelSetup


@dataclass(frozen=True, slots=True)
class RequestResponse:
    """Ask for an answer."""

    request: ResponseRequest


@dataclass(frozen=True, slots=True)
class CancelResponse:
    """Stop a response: a named one, or the one that speaks."""

    response_id: str | None
    wire: Wire | None


@dataclass(frozen=True, slots=True)
class TruncateItem:
    """Tell the model how much of an item was heard."""

    item_id: str
    heard_ms: int
    wire: Wire | None


@dataclass(frozen=True, slots=True)
class AddToolOutput:
    """Give the model the result of a tool it called."""

    call_id: str
    output: str


@dataclass(frozen=True, slots=True)
class Seed:
    """Tell a fresh model session what was said and done before, in order.

    The client is waiting to see the items that are `unseen`; all others it knows.
    """

    past: tuple[Past, ...]
    unseen: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class PassToModel:
    """A message for the model as the client wrote it."""

    wire: Wire


ModelCommand: TypeAlias = (
    SendAudio | Configure | RequestResponse | CancelResponse | TruncateItem | AddToolOutput | Seed | PassToModel
)

# ---- to the call's task group, and to its record


@dataclass(frozen=True, slots=True)
class RunTool:
    """Start a server-side tool beside the sound; its `ToolFinished` must come within the tool's own deadline."""

    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class StopTool:
    """Nobody waits for this tool any more."""

    call_id: str


@dataclass(frozen=True, slots=True)
class DialModel:
    """Open a model leg with this setup; `attempt` counts from 0. Its `ModelReady` or `ModelLost` must come by then."""

    setup: ModelSetup
    attempt: int
    deadline_ms: int


@dataclass(frozen=True, slots=True)
class DropModel:
    """Close the model's leg."""


@dataclass(frozen=True, slots=True)
class SaveTurn:
    """Write the turn of this index, as the call's record has it now."""

    index: int


@dataclass(frozen=True, slots=True)
class NoteProblem:
    """The model has reported a problem: it belongs into the log and the figures. It is in the record already."""

    problem: ModelProblem
    about: str  # leg, response, request


JobCommand: TypeAlias = RunTool | StopTool | DialModel | DropModel | SaveTurn | NoteProblem
Command: TypeAlias = CallerCommand | ModelCommand | JobCommand
