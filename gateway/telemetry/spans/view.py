"""Reads the documents of a call for its spans, and keeps what all its spans have in common."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from gateway.telemetry.spans import names
from gateway.telemetry.spans.bounds import value
from gateway.telemetry.spans.span import Attribute
from gateway.telemetry.spans.words import has_words, result_bytes_of
from sessions.accounts import ModelTarget
from sessions.record import Turn
from sessions.stores.contract import Document
from sessions.stores.documents import (
    SessionRecord,
    SessionState,
    session_from_document,
    turn_from_document,
)

_PROVIDERS = {
    "openai": "openai",
    "gpt-live": "openai",
    "azure": "azure.ai.openai",
    "voice-live": "azure.ai.voice_live",
    "local": "patchbay.local",
    "scripted": "patchbay.scripted",
}
_IN_PROCESS = ("local", "scripted")
_NS_IN_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class ModelName:
    """A model as the conventions name it: its provider and its name."""

    provider: str
    name: str
    in_process: bool

    @classmethod
    def of(cls, model: str) -> ModelName:
        """From `KIND/NAME`."""
        kind, _, name = model.partition("/")
        return cls(_PROVIDERS.get(kind, value(kind)), value(name or kind), kind in _IN_PROCESS)


@dataclass(frozen=True)
class CallView:
    """One call, as far as its session's document tells."""

    record: SessionRecord
    has_words: bool

    @classmethod
    def of(cls, document: Document) -> CallView:
        """Read a session's document. Raises BadDocument."""
        return cls(session_from_document(document), has_words(document))

    @property
    def session_id(self) -> str:
        """The session's id, whole."""
        return self.record.session_id

    @property
    def over(self) -> bool:
        """Whether the call has ended."""
        return self.record.state is SessionState.ENDED

    @cached_property
    def begin_ns(self) -> int:
        """When the call began. Whole microseconds: a float has no more."""
        return round(self.record.started_at * 1_000_000) * 1_000

    def ns(self, at_ms: int) -> int:
        """A time of the record in Unix nanoseconds."""
        return self.begin_ns + at_ms * _NS_IN_MS

    @cached_property
    def common(self) -> dict[str, Attribute]:
        """The attributes that every span of the call has."""
        record = self.record
        return {
            names.SESSION_ID: value(record.session_id),
            names.AGENT_NAME: value(record.agent),
            names.AGENT_VERSION: value(record.agent_version),
            names.TENANT: value(record.tenant),
            names.PROTOCOL: value(record.protocol),
        }

    @cached_property
    def common_of_turns(self) -> dict[str, Attribute]:
        """The attributes that every span of a turn has: readers group turns by them."""
        session_id = value(self.record.session_id)
        return {**self.common, names.READERS_SESSION_ID: session_id, names.CONVERSATION_ID: session_id}

    def target_of(self, leg: int) -> ModelTarget:
        """The model that a leg was dialled to; the call's own model where the dial is not in the record."""
        dials = self.record.dials
        known = dials[leg].target if 0 <= leg < len(dials) else None
        return known if known is not None and known.model else ModelTarget(self.record.model)

    @cached_property
    def model(self) -> ModelName:
        """The call's model."""
        return ModelName.of(self.record.model)


@dataclass(frozen=True, slots=True)
class TurnView:
    """One turn. `result_bytes` has the size of each tool's result by the place of its entry."""

    turn: Turn
    has_words: bool
    result_bytes: dict[int, int]

    @classmethod
    def of(cls, document: Document) -> TurnView:
        """Read a turn's document. Raises BadDocument."""
        return cls(turn_from_document(document), has_words(document), result_bytes_of(document))
