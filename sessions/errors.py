"""What can go wrong in a call, sorted by whose fault it is and who answers."""

from __future__ import annotations

from sessions.problems import ModelProblem


class VoiceError(Exception):
    """Any failure that Patchbay expects and has an answer for."""


class WireError(VoiceError):
    """The peer broke its protocol; the leg answers with a typed error, and ten in a row close it.

    `code` and `param` are the Realtime protocol's: a short machine word, and the path of the field at fault.
    `event_id` is the peer's own id for the message, where it gave one.
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
    """A connection dropped or refused us; `retryable` says whether dialling again can help.

    `message` is for operators. `public` is safe to tell a caller. `problem` is what the far end has said of it.
    """

    problem: ModelProblem | None = None

    def __init__(self, message: str, *, retryable: bool, public: str = "the connection was lost") -> None:
        super().__init__(message)
        self.message = message
        self.retryable = retryable
        self.public = public


class ToolFailed(VoiceError):
    """A tool said no, is unknown, or ran out of time; the model is told `message` in words, and the call goes on."""

    def __init__(self, message: str, *, kind: str = "tool_execution_error") -> None:
        super().__init__(message)
        self.message = message
        self.kind = kind  # tool_execution_error, protocol_error, http_error, timeout, unknown_tool


class Overloaded(VoiceError):
    """A bound was reached; the call is refused, or ended politely. The message is safe to tell a caller."""
