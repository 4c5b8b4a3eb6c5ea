"""Counts what a call's sums have grown by since they were looked at last: sound, tokens, money."""

from __future__ import annotations

from gateway.telemetry.figures import Figures
from gateway.telemetry.names import AUDIO, CACHED_TOKENS, COST, INPUT_TOKENS, OUTPUT_TOKENS, Family
from gateway.telemetry.providers import REALTIME_INFERENCE, provider_and_model
from sessions.record import CallSummary
from sessions.usage import TokenUsage

_NANO = 1_000_000_000
# Of cached input that the model does not count by kind.
UNKNOWN = "unknown"


def _tokens(usage: TokenUsage) -> tuple[tuple[Family, str, int], ...]:
    """The token counts that are shown, by modality."""
    known = usage.cached_text + usage.cached_audio + usage.cached_image
    return (
        (INPUT_TOKENS, "text", usage.input_text),
        (INPUT_TOKENS, "audio", usage.input_audio),
        (INPUT_TOKENS, "image", usage.input_image),
        (OUTPUT_TOKENS, "text", usage.output_text),
        (OUTPUT_TOKENS, "audio", usage.output_audio),
        (CACHED_TOKENS, "text", usage.cached_text),
        (CACHED_TOKENS, "audio", usage.cached_audio),
        (CACHED_TOKENS, "image", usage.cached_image),
        (CACHED_TOKENS, UNKNOWN, max(0, usage.input_cached - known)),
    )


class CallSums:
    """Counts the growth of one call's sums; a counter never goes down."""

    __slots__ = ("_agent", "_carried_ms", "_cost_nano", "_dropped_ms", "_figures", "_model", "_tokens")

    def __init__(self, figures: Figures, agent: str, model: str) -> None:
        self._figures = figures
        self._agent = agent
        self._model = model
        self._carried_ms = 0
        self._dropped_ms = 0
        self._cost_nano = 0
        self._tokens = [0] * len(_tokens(TokenUsage()))

    def take(self, summary: CallSummary) -> None:
        """Count what is new in the sums."""
        self._take_sound(summary)
        self._take_tokens(summary.usage)
        cost_nano = summary.cost_nano
        if cost_nano is not None and cost_nano > self._cost_nano:
            self._figures.add(COST, self._agent, self._model, by=(cost_nano - self._cost_nano) / _NANO)
            self._cost_nano = cost_nano

    def _take_sound(self, summary: CallSummary) -> None:
        dropped_ms = max(self._dropped_ms, summary.dropped_audio_ms)
        carried_ms = max(self._carried_ms, summary.caller_audio_ms - dropped_ms)
        self._figures.add(AUDIO, "caller", "carried", by=(carried_ms - self._carried_ms) / 1000)
        self._figures.add(AUDIO, "caller", "dropped", by=(dropped_ms - self._dropped_ms) / 1000)
        self._carried_ms, self._dropped_ms = carried_ms, dropped_ms

    def _take_tokens(self, usage: TokenUsage) -> None:
        provider, model = provider_and_model(self._model)
        for place, (family, modality, count) in enumerate(_tokens(usage)):
            more = count - self._tokens[place]
            if more > 0:
                self._figures.add(family, REALTIME_INFERENCE, provider, model, modality, by=more)
                self._tokens[place] = count
