"""What a model's answers use: tokens as the model counts them, or time, for models that are sold by time."""

from __future__ import annotations

from dataclasses import dataclass, fields
from operator import attrgetter


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Counts what one response used, or several.

    Parts are contained in their totals: the cached counts in the input of their kind, `output_reasoning` in
    `output_text`. `input_cached` is all cached input, also of a model that does not count it by kind.
    """

    input_text: int = 0
    input_audio: int = 0
    input_image: int = 0
    input_cached: int = 0
    output_text: int = 0
    output_audio: int = 0
    cached_text: int = 0
    cached_audio: int = 0
    cached_image: int = 0
    output_reasoning: int = 0
    active_ms: int = 0  # of a model that is sold by time
    standby_ms: int = 0


USAGE_COUNTS = tuple(field.name for field in fields(TokenUsage))
usage_values = attrgetter(*USAGE_COUNTS)


def add_usage(left: TokenUsage, right: TokenUsage) -> TokenUsage:
    """The sum of two counts."""
    return TokenUsage(*(one + other for one, other in zip(usage_values(left), usage_values(right), strict=True)))


@dataclass(frozen=True, slots=True)
class TranscriptionUsage:
    """Counts what the transcription model used, for one item of the caller or for several.

    `model` is the name that was asked for, "" where none is known. `audio_ms` is set by models that are sold by time.
    """

    model: str
    input_text: int = 0
    input_audio: int = 0
    output_text: int = 0
    audio_ms: int = 0


TRANSCRIPTION_COUNTS = tuple(field.name for field in fields(TranscriptionUsage) if field.name != "model")
_transcription_values = attrgetter(*TRANSCRIPTION_COUNTS)


def add_transcription(left: TranscriptionUsage, right: TranscriptionUsage) -> TranscriptionUsage:
    """The sum of two counts of the same model."""
    pairs = zip(_transcription_values(left), _transcription_values(right), strict=True)
    return TranscriptionUsage(left.model, *(one + other for one, other in pairs))
