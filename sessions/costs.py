"""What a response, or a transcription, costs: its usage times a model's prices, in whole nano-dollars.

Parts are contained in their totals (`sessions/usage.py`), so each part is taken out of its total before it is priced: a
cached token costs the cached price alone, a reasoning token the reasoning price alone. The sum is exact and is rounded
once, half up. A cost that cannot be known is None, and never 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter
from typing import Protocol

from sessions.usage import TokenUsage, TranscriptionUsage

# All products are added up in this part of a nano-dollar: prices are those of 1,000,000 tokens, and of 60,000 ms.
PARTS = 3_000_000
_PER_TOKEN = PARTS // 1_000_000
_PER_MS = PARTS // 60_000


@dataclass(frozen=True, slots=True)
class ModelPrice:
    """A model's prices in nano-dollars: of 1,000,000 tokens of each kind, and of a minute. None: not known.

    `reasoning` None means that reasoning costs what other text output costs.
    """

    text_input: int | None = None
    text_cached: int | None = None
    text_output: int | None = None
    audio_input: int | None = None
    audio_cached: int | None = None
    audio_output: int | None = None
    image_input: int | None = None
    image_cached: int | None = None
    reasoning: int | None = None
    active_minute: int | None = None
    standby_minute: int | None = None

    @property
    def is_free(self) -> bool:
        """Whether nothing costs anything, as with a model in this process."""
        return not any(_PRICES(self)) and self.text_input is not None and self.audio_input is not None

    @property
    def is_timed(self) -> bool:
        """Whether the model is sold by time alone."""
        return self.active_minute is not None and self.text_input is None and self.audio_input is None


_PRICES = attrgetter(*ModelPrice.__slots__)


@dataclass(frozen=True, slots=True)
class TranscriptionPrice:
    """A transcription model's prices in nano-dollars: of 1,000,000 tokens of each kind, and of a minute of sound."""

    text_input: int | None = None
    audio_input: int | None = None
    text_output: int | None = None
    minute: int | None = None


class Pricing(Protocol):
    """Knows the prices for the calls of this process. Models are named `KIND/NAME`, as an agent's file names them."""

    @property
    def version(self) -> str:
        """The version of the price list, "" for none."""
        ...

    def price_of(self, model: str) -> ModelPrice | None:
        """A model's prices; None where they are not known."""
        ...

    def transcription_of(self, model: str, name: str) -> TranscriptionPrice | None:
        """The prices of the transcription model `name` in a session of `model`; None where they are not known."""
        ...


class Unpriced:
    """No price is known."""

    version = ""

    def price_of(self, model: str) -> ModelPrice | None:
        """None for every model."""
        return None

    def transcription_of(self, model: str, name: str) -> TranscriptionPrice | None:
        """None for every model."""
        return None


UNPRICED = Unpriced()


def cost_of(usage: TokenUsage | None, price: ModelPrice | None) -> int | None:
    """What a response with this usage costs.

    None if its usage was not reported, if there is no price, and if something was used of which the price is missing.
    What is free costs nothing, whatever was used.
    """
    if price is not None and price.is_free:
        return 0
    if usage is None or price is None or (price.is_timed and not (usage.active_ms or usage.standby_ms)):
        return None
    text, audio, image = cached_parts(usage)
    reasoning = min(usage.output_reasoning, usage.output_text)
    return _sum(
        (
            (usage.input_text - text, price.text_input, _PER_TOKEN),
            (text, price.text_cached, _PER_TOKEN),
            (usage.input_audio - audio, price.audio_input, _PER_TOKEN),
            (audio, price.audio_cached, _PER_TOKEN),
            (usage.input_image - image, price.image_input, _PER_TOKEN),
            (image, price.image_cached, _PER_TOKEN),
            (usage.output_text - reasoning, price.text_output, _PER_TOKEN),
            (reasoning, price.text_output if price.reasoning is None else price.reasoning, _PER_TOKEN),
            (usage.output_audio, price.audio_output, _PER_TOKEN),
            (usage.active_ms, price.active_minute, _PER_MS),
            (usage.standby_ms, price.standby_minute, _PER_MS),
        )
    )


def cost_of_transcription(usage: TranscriptionUsage | None, price: TranscriptionPrice | None) -> int | None:
    """What a transcription with this usage costs; None as for `cost_of`."""
    if usage is None or price is None:
        return None
    return _sum(
        (
            (usage.input_text, price.text_input, _PER_TOKEN),
            (usage.input_audio, price.audio_input, _PER_TOKEN),
            (usage.output_text, price.text_output, _PER_TOKEN),
            (usage.audio_ms, price.minute, _PER_MS),
        )
    )


def cached_parts(usage: TokenUsage) -> tuple[int, int, int]:
    """The cached tokens of text, audio and image; of each kind never more than its input.

    Cached tokens that the model does not count by kind are spread: first over text, then audio, then image.
    """
    text = min(usage.cached_text, usage.input_text)
    audio = min(usage.cached_audio, usage.input_audio)
    image = min(usage.cached_image, usage.input_image)
    rest = max(usage.input_cached - usage.cached_text - usage.cached_audio - usage.cached_image, 0)
    more_text = min(rest, usage.input_text - text)
    more_audio = min(rest - more_text, usage.input_audio - audio)
    more_image = min(rest - more_text - more_audio, usage.input_image - image)
    return text + more_text, audio + more_audio, image + more_image


def add_costs(costs: Iterable[int | None]) -> int | None:
    """The sum; None if one of them is not known."""
    total = 0
    for cost in costs:
        if cost is None:
            return None
        total += cost
    return total


def _sum(products: Iterable[tuple[int, int | None, int]]) -> int | None:
    total = 0
    for count, price, parts in products:
        if count <= 0:
            continue
        if price is None:
            return None
        total += count * price * parts
    return (2 * total + PARTS) // (2 * PARTS)
