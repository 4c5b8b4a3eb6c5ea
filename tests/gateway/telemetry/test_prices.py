from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from gateway.agents.files import read_agent
from gateway.config.settings import load_settings
from gateway.config.yaml_lines import read_yaml
from gateway.telemetry.price_file import PriceFileError
from gateway.telemetry.prices import (
    NO_DEPLOYMENT,
    NOT_IN_PROCESS,
    NOT_LISTED,
    NOT_OPENAI,
    PriceBook,
    load_prices,
    transcription_model,
)
from sessions.agent import Agent
from sessions.costs import TranscriptionPrice

OVER = """
version: mine-1
models:
  - provider: openai
    model: gpt-realtime-1.5
    text: {input: 3, cached: 0.30, output: 12}
    audio: {input: 24, cached: 0.30, output: 48}
    source: our contract
    date: 2026-12-01
transcription:
  - {provider: azure, model: whisper-1, deployment: regional, minute: 0.0066, source: our contract, date: 2026-12-01}
deployments:
  voice: {model: gpt-realtime-1.5, kind: datazone}
  near: {model: gpt-realtime, kind: regional}
  ears: {model: gpt-4o-mini-transcribe, kind: global}
  odd: {model: gpt-nobody, kind: global}
  quiet: {model: gpt-realtime-2, kind: global}
"""


def book(tmp_path: Path, over: str = "", **environ: str) -> PriceBook:
    """The prices for an environment, with `over` laid over the gateway's own."""
    if over:
        (tmp_path / "prices.yaml").write_text(over)
        environ["PATCHBAY_PRICES"] = "prices.yaml"
    return load_prices(load_settings(environ, tmp_path))


def an_agent(text: str) -> Agent:
    return read_agent(read_yaml(text).value, "desk", "1")


def audio_input(prices: PriceBook, model: str) -> int | None:
    price = prices.price_of(model)
    return None if price is None else price.audio_input


def test_a_model_is_found_by_its_name_and_by_its_dated_name(tmp_path: Path) -> None:
    prices = book(tmp_path)
    assert prices.version == "2026-12-01"
    assert audio_input(prices, "openai/gpt-realtime-1.5") == 32_000_000_000
    assert audio_input(prices, "openai/gpt-realtime-1.5-2026-02-23") == 32_000_000_000
    assert audio_input(prices, "openai/gpt-realtime-2.1-mini") == 10_000_000_000
    assert prices.price_of("openai/gpt-realtime-9") is None
    assert prices.unknown("openai/gpt-realtime-1.5") is None
    assert prices.unknown("openai/gpt-realtime-9") == NOT_LISTED


def test_what_runs_here_costs_nothing(tmp_path: Path) -> None:
    prices = book(tmp_path)
    for model in ("local/offline", "scripted/scripts/desk.yaml"):
        assert audio_input(prices, model) == 0
        assert prices.unknown(model) is None
        heard = prices.transcription_of(model, "gpt-4o-mini-transcribe")
        assert heard == TranscriptionPrice(text_input=0, audio_input=0, text_output=0, minute=0)


def test_a_local_model_with_an_endpoint_has_no_known_price(tmp_path: Path) -> None:
    prices = book(tmp_path, PATCHBAY_LOCAL__CHAT__BASE_URL="http://127.0.0.1:1/v1", PATCHBAY_LOCAL__CHAT__MODEL="small")
    assert prices.price_of("local/offline") is None
    assert prices.unknown("local/offline") == NOT_IN_PROCESS


def test_another_service_in_the_place_of_openai_has_no_known_price(tmp_path: Path) -> None:
    prices = book(tmp_path, OPENAI_BASE_URL="wss://models.example/v1")
    assert prices.price_of("openai/gpt-realtime-1.5") is None
    assert prices.unknown("openai/gpt-realtime-1.5") == NOT_OPENAI
    assert prices.transcription_of("openai/gpt-realtime-1.5", "whisper-1") is None
    assert prices.unknown_transcription("openai/gpt-realtime-1.5", "whisper-1") == NOT_OPENAI
    over = book(tmp_path, OVER, OPENAI_BASE_URL="wss://models.example/v1")
    assert audio_input(over, "openai/gpt-realtime-1.5") == 24_000_000_000


def test_ones_own_list_is_looked_through_first(tmp_path: Path) -> None:
    prices = book(tmp_path, OVER)
    assert prices.version == "2026-12-01+mine-1"
    assert audio_input(prices, "openai/gpt-realtime-1.5") == 24_000_000_000
    assert audio_input(prices, "openai/gpt-realtime-2") == 32_000_000_000


