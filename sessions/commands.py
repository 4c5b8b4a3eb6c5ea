"""What a call commands: the closed sets of commands to its two legs, its tools and its record.

A command has a meaning of its own, which each leg's codec writes in its protocol. Where it carries a message of that
protocol, the codec writes that very message.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from audio.formats import AudioFrame
from audio.values import hot_value
from sessions.events import ModelEvent
from sessions.past import Past
from sessions.problems import ModelProblem
from sessions.setup import ModelSetup
from sessions.values import ResponseRequest, Wire

# ---- to the caller's leg


@hot_value
class Play:
    """Agent speech for the caller. `wire` is the model's message, where it is one of the Realtime protocol."""

    response_id: str
    item_id: str
    frame: AudioFrame
    wire: bytes | None


@dataclass(frozen=True, slots=True)
class ClearPlayback:
    """Drop speech that the far end has buffered (where the gateway owns playback)."""


@dataclass(frozen=True, slots=True)
class Relay:
    """Something the model did: for a client that speaks the model's dialect, and for a leg that acts on it."""

    event: ModelEvent


@dataclass(frozen=True, slots=True)
class ToolRunning:
    """A server-side tool was started, for clients that asked to see such tools."""

    call_id: str
    item_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ToolEnded:
    """A server-side tool has returned, for clients that asked to see such tools. `error` as in `ToolFinished`."""

    call_id: str
    item_id: str
    name: str
    arguments: str
    output: str
    error: str | None


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer the client's message `event_id` with an error; the call goes on."""

    code: str
    message: str
    event_id: str | None


@dataclass(frozen=True, slots=True)
class ResponseGone:
    """End a response for the client that the model will never end, because its leg was lost."""

    response_id: str


@dataclass(frozen=True, slots=True)
class LegReplaced:
    """The model's leg is lost and another one is dialled: what it adds comes after all items that there are."""


@dataclass(frozen=True, slots=True)
class Truncated:
    """Confirm to the client that an item was truncated; the leg of the model that could do so is gone."""

    item_id: str
    heard_ms: int


@dataclass(frozen=True, slots=True)
class EndCall:
    """Tell the caller why the call ends, then close its leg. `error_code` is None at an ordinary end."""

    reason: str  # the record's end reason
    message: str  # safe to tell the caller
    error_code: str | None
    problem: ModelProblem | None = None  # of the model's that is the reason


CallerCommand: TypeAlias = (
    Play | ClearPlayback | Relay | ToolRunning | ToolEnded | Refuse | ResponseGone | LegReplaced | Truncated | EndCall
)

# ---- to the model's leg


@hot_value
class SendAudio:
    """Caller sound for the model. `wire` is the caller's message, where it is one of the Realtime protocol."""

    frame: AudioFrame
    wire: bytes | None


@dataclass(frozen=True, slots=True)
class CommitSound:
    """The caller's turn is over: make an item of its sound so far."""

    wire: Wire | None


@dataclass(frozen=True, slots=True)
class ClearSound:
    """Forget the caller's sound since the last commit."""

    wire: Wire | None


@dataclass(frozen=True, slots=True)
class AddItem:
    """Add an item that the client wrote to the conversation; of a function call only the call, its result comes later.

    `wire` may hold more than `entry` does: images, sound, a place among the other items. An error about the item names
    `event_id`.
    """

    entry: Past
    event_id: str
    wire: Wire | None


@dataclass(frozen=True, slots=True)
class DeleteItem:
    """Delete an item from the conversation. An error about this names `event_id`, where there is one."""

    item_id: str
    event_id: str | None
    wire: Wire | None


@dataclass(frozen=True, slots=True)
class Configure:
    """Set up the model's session anew."""

    setup: ModelSetup


@dataclass(frozen=True, slots=True)
class RequestResponse:
    """Ask for a response."""

    request: ResponseRequest


@dataclass(frozen=True, slots=True)
class CancelResponse:
    """Stop a response: the named one, or the one that speaks."""

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
    """Give the model the result of a function that it called: one of the agent's tools, or a function of the client's.

    `wire` is the client's own message, if it sent one.
    """

    call_id: str
    output: str
    wire: Wire | None


@dataclass(frozen=True, slots=True)
class Seed:
    """Give a new session the conversation so far, in order.

    The client waits for the items in `unseen` to be confirmed; it has seen all others.
    """

    past: tuple[Past, ...]
    unseen: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class PassToModel:
    """A message of a kind that the call does not know. A leg of another dialect refuses it: see `not_understood`."""

    wire: Wire


ModelCommand: TypeAlias = (
    SendAudio
    | CommitSound
    | ClearSound
    | AddItem
    | DeleteItem
    | Configure
    | RequestResponse
    | CancelResponse
    | TruncateItem
    | AddToolOutput
    | Seed
    | PassToModel
)

# ---- to the call's task group, and to its record


@dataclass(frozen=True, slots=True)
class RunTool:
    """Start a server-side tool of this turn; its `ToolFinished` must come within the tool's deadline."""

    call_id: str
    name: str
    arguments: str
    turn: int  # the index


@dataclass(frozen=True, slots=True)
class StopTool:
    """Stop a tool, whose result is not needed any more."""

    call_id: str


@dataclass(frozen=True, slots=True)
class DialModel:
    """Open a leg to the model; `attempt` counts from 0. `ModelReady` or `ModelLost` must come by the deadline."""

    setup: ModelSetup
    attempt: int
    deadline_ms: int


@dataclass(frozen=True, slots=True)
class DropModel:
    """Close the model's leg."""


@dataclass(frozen=True, slots=True)
class SaveTurn:
    """Save the turn of this index as it is now."""

    index: int


@dataclass(frozen=True, slots=True)
class NoteProblem:
    """Log and count a problem that the model has reported; the record has it already."""

    problem: ModelProblem
    about: str  # leg, response, request


@dataclass(frozen=True, slots=True)
class NoteBudget:
    """Log that this share of the call's budget is spent, in nano-dollars; the record has it already.

    `limit_nano` is None where a further limit, such as a tenant's, is used up.
    """

    percent: int
    spent_nano: int
    limit_nano: int | None


JobCommand: TypeAlias = RunTool | StopTool | DialModel | DropModel | SaveTurn | NoteProblem | NoteBudget
Command: TypeAlias = CallerCommand | ModelCommand | JobCommand
