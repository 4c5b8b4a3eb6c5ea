"""What is accounted for in a call: each response of the model, each stretch of the caller's speech, each dial.

Times named `*_ms` count from the call's start. Money is counted in whole nano-dollars; None means that it is unknown.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sessions.usage import TokenUsage


class ResponseOrigin(StrEnum):
    """Who wanted a response."""

    CLIENT = "client"
    MODEL = "model"  # it began by itself, because it heard the caller stop
    GREETING = "greeting"
    TOOL = "tool"  # the results of tools were there
    KEYS = "keys"  # the caller had pressed keys
    REDIAL = "redial"  # an answer was lost with its leg, or the model might not have given one by itself
    BUDGET = "budget"  # the goodbye of a call whose budget is used up


@dataclass(slots=True)
class ResponseUse:
    """One response of the model, and what it used.

    `leg` is the index of the dial that it ran on. `asked_ms` is None where the model began it by itself.
    `first_sound_ms` is when its first audible sample begins to sound, or when the first words of a written answer
    came. `reason` is the model's own word for why it ended. `usage` is None where the model reported none.
    """

    response_id: str
    origin: ResponseOrigin
    leg: int
    asked_ms: int | None
    begin_ms: int
    first_sound_ms: int | None = None
    end_ms: int | None = None
    outcome: str | None = None  # completed, cancelled, incomplete, failed
    reason: str | None = None
    usage: TokenUsage | None = None
    cost_nano: int | None = None


@dataclass(slots=True)
class SpeechStretch:
    """One stretch of the caller's speech: its first and its last audible sample. `end_ms` is None while it lasts."""

    begin_ms: int
    end_ms: int | None = None


class DialCause(StrEnum):
    """Why a model was dialled."""

    START = "start"
    LOST = "lost"  # the leg before was lost
    ROLLOVER = "rollover"  # the session before comes to the end of its allowed time
    FAILOVER = "failover"  # the model before cannot be reached


class LegError(StrEnum):
    """Why a leg could not be opened, or was lost."""

    AUTH = "auth"  # the credentials were refused, or there were none
    QUOTA = "quota"  # a limit or the account's credit is used up
    REFUSED = "refused"  # the service refused the connection or the session for another reason
    UNREACHABLE = "unreachable"  # no connection could be made
    TIMEOUT = "timeout"  # it was not ready in time
    CLOSED = "closed"  # the connection ended
    STALLED = "stalled"  # it was open, and nothing came that was due
    PROTOCOL = "protocol"  # its messages could not be read
    FAULT = "fault"  # code in this process failed


@dataclass(frozen=True, slots=True)
class ModelTarget:
    """The model that a leg is dialled to: `KIND/NAME`, and its host ("" for a model in this process)."""

    model: str = ""
    host: str = ""
    port: int | None = None


UNKNOWN_TARGET = ModelTarget()


@dataclass(slots=True)
class Dial:
    """One dial of a model, whether it succeeded, and how long its leg lasted.

    `lost_ms` and `error` are set where the leg was lost or never became ready; a leg that the call itself closed has
    neither. `model_session` is the model's own id of the session, `served` the model's name as the service gives it.
    """

    cause: DialCause
    attempt: int
    target: ModelTarget
    begin_ms: int
    ready_ms: int | None = None
    lost_ms: int | None = None
    error: LegError | None = None
    model_session: str | None = None
    served: str | None = None


@dataclass(frozen=True, slots=True)
class SetupFacts:
    """How a call was set up: how long its admission took, and the sound on both sides, as `AudioFormat` writes it.

    `traceparent` is the header of that name in the caller's request, "" where it had none.
    """

    admission_ms: int = 0
    caller_format: str = ""
    model_format: str = ""
    traceparent: str = ""


UNKNOWN_SETUP = SetupFacts()
