"""The words that figures have for errors and models."""

from __future__ import annotations

from gateway.telemetry.codes import KNOWN_CODES, known_code
from gateway.telemetry.providers import provider_and_model
from sessions.problems import problem_of


def test_codes_that_are_not_known_are_counted_together() -> None:
    assert {known_code(f"code_{number}") for number in range(1000)} == {"other"}
    assert known_code("insufficient_quota") == "insufficient_quota"
    assert all(problem_of(code, None).code == code for code in KNOWN_CODES)


def test_models_have_the_names_of_the_conventions() -> None:
    assert provider_and_model("openai/gpt-realtime") == ("openai", "gpt-realtime")
    assert provider_and_model("azure/a/b") == ("azure.ai.openai", "a/b")
    assert provider_and_model("scripted/scripts/one.yaml") == ("patchbay.scripted", "scripts/one.yaml")
    assert provider_and_model("other/x") == ("other", "x")