def test_an_azure_deployment_has_the_price_of_its_model_and_kind(tmp_path: Path) -> None:
    prices = book(tmp_path, OVER)
    assert audio_input(prices, "azure/voice") == 35_200_000_000
    assert audio_input(prices, "azure/near") == 42_240_000_000
    assert prices.price_of("azure/odd") is None
    assert prices.unknown("azure/odd") == NOT_LISTED
    # The name of a deployment is anybody's choice, so nothing is guessed from it.
    assert prices.price_of("azure/gpt-realtime-1.5") is None
    assert prices.unknown("azure/gpt-realtime-1.5") == NO_DEPLOYMENT


def test_a_transcription_model_on_azure_is_a_deployment_or_of_the_kind_of_the_sessions_model(tmp_path: Path) -> None:
    prices = book(tmp_path, OVER)

    def audio(model: str, name: str) -> int | None:
        price = prices.transcription_of(model, name)
        return None if price is None else price.audio_input

    assert audio("azure/voice", "gpt-4o-mini-transcribe") == 3_300_000_000
    assert audio("azure/voice", "ears") == 3_000_000_000
    assert prices.transcription_of("azure/near", "whisper-1") == TranscriptionPrice(minute=6_600_000)
    assert audio("azure/nobody", "gpt-4o-mini-transcribe") is None
    assert audio("openai/gpt-realtime-2", "gpt-4o-mini-transcribe") == 1_250_000_000
    assert prices.transcription_of("openai/gpt-realtime-2", "whisper-1") == TranscriptionPrice(minute=6_000_000)


def test_a_model_of_which_spoken_calls_would_have_no_known_cost_counts_as_unknown(tmp_path: Path) -> None:
    prices = book(tmp_path, OVER)
    assert str(prices.unknown("azure/quiet")).endswith(": audio_input, audio_cached, audio_output")


@pytest.mark.parametrize(
    ("over", "message"),
    [
        ("version: a\nmodels: [{provider: openai, model: x, price: 1}]\n", ":2: models[0].price: is not known here"),
        ("version: a\nmodels:\n  - {provider: openai, model: x, source: s, date: 2026-01-01, text: {input: -1}}\n",
         ":3: models[0].text.input: must not be negative"),
    ],
)  # fmt: skip
def test_a_bad_list_stops_the_start(tmp_path: Path, over: str, message: str) -> None:
    with pytest.raises(PriceFileError) as caught:
        book(tmp_path, over)
    assert str(caught.value).startswith(f"PATCHBAY_PRICES: {tmp_path}/prices.yaml{message}")


def test_a_list_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(PriceFileError, match=r"^PATCHBAY_PRICES: .*none\.yaml: cannot be read: No such file"):
        book(tmp_path, PATCHBAY_PRICES="none.yaml")


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[str, Any]]:
    return [(entry.message, entry.__dict__.get("advice")) for entry in caplog.records]


def test_a_model_without_a_price_is_told_once_for_each_agent_from_the_start_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    prices = book(tmp_path)
    agent = an_agent("model: azure/voice")
    words = "a price of an agent's model is not known, so its spoken calls have no known cost"
    with caplog.at_level(logging.WARNING):
        prices.check(agent)
        assert told(caplog) == []  # the server has not started, and may not
        prices.tell()
        assert told(caplog) == [(words, NO_DEPLOYMENT)]
        prices.check(agent)
        prices.check(an_agent("model: openai/gpt-realtime-2"))
        assert len(told(caplog)) == 1
        prices.check(an_agent("model: openai/gpt-realtime-9"))
    assert told(caplog)[1] == (words, NOT_LISTED)


def test_a_budget_that_ends_no_call_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        prices = book(tmp_path)
        prices.tell()
        prices.check(an_agent("model: openai/gpt-realtime-9\nlimits: {cost_usd: 0.50}"))
    assert told(caplog)[1] == (
        "an agent has a budget, but what its calls cost is not known: it may end none of them",
        NOT_LISTED,
    )


def test_the_model_that_transcribes_is_the_agents_or_the_default() -> None:
    assert transcription_model(an_agent("model: azure/voice")) == "gpt-4o-mini-transcribe"
    assert transcription_model(an_agent("model: azure/voice\ntranscription: {model: whisper-1}")) == "whisper-1"
