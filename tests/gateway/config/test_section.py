"""gateway/config/section.py: the same rules for agents, dialogues, scripts and mcp.json."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.agents.files import AgentFileError, load_agent
from gateway.config.section import FieldProblem, Section, plain
from gateway.config.yaml_lines import SpelledFloat, read_yaml
from gateway.models.local.dialogue.dialogue import DialogueError, compile_dialogue
from gateway.models.scripted.file import ScriptError, read_script
from gateway.models.scripted.shape import Hears, ScriptedTurn


def section(text: str) -> Section:
    return Section.of(read_yaml(text).value)


def refused(read: Callable[[], object]) -> str:
    with pytest.raises(FieldProblem) as caught:
        read()
    return str(caught.value)


def accept(agent: object) -> None:
    """A check that finds nothing."""


def turn(text: str) -> ScriptedTurn:
    return read_script(f"turns: [{text}]", "desk.yaml", Path()).turns[0]


# What YAML 1.1 takes for a boolean, an octal, a grouped, a sexagesimal or another number, or a date.
TRAPS = [
    "yes",
    "No",
    "on",
    "OFF",
    "y",
    "017",
    "1_000",
    "1.50",
    "12:30",
    "0x10",
    "1e3",
    "+5",
    ".5",
    "2026-99-99",
    ".inf",
]


@pytest.mark.parametrize("written", TRAPS)
def test_a_text_stays_what_was_written_in_every_file(tmp_path: Path, written: str) -> None:
    assert section(f"a: {written}").text("a", None) == written
    spoken = turn(f"{{say: {written}, hears: {written}, calls: [{{name: {written}}}], when: {{text: {written}}}}}")
    assert (spoken.say, spoken.hears, spoken.calls[0].name) == (written, Hears(written), written)
    assert spoken.when is not None
    assert spoken.when.text == written
    path = tmp_path / "harbour.yaml"
    rule = f"{{name: {written}, phrases: [hello], say: {written}}}"
    path.write_text(f"model: local/offline\ngreeting: {written}\noffline: {{rules: [{rule}]}}\n")
    agent = load_agent(path, accept)
    assert agent.greeting == written
    assert agent.offline is not None
    [compiled] = compile_dialogue(agent.offline).rules
    assert (compiled.name, compiled.say) == (written, (written,))


@pytest.mark.parametrize("written", ["017", "1_000", "12:30", "0x10", "'5'", "1e3", "yes"])
def test_only_plain_digits_are_a_number_in_every_file(tmp_path: Path, written: str) -> None:
    assert "must be a whole number" in refused(lambda: section(f"a: {written}").whole("a", 0, 9999, None))
    assert "must be a number" in refused(lambda: section(f"a: {written}").number("a", 0, 9999, None))
    with pytest.raises(ScriptError, match="after_ms: must be a whole number"):
        turn(f"{{after_ms: {written}}}")
    path = tmp_path / "harbour.yaml"
    path.write_text(f"model: local/offline\nturn_detection: {{silence_ms: {written}}}\n")
    with pytest.raises(AgentFileError, match="silence_ms: must be a whole number"):
        load_agent(path, accept)
    spec: dict[str, Any] = {"type": "number", "from": read_yaml(written).value}
    with pytest.raises(DialogueError, match="from: must be a whole number"):
        compile_dialogue({"slots": {"a": spec}, "rules": [{"name": "a", "phrases": ["b"], "say": "c"}]})


@pytest.mark.parametrize(
    ("written", "on"), [("yes", True), ("On", True), ("true", True), ("no", False), ("off", False)]
)
def test_a_switch_takes_the_same_words_in_every_file(tmp_path: Path, written: str, on: bool) -> None:
    assert section(f"a: {written}").flag("a", None) is on
    assert turn(f"{{repeat: {written}}}").repeat is on
    path = tmp_path / "harbour.yaml"
    path.write_text(f"model: local/offline\nrecording: {written}\n")
    assert load_agent(path, accept).recording is on
    slots = {"a": {"type": "date", "typed": read_yaml(written).value}}
    dialogue = compile_dialogue({"slots": slots, "rules": [{"name": "a", "phrases": ["b"], "say": "c"}]})
    assert dialogue.uses["a"].typed is on


def test_true_and_false_are_no_texts_and_words_are_no_booleans_in_json() -> None:
    switches = section("{a: true, b: False}")
    assert refused(lambda: switches.text("a", None)) == "a: must be a text; put it in quotes"
    assert refused(lambda: switches.text("b", None)) == "b: must be a text; put it in quotes"
    assert refused(lambda: Section({"a": "yes"}).boolean("a", False)) == "a: must be true or false"
    assert refused(lambda: Section({"a": 5}).text("a", None)) == "a: must be a text; put it in quotes"
    assert Section({"a": True}).boolean("a", False)


def test_a_key_without_a_value_counts_as_left_out_but_for_a_switch() -> None:
    empty = section("{a: , b: null, c: ~}")
    assert (empty.text("a", "x"), empty.filled_text("b", None), empty.choice("c", ("d",), "d")) == ("x", None, "d")
    assert (empty.whole("a", 1, 2, 7), empty.number("b", 1, 2, None), empty.milliseconds("c", 1, 2, 9)) == (7, None, 9)
    assert (empty.items("a"), empty.texts("a"), empty.names("a", ""), empty.sections("a")) == ([], [], [], [])
    assert (empty.members("a"), empty.texts_by_name("a")) == ({}, {})
    assert not empty.has("a")
    assert refused(lambda: empty.flag("a", False)) == "a: must be on or off"
    assert empty.flag("z", None) is None
    assert refused(lambda: empty.require("a", "write a name")) == "a: is missing; write a name"


def test_a_key_must_be_known_and_may_be_reserved() -> None:
    found = section("{a: {b: 1, c: 2}}").section("a")
    found.only(("b", "c"))
    found.only(("b",), ignored={"c"})
    assert refused(lambda: found.only(("b", "d"))) == "a.c: is not known here; known are b, d"
    assert refused(lambda: found.only(("b",), {"c"})) == "a.c: is not supported yet"


def test_bounds_are_named_with_the_value() -> None:
    found = section("{a: 5, b: 1.0e+999, c: 0.25, d: '', e: [x, x]}")
    assert (found.whole("a", 1, 5, 1), found.number("c", 0, 1, 0)) == (5, 0.25)
    assert type(found.number("c", 0, 1, 0)) is float
    assert type(found.whole("a", 1, 5, 1)) is int
    assert found.milliseconds("c", 0, 1, 0, unit_ms=60_000) == 15_000
    assert refused(lambda: found.whole("a", 6, 9, 6)) == "a: must be from 6 to 9, not 5"
    assert refused(lambda: found.number("a", 0.5, 1, 1, "seconds")) == "a: must be from 0.5 to 1, not 5 (seconds)"
    assert refused(lambda: found.number("b", 1, 2, 1)) == "b: must be a number from 1 to 2"
    huge = Section({"a": 10**4000})
    assert refused(lambda: huge.number("a", 1, 2, 1)).startswith("a: must be from 1 to 2, not 1000")
    assert refused(lambda: found.filled_text("d", None)) == "d: is empty; write something, or leave it out"
    assert refused(lambda: found.names("e", "")) == "e[1]: 'x' stands in the list twice"
    assert refused(lambda: section("a: ['']").names("a", "")) == "a[0]: is empty; write a name"
    assert refused(lambda: found.choice("a", ("b", "c"), "b")) == "a: must be one of b, c"


def test_the_path_leads_through_lists_and_mappings() -> None:
    found = section("{a: [{b: {c: [1, true]}}], d: {e: 5}, f: 7}")
    inner = found.sections("a")[0].section("b")
    assert refused(lambda: inner.texts("c")) == "a[0].b.c[1]: must be a text; put it in quotes"
    assert refused(lambda: found.members("d")) == "d.e: must be a mapping of keys to values"
    assert refused(lambda: found.sections("d")) == "d: must be a list"
    assert refused(lambda: found.section("f")) == "f: must be a mapping of keys to values"
    assert refused(lambda: Section.of(7)) == "must be a mapping of keys to values"
    assert found.texts_by_name("d") == {"e": "5"}


def test_a_number_leaves_its_spelling_behind() -> None:
    value = read_yaml("{a: [1.50, {b: 5}], c: x}").value
    assert isinstance(value, dict)
    assert isinstance(value["a"][0], SpelledFloat)
    left = plain(value)
    assert left == value == {"a": [1.5, {"b": 5}], "c": "x"}
    assert isinstance(left, dict)
    assert (type(left["a"][0]), type(left["a"][1]["b"])) == (float, int)
    assert json.dumps(value) == json.dumps(left)
