"""Prices for calls without a gateway: a token of text costs one nano-dollar, and a minute of `test/timed` 600."""

from __future__ import annotations

from sessions.costs import ModelPrice, TranscriptionPrice

A_TOKEN = 1_000_000  # for 1,000,000 of them


class PaidPrices:
    """The prices of `test/tokens` and `test/timed`, and of every transcription."""

    version = "test"

    def price_of(self, model: str) -> ModelPrice | None:
        if model == "test/timed":
            return ModelPrice(active_minute=600)
        return ModelPrice(text_input=A_TOKEN, text_output=A_TOKEN) if model == "test/tokens" else None

    def transcription_of(self, model: str, name: str) -> TranscriptionPrice | None:
        return TranscriptionPrice(text_output=A_TOKEN)
