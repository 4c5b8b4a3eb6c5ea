"""Calls whose costs were computed by hand, from the prices in `PRICE`, `MINI` and the others below."""

from __future__ import annotations

import pytest

from sessions.costs import (
    UNPRICED,
    ModelPrice,
    TranscriptionPrice,
    add_costs,
    cached_parts,
    cost_of,
    cost_of_transcription,
)
from sessions.usage import TokenUsage, TranscriptionUsage, add_usage

USD = 1_000_000_000
# In dollars for 1,000,000 tokens: text 4 / 0.40 / 24, audio 32 / 0.40 / 64, images 5 / 0.50.
PRICE = ModelPrice(
    text_input=4 * USD,
    text_cached=USD * 4 // 10,
    text_output=24 * USD,
    audio_input=32 * USD,
    audio_cached=USD * 4 // 10,
    audio_output=64 * USD,
    image_input=5 * USD,
    image_cached=USD // 2,
)
# Text 0.60 / 0.06 / 2.40, audio 10 / 0.30 / 20.
MINI = ModelPrice(
    text_input=600_000_000,
    text_cached=60_000_000,
    text_output=2_400_000_000,
    audio_input=10 * USD,
    audio_cached=300_000_000,
    audio_output=20 * USD,
)
BY_TIME = ModelPrice(active_minute=50_000_000, standby_minute=20_000_000)  # 0.05 and 0.02 dollars a minute
BY_TOKEN = TranscriptionPrice(text_input=1_250_000_000, audio_input=3 * USD, text_output=5 * USD)
BY_MINUTE = TranscriptionPrice(minute=6_000_000)


# One call a line: what it used, its price, and its cost in nano-dollars as computed by hand.
CALLS = [
    pytest.param(
        # 1,000 x 4,000 + 200 x 24,000 + 600 x 32,000 + 900 x 64,000 nano-dollars
        TokenUsage(input_text=1000, output_text=200, input_audio=600, output_audio=900),
        PRICE,
        4_000_000 + 4_800_000 + 19_200_000 + 57_600_000,
        id="text and audio",
    ),
    pytest.param(
        # 256 of 313 text tokens and 384 of 476 audio tokens are cached:
        # 57 x 4,000 + 256 x 400 + 92 x 32,000 + 384 x 400
        TokenUsage(
            input_text=313,
            input_audio=476,
            input_cached=640,
            cached_text=256,
            cached_audio=384,
            output_text=9,
            output_audio=23,
        ),
        PRICE,
        228_000 + 102_400 + 2_944_000 + 153_600 + 216_000 + 1_472_000,
        id="cached audio",
    ),
    pytest.param(
        # Of 1,000 image tokens 300 are cached: 700 x 5,000 + 300 x 500, and 10 x 24,000 of text
        TokenUsage(input_image=1000, input_cached=300, cached_image=300, output_text=10),
        PRICE,
        3_500_000 + 150_000 + 240_000,
        id="image",
    ),
    pytest.param(
        # 500 of 620 text tokens are reasoning, which costs what text costs: 620 x 24,000
        TokenUsage(output_text=620, output_reasoning=500),
        PRICE,
        14_880_000,
        id="reasoning",
    ),
    pytest.param(
        # Reasoning with a price of its own, 10 dollars: 120 x 24,000 + 500 x 10,000
        TokenUsage(output_text=620, output_reasoning=500),
        ModelPrice(text_output=24 * USD, reasoning=10 * USD),
        2_880_000 + 5_000_000,
        id="reasoning with its own price",
    ),
    pytest.param(
        # 700 cached tokens, not told apart: all 500 of text, 200 of audio.
        # 500 x 60 + 100 x 10,000 + 200 x 300 + 50 x 20,000
        TokenUsage(input_text=500, input_audio=300, input_cached=700, output_audio=50),
        MINI,
        30_000 + 1_000_000 + 60_000 + 1_000_000,
        id="a total of cached tokens only",
    ),
    pytest.param(
        # 100 s active, 45 s standby: 100/60 x 50,000,000 + 45/60 x 20,000,000 = 83,333,333.3 + 15,000,000
        TokenUsage(active_ms=100_000, standby_ms=45_000),
        BY_TIME,
        98_333_333,
        id="by the minute, active and standby",
    ),
    pytest.param(
        # 1 ms: 50,000,000 / 60,000 = 833.3
        TokenUsage(active_ms=1),
        BY_TIME,
        833,
        id="one millisecond",
    ),
    pytest.param(
        # Half a nano-dollar is rounded up: 1 token at 500,000 nano-dollars for a million
        TokenUsage(input_text=1),
        ModelPrice(text_input=500_000),
        1,
        id="half up",
    ),
    pytest.param(
        # Three parts of a quarter each are rounded once: 0.75, not three times 0
        TokenUsage(input_text=1, input_audio=1, output_text=1),
        ModelPrice(text_input=250_000, audio_input=250_000, text_output=250_000),
        1,
        id="rounded once",
    ),
    pytest.param(TokenUsage(), PRICE, 0, id="nothing used"),
    pytest.param(TokenUsage(input_audio=9_999, output_text=5), ModelPrice(audio_input=0, text_output=0), 0, id="free"),
]


@pytest.mark.parametrize(("usage", "price", "nano"), CALLS)
def test_a_response_costs_what_was_computed_by_hand(usage: TokenUsage, price: ModelPrice, nano: int) -> None:
    assert cost_of(usage, price) == nano


