"""The settings of traces, from each source, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config.settings import Settings, SettingsError, load_settings
from gateway.telemetry.spans.policy import Shape, TelemetryPolicy
from sessions.agent import TelemetryContent


def load(folder: Path, text: str = "", environ: dict[str, str] | None = None) -> Settings:
    (folder / "patchbay.yaml").write_text(text)
    return load_settings(environ or {}, folder)


def refused(folder: Path, text: str = "", environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(folder, text, environ)
    return str(caught.value).replace(f"{folder}/", "").splitlines()


def test_nothing_of_a_calls_words_leaves_by_default() -> None:
    assert Settings().telemetry.policy() == TelemetryPolicy()
    assert TelemetryPolicy().content is TelemetryContent.NONE


def test_the_policy_is_as_set(tmp_path: Path) -> None:
    text = """telemetry:
  trace: call
  content: text
  slow_ms: 900
  redact: ['customer [0-9]{6}', 'a{1,3},b']
"""
    telemetry = load(tmp_path, text, {"PATCHBAY_TELEMETRY__RATIO": "0.5"}).telemetry
    agents, transports = {"harbour": TelemetryContent.NONE}, {"bookings": "pipe"}
    assert telemetry.policy(environment="e", release="r", agents=agents, transports=transports) == TelemetryPolicy(
        Shape.CALL, TelemetryContent.TEXT, 0.5, 900, ("customer [0-9]{6}", "a{1,3},b"), "e", "r", agents, transports
    )


def test_in_the_environment_patterns_have_a_line_each(tmp_path: Path) -> None:
    settings = load(tmp_path, "", {"PATCHBAY_TELEMETRY__REDACT": "a{1,3},b\n\n c d \n"})
    assert settings.telemetry.redact == ("a{1,3},b", "c d")


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("telemetry: {content: all}", ["patchbay.yaml:1: telemetry.content: must be 'none', 'text' or 'audio'"]),
        ("telemetry: {trace: session}", ["patchbay.yaml:1: telemetry.trace: must be 'turn' or 'call'"]),
        ("telemetry: {ratio: 2}", ["patchbay.yaml:1: telemetry.ratio: must be less than or equal to 1"]),
        ("telemetry: {slow_ms: -1}", ["patchbay.yaml:1: telemetry.slow_ms: must be greater than or equal to 0"]),
        ("telemetry: {traces: turn}", ["patchbay.yaml:1: telemetry.traces: there is no such setting; take it out"]),
    ],
)
def test_wrong_values_are_refused_with_their_place(tmp_path: Path, text: str, lines: list[str]) -> None:
    assert refused(tmp_path, text) == lines


@pytest.mark.parametrize("word", ["true", "on", ".nan", ".inf"])
def test_a_ratio_is_a_number(tmp_path: Path, word: str) -> None:
    (line,) = refused(tmp_path, f"telemetry: {{ratio: {word}}}")
    assert line.startswith("patchbay.yaml:1: telemetry.ratio: must be a")


def test_a_bad_pattern_is_refused_with_its_place_its_number_and_what_to_do(tmp_path: Path) -> None:
    (line,) = refused(tmp_path, "telemetry:\n  redact: ['a', '(a+)+b', '(']\n")
    assert line.startswith(
        "patchbay.yaml:2: telemetry.redact: pattern 2: could take exponential time; write it so that each text can be "
    )
    assert "; pattern 3: is no regular expression of Python's: missing )" in line
    (line,) = refused(tmp_path, "", {"PATCHBAY_TELEMETRY__REDACT": "(a+)+b"})
    assert line.startswith("PATCHBAY_TELEMETRY__REDACT: pattern 1: could take exponential time; ")
    (line,) = refused(tmp_path, "", {"PATCHBAY_TELEMETRY__REDACT": '["sk-[a-z]+"]'})
    assert line.startswith("PATCHBAY_TELEMETRY__REDACT: is a list written as JSON; write one pattern a line")
    many = "\n".join(f"a{at}" for at in range(51))
    (line,) = refused(tmp_path, "", {"PATCHBAY_TELEMETRY__REDACT": many})
    assert line.startswith("PATCHBAY_TELEMETRY__REDACT: ")


@pytest.mark.parametrize("user", ["u:pw", "u", ":pw"])
def test_a_link_to_a_trace_holds_no_user_name(tmp_path: Path, user: str) -> None:
    (told,) = refused(tmp_path, "", {"PATCHBAY_TRACE_URL": f"https://{user}@x.example/{{trace_id}}"})
    assert told == "PATCHBAY_TRACE_URL: must hold no user name or password; the API shows this link"
