"""The errors of a call, by whose fault they are and by who answers them."""

from __future__ import annotations

from sessions.accounts import LegError
from sessions.problems import ModelProblem


class VoiceError(Exception):
    """The base of all failures that Patchbay expects and handles."""


class WireError(VoiceError):
    """The peer broke its protocol: the leg answers with a typed error, and closes after ten in a row.

    `code` and `param` are those of the Realtime protocol: a short code, and the path of the wrong field.
    `event_id` is the peer's own id of the message, where it gave one.
    """

    def __init__(
        self, message: str, *, code: str = "invalid_value", param: str | None = None, event_id: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.param = param
        self.event_id = event_id


class LegLost(VoiceError):
    """A connection broke or was refused; `retryable` says whether dialling again can help.

    `message` is for operators. `public` may be told to a caller. `problem` is what the far end gave as the reason,
    `error` its class.
    """

    problem: ModelProblem | None = None
    error = LegError.UNREACHABLE

    def __init__(self, message: str, *, retryable: bool, public: str = "the connection was lost") -> None:
        super().__init__(message)
        self.message = message
        self.retryable = retryable
        self.public = public


class ToolFailed(VoiceError):
    """A tool refused, is unknown, or took too long: the model is given `message`, and the call goes on."""

    def __init__(self, message: str, *, kind: str = "tool_execution_error") -> None:
        super().__init__(message)
        self.message = message
        self.kind = kind  # tool_execution_error, protocol_error, http_error, timeout, unknown_tool


class Overloaded(VoiceError):
    """A bound was reached: the call is refused, or ended in order. The message may be told to a caller."""
