from __future__ import annotations

from pathlib import Path

import pytest

from gateway.telemetry.price_file import OWN_FILE, Deployment, Kind, PriceFileError, read_price_file
from sessions.costs import ModelPrice, TranscriptionPrice

GOOD = """\
version: mine-1
models:
  - provider: openai
    model: gpt-realtime-9
    text: {input: 0.1, cached: .01, output: 0.2}
    audio: {input: 32, cached: 0.40, output: 64.000000001}
    reasoning: 3
    minute: {active: 0.05, standby: 0.02}
    source: https://prices.example
    date: 2026-12-01
transcription:
  - provider: azure
    model: [whisper-1, "whisper-2*"]
    deployment: regional
    minute: 0.0066
    source: our contract
    date: 2026-12-01
deployments:
  voice: {model: gpt-realtime-1.5, kind: datazone}
"""


def read(tmp_path: Path, text: str) -> str:
    """The message about a bad file, without the folder."""
    path = tmp_path / "prices.yaml"
    path.write_text(text)
    with pytest.raises(PriceFileError) as caught:
        read_price_file(path)
    return str(caught.value).replace(f"{tmp_path}/", "")


def test_figures_are_read_exactly(tmp_path: Path) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text(GOOD)
    file = read_price_file(path)
    assert file.version == "mine-1"
    (model,), (transcription,) = file.models, file.transcription
    assert model.price == ModelPrice(
        text_input=100_000_000,
        text_cached=10_000_000,
        text_output=200_000_000,
        audio_input=32_000_000_000,
        audio_cached=400_000_000,
        audio_output=64_000_000_001,
        reasoning=3_000_000_000,
        active_minute=50_000_000,
        standby_minute=20_000_000,
    )
    assert (model.source, model.date) == ("https://prices.example", "2026-12-01")
    assert transcription.price == TranscriptionPrice(minute=6_600_000)
    assert transcription.fits("azure", "whisper-2-large", Kind.REGIONAL)
    assert not transcription.fits("azure", "whisper-2-large", Kind.GLOBAL)
    assert not transcription.fits("openai", "whisper-1", None)
    assert file.deployments == {"voice": Deployment("gpt-realtime-1.5", Kind.DATAZONE)}


@pytest.mark.parametrize("pattern", ["gpt-[45]*", "[!]a]", "[]]", "[[]", "a[1]b[2]"])
def test_whole_brackets_are_a_pattern(tmp_path: Path, pattern: str) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text(GOOD.replace("model: gpt-realtime-9", f'model: "{pattern}"'))
    assert read_price_file(path).models[0].patterns == (pattern,)


def test_the_gateways_own_list_can_be_read_and_names_a_page_for_each_price() -> None:
    file = read_price_file(OWN_FILE)
    assert {entry.provider for entry in file.models} == {"openai", "azure", "local", "scripted"}
    for entry in (*file.models, *file.transcription):
        assert entry.source.startswith("https://") or entry.provider in ("local", "scripted")
    assert not file.deployments


@pytest.mark.parametrize(
    ("old", "new", "place", "why"),
    [
        ("0.40", "-0.40", "6 models[0].audio.cached", "must not be negative; it must be from 0 to 1000000 dollars"),
        ("0.40", '"0.40"', "6 models[0].audio.cached", "must be a number from 0 to 1000000 dollars"),
        ("0.40", ".nan", "6 models[0].audio.cached", "must be a number from 0 to"),
        ("0.40", ".inf", "6 models[0].audio.cached", "must be a number from 0 to"),
        ("0.40", "true", "6 models[0].audio.cached", "must be a number from 0 to"),
        ("0.40", "[1]", "6 models[0].audio.cached", "must be a number from 0 to"),
        (
            "0.40",
            "1.0e-3",
            "6 models[0].audio.cached",
            "must be a plain number from 0 to 1000000 dollars, with at most",
        ),
        ("0.40", "0.1234567891", "6 models[0].audio.cached", "must be a plain number from 0 to"),
        ("0.40", "1000001", "6 models[0].audio.cached", "must be from 0 to 1000000 dollars, not 1000001"),
        ("reasoning", "resoning", "7 models[0].resoning", "is not known here; known are"),
        ("cached: .01", "cahced: .01", "5 models[0].text.cahced", "is not known here; known are input, cached, output"),
        ("provider: openai", "provider: acme", "3 models[0].provider", "must be one of openai, azure, local, scripted"),
        ("  - provider: openai\n    model", "  - model", "3 models[0].provider", "is missing; write one of openai"),
        (
            "provider: openai",
            "provider: azure",
            "3 models[0].deployment",
            "is missing; write one of global, datazone, regional",
        ),
        ("provider: azure", "provider: openai", "14 transcription[0].deployment", "belongs to azure; take it out"),
        (
            "deployment: regional",
            "deployment: near",
            "14 transcription[0].deployment",
            "must be one of global, datazone, regional",
        ),
        ("source: our contract", "", "12 transcription[0].source", "is missing; write the address of the page"),
        (
            "    date: 2026-12-01\ntran",
            "    date: yesterday\ntran",
            "10 models[0].date",
            "must be a day such as 2026-12-01",
        ),
        ('[whisper-1, "whisper-2*"]', "[]", "13 transcription[0].model", "is an empty list"),
        ("model: gpt-realtime-9", 'model: "[abc"', "4 models[0].model", "holds a square bracket without its partner"),
        ("model: gpt-realtime-9", "model: gpt-4]", "4 models[0].model", "holds a square bracket without its partner"),
        ("model: gpt-realtime-9", 'model: "[]"', "4 models[0].model", "holds a square bracket without its partner"),
        ('"whisper-2*"', '"[!a"', "13 transcription[0].model[1]", "holds a square bracket without its partner"),
        ("version: mine-1\n", "", "1 version", "is missing; name this list"),
        ("version: mine-1", "version: a b", "1 version", "must be letters, digits"),
        ("kind: datazone", "kind: zone", "19 deployments.voice.kind", "must be one of global, datazone, regional"),
        (", kind: datazone", "", "19 deployments.voice.kind", "is missing; write one of global, datazone, regional"),
        ("model: gpt-realtime-1.5, ", "", "19 deployments.voice.model", "is missing; write the name of the model"),
        ("models:\n", "model:\n", "2 model", "is not known here; known are version"),
        ("minute: 0.0066", "minute: {active: 1}", "15 transcription[0].minute", "must be a number"),
        ("version: mine-1", "version: &a mine", "1 version", "anchors"),
    ],
)
def test_a_bad_list_is_refused_with_its_line_and_what_to_do(
    tmp_path: Path, old: str, new: str, place: str, why: str
) -> None:
    assert old in GOOD
    line, _, field = place.partition(" ")
    assert read(tmp_path, GOOD.replace(old, new, 1)).startswith(f"prices.yaml:{line}: {field}: {why}")


def test_a_list_that_is_no_mapping_is_refused(tmp_path: Path) -> None:
    assert read(tmp_path, "- 1").startswith("prices.yaml:1: a price list holds keys and values")


def test_a_list_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PriceFileError, match=r"none\.yaml: cannot be read: No such file"):
        read_price_file(tmp_path / "none.yaml")
