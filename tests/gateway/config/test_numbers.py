from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config.numbers import NumberRoute, Numbers, plain_number
from gateway.config.settings import SettingsError, load_settings

TEXT = """numbers:
  "*": front-desk
  +49 (30) 1234-567: {agent: sales, language: de-DE}
  "100": support
  Lobby: porter
"""
NO_ROUTE = "must be an agent's name, or hold agent and language; put quotes round a name of digits"


def read(folder: Path, text: str = "", environ: dict[str, str] | None = None) -> Numbers:
    (folder / "patchbay.yaml").write_text(text)
    return load_settings(environ or {}, folder).numbers


def refused(folder: Path, text: str = "", environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        read(folder, text, environ)
    return str(caught.value).replace(f"{folder}/", "").splitlines()


@pytest.mark.parametrize(
    ("called", "agent"),
    [
        ("+49301234567", "sales"),
        ("+49 30 1234567", "sales"),
        ("+49-30-1234-567", "sales"),
        ("+49[30]\u00a01234\u2013567", "sales"),
        ("49301234567", "front-desk"),
        ("100", "support"),
        ("LOBBY", "porter"),
        ("+1", "front-desk"),
        ("", "front-desk"),
        (None, "front-desk"),
    ],
)
def test_the_number_itself_comes_first_and_then_the_star(tmp_path: Path, called: str | None, agent: str) -> None:
    route = read(tmp_path, TEXT).agent_for(called)
    assert route is not None
    assert (route.agent, route.language) == (agent, "de-DE" if agent == "sales" else None)


def test_without_a_star_other_numbers_lead_nowhere(tmp_path: Path) -> None:
    numbers = read(tmp_path, 'numbers: {"100": support}')
    assert [numbers.agent_for(called) for called in ("101", "", None)] == [None, None, None]
    assert Numbers().agent_for("100") is None


def test_numbers_are_written_as_text_in_the_environment_too(tmp_path: Path) -> None:
    numbers = read(tmp_path, environ={"PATCHBAY_NUMBERS": "* = front-desk, +4930 12=sales,"})
    assert numbers.agents == {"front-desk", "sales"}
    assert numbers.agent_for("+493012") == NumberRoute(agent="sales")
    nested = {"PATCHBAY_NUMBERS__100__AGENT": "support", "PATCHBAY_NUMBERS__100__LANGUAGE": "en"}
    assert read(tmp_path, 'numbers: {"*": desk}', nested).agent_for("100") == NumberRoute(
        agent="support", language="en"
    )


def test_a_number_that_leads_to_an_agent_is_found(tmp_path: Path) -> None:
    numbers = read(tmp_path, 'numbers: {"*": desk, "100": desk, "200": sales}')
    assert [numbers.number_of(agent) for agent in ("desk", "sales", "nobody")] == ["100", "200", None]
    assert read(tmp_path, 'numbers: {"*": desk}').number_of("desk") == "*"


def test_each_fault_is_told_with_its_line_and_without_the_number(tmp_path: Path) -> None:
    text = """numbers:
  +49301234567: {agent: "", language: german}
  +49301234568: {agnt: a}
  Sales:
  "7": 12
"""
    assert refused(tmp_path, text) == [
        "patchbay.yaml:2: numbers.…67.agent: must not be empty",
        "patchbay.yaml:2: numbers.…67.language: must be a language tag, such as de or en-GB",
        "patchbay.yaml:3: numbers.…68.agent: is missing; set it too",
        "patchbay.yaml:3: numbers.…68.agnt: there is no such setting; take it out",
        f"patchbay.yaml:4: numbers.Sales: {NO_ROUTE}",
        f"patchbay.yaml:5: numbers.7: {NO_ROUTE}",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('"+4930123456": a\n  "+4930123456": b', "3: numbers.…56: stands here twice, first in line 2"),
        ('"+4930123456": {agent: a, agent: b}', "2: numbers.…56.agent: stands here twice, first in line 2"),
        ("desk: a\n  desk: b", "3: numbers.desk: stands here twice, first in line 2"),
    ],
)
def test_a_number_that_stands_twice_in_the_file_is_hidden(tmp_path: Path, text: str, said: str) -> None:
    assert refused(tmp_path, f"numbers:\n  {text}\n") == [f"patchbay.yaml:{said}"]


def test_a_number_in_the_environment_is_hidden_too(tmp_path: Path) -> None:
    environ = {"PATCHBAY_NUMBERS__493012345678__LANGUAGE": "de"}
    assert refused(tmp_path, environ=environ) == ["PATCHBAY_NUMBERS__…78__AGENT: is missing; set it too"]
    (tmp_path / ".env").write_text("PATCHBAY_NUMBERS__493012345678=a\nPATCHBAY_NUMBERS__493012345678=b\n")
    [line] = refused(tmp_path)
    assert line == ".env:2: PATCHBAY_NUMBERS__…78: stands here twice, first in line 1; remove one"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("numbers: {12 3: a, 12-3: b}", "holds the same number twice"),
        (
            "numbers: {1: {agent: a, language: de-aaaaaaaa-bbbbbbbb-cccccccc-dddddddd}}",
            "should have at most 35 characters",
        ),
        ('numbers: {"()": a}', "holds a number without a sign in it"),
        ("numbers: [front-desk]", "must hold settings by name"),
        ("numbers: front-desk", "entry 1: write NUMBER=AGENT"),
        ("numbers: '1=a, =b'", "entry 2: write NUMBER=AGENT"),
        ("numbers: '1=a, 2='", "entry 2: write NUMBER=AGENT"),
        ("numbers: '1=a, 1=b'", "entry 2: the same number stands before it"),
    ],
)
def test_what_is_no_mapping_of_numbers_stops_the_start(tmp_path: Path, text: str, why: str) -> None:
    [line] = refused(tmp_path, text)
    assert line.startswith("patchbay.yaml:1: numbers")
    assert why in line


def test_no_text_of_the_settings_shows_a_number(tmp_path: Path) -> None:
    (tmp_path / "patchbay.yaml").write_text(TEXT)
    settings = load_settings({}, tmp_path)
    assert "1234" not in f"{settings} {settings!r} {settings.numbers}"


def test_numbers_are_compared_without_signs_between_the_digits() -> None:
    assert plain_number(" +49 (0)30-[12] ") == "+4903012"
