"""What a model's answers cost, in tokens as the model counts them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Counts the tokens of one response, or of several."""

    input_text: int = 0
    input_audio: int = 0
    input_image: int = 0
    input_cached: int = 0
    output_text: int = 0
    output_audio: int = 0


def add_usage(left: TokenUsage, right: TokenUsage) -> TokenUsage:
    """The sum of two counts."""
    return TokenUsage(
        input_text=left.input_text + right.input_text,
        input_audio=left.input_audio + right.input_audio,
        input_image=left.input_image + right.input_image,
        input_cached=left.input_cached + right.input_cached,
        output_text=left.output_text + right.output_text,
        output_audio=left.output_audio + right.output_audio,
    )
