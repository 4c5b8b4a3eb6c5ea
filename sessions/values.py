"""Plain values that several events and commands carry."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sessions.ports import JsonObject


@dataclass(frozen=True, slots=True)
class Wire:
    """A message as it came: its bytes, and what its codec read in it.

    Only a leg of the same dialect may look into it or send it on; every other leg writes its own message from the
    fields of the event or command that carries it.
    """

    dialect: str  # "realtime"
    text: bytes
    parsed: JsonObject


@dataclass(frozen=True, slots=True)
class ModelSession:
    """What a model says of its session: the session's id there, and the name of the model that serves it."""

    session_id: str | None
    model: str | None


class ItemKind(StrEnum):
    """Says what an item of the conversation is."""

    MESSAGE = "message"
    TOOL_CALL = "tool_call"
    OTHER = "other"


class Outcome(StrEnum):
    """Says how a response ended."""

    COMPLETED = "completed"
    CANCELLED = "cancelled"
    INCOMPLETE = "incomplete"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ResponseRequest:
    """Holds a request for a response. Errors of the model's about it name `request_id`."""

    request_id: str
    out_of_band: bool  # beside the conversation: it is sent at once
    metadata: JsonObject | None
    say: str | None  # the text that is to be spoken, word for word
    wire: Wire | None  # the client's own message, with the fields that a client may set
