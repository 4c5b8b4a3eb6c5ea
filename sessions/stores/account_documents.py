"""Turns the account of a call into the fields of its documents and back: responses, speech, dials, use and cost.

Documents of an older Patchbay lack these fields; they are read as empty, and their costs as unknown.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import TypeVar

from sessions.accounts import (
    UNKNOWN_SETUP,
    Dial,
    DialCause,
    LegError,
    ModelTarget,
    ResponseOrigin,
    ResponseUse,
    SetupFacts,
    SpeechStretch,
)
from sessions.ports import JsonObject
from sessions.stores.contract import BadDocument
from sessions.stores.fields import Fields
from sessions.text import well_formed
from sessions.usage import TRANSCRIPTION_COUNTS, USAGE_COUNTS, TokenUsage, TranscriptionUsage, usage_values

AnyWord = TypeVar("AnyWord", bound=StrEnum)
# The counts that an older Patchbay requires.
ALWAYS_WRITTEN = frozenset(USAGE_COUNTS[:6])


def usage_fields(usage: TokenUsage) -> dict[str, int]:
    """The counts of a usage. Those that every Patchbay reads are always there, and the others unless they are 0."""
    return {
        name: count
        for name, count in zip(USAGE_COUNTS, usage_values(usage), strict=True)
        if count or name in ALWAYS_WRITTEN
    }


def some_usage(usage: TokenUsage) -> dict[str, int]:
    """The counts of a usage that are not 0."""
    return {name: count for name, count in zip(USAGE_COUNTS, usage_values(usage), strict=True) if count}


def usage_from(found: Fields) -> TokenUsage:
    """Read counts; those that a document lacks are 0. Raises BadDocument."""
    return TokenUsage(**{name: found.whole(name) for name in USAGE_COUNTS if name in found.values})


def transcription_fields(usage: TranscriptionUsage, cost_nano: int | None) -> JsonObject:
    """What a transcription used, and what it cost."""
    counts = {name: getattr(usage, name) for name in TRANSCRIPTION_COUNTS}
    return {"model": well_formed(usage.model), **counts, "cost_nano": cost_nano}


def transcription_from(found: Fields) -> tuple[TranscriptionUsage, int | None]:
    """Read what a transcription used, and what it cost. Raises BadDocument."""
    counts = {name: found.whole(name) for name in TRANSCRIPTION_COUNTS}
    return TranscriptionUsage(found.text("model"), **counts), found.whole_or_none("cost_nano")


def response_fields(use: ResponseUse) -> JsonObject:
    """The account of a response."""
    return {
        "response_id": well_formed(use.response_id),
        "origin": use.origin.value,
        "leg": use.leg,
        "asked_ms": use.asked_ms,
        "begin_ms": use.begin_ms,
        "first_sound_ms": use.first_sound_ms,
        "end_ms": use.end_ms,
        "outcome": use.outcome,
        "reason": None if use.reason is None else well_formed(use.reason),
        "usage": None if use.usage is None else some_usage(use.usage),
        "cost_nano": use.cost_nano,
    }


def responses_from(turn: Fields) -> list[ResponseUse]:
    """Read the responses of a turn. Raises BadDocument."""
    return [
        ResponseUse(
            response_id=found.text("response_id"),
            origin=word(ResponseOrigin, found, "origin"),
            leg=found.whole("leg"),
            asked_ms=found.whole_or_none("asked_ms"),
            begin_ms=found.whole("begin_ms"),
            first_sound_ms=found.whole_or_none("first_sound_ms"),
            end_ms=found.whole_or_none("end_ms"),
            outcome=found.text_or_none("outcome"),
            reason=found.text_or_none("reason"),
            usage=None if found.values.get("usage") is None else usage_from(found.object("usage")),
            cost_nano=found.whole_or_none("cost_nano"),
        )
        for found in _objects(turn, "responses")
    ]


def speech_fields(speech: Iterable[SpeechStretch]) -> list[JsonObject]:
    """The stretches of the caller's speech."""
    return [{"begin_ms": stretch.begin_ms, "end_ms": stretch.end_ms} for stretch in speech]


def speech_from(turn: Fields) -> list[SpeechStretch]:
    """Read the stretches of the caller's speech. Raises BadDocument."""
    return [SpeechStretch(found.whole("begin_ms"), found.whole_or_none("end_ms")) for found in _objects(turn, "speech")]


def dial_fields(dial: Dial) -> JsonObject:
    """One dial of the model."""
    return {
        "cause": dial.cause.value,
        "attempt": dial.attempt,
        "model": well_formed(dial.target.model),
        "host": dial.target.host,
        "port": dial.target.port,
        "begin_ms": dial.begin_ms,
        "ready_ms": dial.ready_ms,
        "lost_ms": dial.lost_ms,
        "error": None if dial.error is None else dial.error.value,
        "model_session": None if dial.model_session is None else well_formed(dial.model_session),
        "served": None if dial.served is None else well_formed(dial.served),
    }


def dials_from(session: Fields) -> tuple[Dial, ...]:
    """Read the dials of a call. Raises BadDocument."""
    return tuple(
        Dial(
            cause=word(DialCause, found, "cause"),
            attempt=found.whole("attempt"),
            target=ModelTarget(found.text("model"), found.text("host"), found.whole_or_none("port")),
            begin_ms=found.whole("begin_ms"),
            ready_ms=found.whole_or_none("ready_ms"),
            lost_ms=found.whole_or_none("lost_ms"),
            error=None if found.values.get("error") is None else word(LegError, found, "error"),
            model_session=found.text_or_none("model_session"),
            served=found.text_or_none("served"),
        )
        for found in _objects(session, "dials")
    )


def setup_fields(setup: SetupFacts) -> JsonObject:
    """How a call was set up."""
    return {
        "admission_ms": setup.admission_ms,
        "caller_format": setup.caller_format,
        "model_format": setup.model_format,
        "traceparent": setup.traceparent,
    }


def setup_from(session: Fields) -> SetupFacts:
    """Read how a call was set up. Raises BadDocument."""
    if session.values.get("setup") is None:
        return UNKNOWN_SETUP
    found = session.object("setup")
    return SetupFacts(
        found.whole("admission_ms"),
        found.text("caller_format"),
        found.text("model_format"),
        found.text_or_none("traceparent") or "",
    )


def transcriptions_from(summary: Fields) -> tuple[tuple[TranscriptionUsage, int | None], ...]:
    """Read what transcription used, by model. Raises BadDocument."""
    return tuple(transcription_from(found) for found in _objects(summary, "transcriptions"))


def word(kind: type[AnyWord], found: Fields, name: str) -> AnyWord:
    """A word of a closed list. Raises BadDocument."""
    value = found.text(name)
    if value not in set(kind):
        raise BadDocument(f"field {name!r} of a document is not one of {', '.join(kind)}")
    return kind(value)


def _objects(found: Fields, name: str) -> list[Fields]:
    return [] if found.values.get(name) is None else found.objects(name)
