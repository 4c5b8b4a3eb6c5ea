"""The attributes of what a model has used, and of what it cost."""

from __future__ import annotations

from gateway.telemetry.spans import names
from gateway.telemetry.spans.span import Attribute
from sessions.usage import TokenUsage

NANO = 1_000_000_000
_PARTS = {
    names.INPUT_TEXT_TOKENS: "input_text",
    names.INPUT_AUDIO_TOKENS: "input_audio",
    names.INPUT_IMAGE_TOKENS: "input_image",
    names.OUTPUT_TEXT_TOKENS: "output_text",
    names.OUTPUT_AUDIO_TOKENS: "output_audio",
    names.CACHED_TOKENS: "input_cached",
    names.CACHED_TEXT_TOKENS: "cached_text",
    names.CACHED_AUDIO_TOKENS: "cached_audio",
    names.CACHED_IMAGE_TOKENS: "cached_image",
    names.REASONING_TOKENS: "output_reasoning",
    names.ACTIVE_MS: "active_ms",
    names.STANDBY_MS: "standby_ms",
}


def usage_attributes(usage: TokenUsage | None) -> dict[str, Attribute]:
    """The counts that the model has reported; parts are contained in their totals, and parts of 0 are left out."""
    if usage is None:
        return {}
    parts: dict[str, Attribute] = {name: count for name, field in _PARTS.items() if (count := getattr(usage, field))}
    return {
        names.INPUT_TOKENS: usage.input_text + usage.input_audio + usage.input_image,
        names.OUTPUT_TOKENS: usage.output_text + usage.output_audio,
        **parts,
    }


def cost_attributes(cost_nano: int | None) -> dict[str, Attribute]:
    """What it cost, in dollars; nothing where that is unknown."""
    return {} if cost_nano is None else {names.COST_USD: cost_nano / NANO}


def in_dollars(cost_usd: float) -> str:
    """A cost as a decimal number in whole nano-dollars, without an exponent."""
    nano = round(cost_usd * NANO)
    whole, rest = divmod(nano, NANO)
    return f"{whole}.{rest:09d}".rstrip("0").rstrip(".")
