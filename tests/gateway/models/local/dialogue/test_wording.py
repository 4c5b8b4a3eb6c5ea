"""gateway/models/local/dialogue/wording.py and templates.py"""

from __future__ import annotations

from dataclasses import replace

from support.local.local_world import front_desk

from gateway.models.local.dialogue.patterns import Value
from gateway.models.local.dialogue.results import read_result
from gateway.models.local.dialogue.rules import CallSpec, Texts
from gateway.models.local.dialogue.templates import arguments_of, filled
from gateway.models.local.dialogue.wording import MANY_MISSES, Wording

TWO = {"people": Value(2, "two")}


def test_a_rule_s_sentences_rotate() -> None:
    rule = replace(front_desk().rules[0], say=("One.", "Two."))
    wording = Wording(Texts())
    assert [wording.variant(rule) for _ in range(3)] == ["One.", "Two.", "One."]
    assert wording.variant(replace(rule, say=())) == ""


def test_help_follows_many_misunderstandings_in_a_row() -> None:
    wording = Wording(Texts(help="Say when."))
    for _ in range(MANY_MISSES - 1):
        wording.missed("")
    wording.understood()
    said = [wording.missed("For when?").say for _ in range(MANY_MISSES)]
    assert said == [*(f"{text} For when?" for text in Texts().not_understood), "Say when."]


def test_a_misunderstanding_is_not_repeated_on_request() -> None:
    wording = Wording(Texts())
    assert wording.say("We are open.").say == "We are open."
    wording.missed("")
    assert wording.last == "We are open."


def test_places_are_filled_and_a_place_without_a_value_becomes_empty() -> None:
    result = read_result('{"sentence": "Booked.", "table": {"number": 7}}')
    assert filled("For {people} at {time}: {result} Table {result.table.number}{result.none}.", TWO, result) == (
        "For two at : Booked. Table 7."
    )
    assert filled("{result}", TWO, None) == ""


def test_an_argument_that_is_only_a_slot_keeps_its_type_and_is_left_out_without_a_value() -> None:
    spec = CallSpec("book", (("people", "{people}"), ("time", "{time}"), ("note", "{people} at {time}"), ("id", 5)))
    assert arguments_of(spec, TWO) == {"people": 2, "note": "2 at ", "id": 5}