def test_a_call_on_two_models_costs_the_sum_at_the_price_of_each() -> None:
    # The call rolls over to a smaller model: 200 x 32,000 + 100 x 64,000, then 200 x 10,000 + 100 x 20,000.
    spoken = TokenUsage(input_audio=200, output_audio=100)
    costs = [cost_of(spoken, PRICE), cost_of(spoken, MINI)]
    assert costs == [12_800_000, 4_000_000]
    assert add_costs(costs) == 16_800_000
    assert add_costs([*costs, None]) is None
    assert add_costs([]) == 0


@pytest.mark.parametrize(
    ("usage", "price", "nano"),
    [
        # 14 x 1,250 + 320 x 3,000 + 21 x 5,000
        (TranscriptionUsage("gpt-4o-mini-transcribe", 14, 320, 21), BY_TOKEN, 17_500 + 960_000 + 105_000),
        # 4,250 ms at 0.006 dollars a minute: 425,000
        (TranscriptionUsage("whisper-1", audio_ms=4_250), BY_MINUTE, 425_000),
        (TranscriptionUsage("whisper-1"), BY_MINUTE, 0),
        (TranscriptionUsage("whisper-1", audio_ms=1), BY_TOKEN, None),
        (TranscriptionUsage("gpt-4o-mini-transcribe", 14, 320, 21), BY_MINUTE, None),
        (TranscriptionUsage("whisper-1"), None, None),
        (None, BY_MINUTE, None),
    ],
)
def test_a_transcription_costs_what_was_computed_by_hand(
    usage: TranscriptionUsage | None, price: TranscriptionPrice | None, nano: int | None
) -> None:
    assert cost_of_transcription(usage, price) == nano


@pytest.mark.parametrize(
    ("usage", "price"),
    [
        pytest.param(TokenUsage(input_text=5), None, id="no price"),
        pytest.param(TokenUsage(), None, id="no price, and nothing used"),
        pytest.param(None, PRICE, id="usage not reported"),
        pytest.param(TokenUsage(input_image=1), MINI, id="an image, whose price is missing"),
        pytest.param(TokenUsage(active_ms=1), PRICE, id="time, whose price is missing"),
        pytest.param(
            TokenUsage(input_text=5, cached_text=1, input_cached=1), ModelPrice(text_input=1), id="no price when cached"
        ),
        pytest.param(TokenUsage(output_text=5, output_reasoning=5), ModelPrice(text_input=1), id="reasoning"),
    ],
)
def test_an_unknown_cost_is_never_0(usage: TokenUsage | None, price: ModelPrice | None) -> None:
    assert cost_of(usage, price) is None


def test_a_price_that_is_missing_does_not_matter_where_nothing_was_used() -> None:
    assert cost_of(TokenUsage(input_text=1_000_000), ModelPrice(text_input=7)) == 7


@pytest.mark.parametrize(
    ("usage", "parts"),
    [
        (TokenUsage(input_text=10, input_audio=20, input_image=30, input_cached=5), (5, 0, 0)),
        (TokenUsage(input_text=10, input_audio=20, input_image=30, input_cached=25), (10, 15, 0)),
        (TokenUsage(input_text=10, input_audio=20, input_image=30, input_cached=59), (10, 20, 29)),
        (TokenUsage(input_text=10, input_audio=20, input_image=30, input_cached=999), (10, 20, 30)),
        # A part is told by kind, the rest is not.
        (TokenUsage(input_text=10, input_audio=20, input_cached=12, cached_audio=8), (4, 8, 0)),
        # More by kind than there is input: a model that counts wrongly makes no negative cost.
        (TokenUsage(input_text=10, input_cached=12, cached_text=12), (10, 0, 0)),
        (TokenUsage(input_text=10, cached_text=3), (3, 0, 0)),
    ],
)
def test_cached_tokens_are_spread_over_text_then_audio_then_images(
    usage: TokenUsage, parts: tuple[int, int, int]
) -> None:
    assert cached_parts(usage) == parts


def test_reasoning_is_never_more_than_the_text() -> None:
    assert cost_of(TokenUsage(output_text=5, output_reasoning=9), ModelPrice(text_output=10**6)) == 5


def test_no_price_is_known_without_a_price_list() -> None:
    assert UNPRICED.version == ""
    assert UNPRICED.price_of("openai/gpt-realtime") is None
    assert UNPRICED.transcription_of("openai/gpt-realtime", "whisper-1") is None


def test_the_largest_call_stays_exact() -> None:
    usage = add_usage(TokenUsage(input_audio=10**12), TokenUsage(input_audio=1))
    assert cost_of(usage, PRICE) == 32_000 * (10**12 + 1)


def test_what_is_free_costs_nothing_even_if_its_usage_is_not_reported() -> None:
    free = ModelPrice(text_input=0, text_cached=0, text_output=0, audio_input=0, audio_cached=0, audio_output=0)
    assert cost_of(None, free) == 0
    assert cost_of(TokenUsage(input_image=9), free) == 0


def test_a_model_sold_by_time_that_reports_no_time_has_an_unknown_cost() -> None:
    assert cost_of(TokenUsage(output_text=50), BY_TIME) is None
    assert cost_of(TokenUsage(), BY_TIME) is None
