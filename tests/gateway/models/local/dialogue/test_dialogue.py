"""gateway/models/local/dialogue/dialogue.py and rules.py"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from support.local.local_world import front_desk, front_desk_offline

from gateway.models.local.dialogue.dialogue import DialogueError, compile_dialogue
from gateway.models.local.dialogue.rules import CONFIRM, OPEN
from gateway.models.local.dialogue.words import words_of

SMALL: dict[str, Any] = {
    "slots": {
        "party": {"type": "number", "from": 1, "to": 8, "ask": "For how many?"},
        "dish": {"values": ["Soup", "Bass"], "ask": "Which dish?"},
    },
    "rules": [
        {"name": "order", "phrases": ["order [{dish}]"], "needs": ["dish"], "call": {"tool": "order", "arguments": {}}},
        {"name": "hours", "phrases": ["when are you open"], "say": "Always."},
    ],
}


def test_the_demo_agent_compiles() -> None:
    assert set(front_desk().states()) == {OPEN, CONFIRM, "party_size", "date", "time", "name"}


def test_a_grammar_has_the_answers_of_its_state_and_all_rules() -> None:
    dialogue = compile_dialogue(SMALL)
    assert "soup" in dialogue.grammar("dish").words
    assert dialogue.accepts("soup", "dish")
    assert not dialogue.accepts("soup", OPEN)
    assert dialogue.accepts("um when are you open please", "dish")
    assert dialogue.accepts("yes", CONFIRM)
    assert not dialogue.accepts("yes", OPEN)


def test_the_longest_meaningful_part_of_free_text_counts() -> None:
    dialogue = compile_dialogue(SMALL)
    found = dialogue.find(words_of("Good day, could you order bass for me"), OPEN)
    assert found is None  # only two of eight words have a meaning
    found = dialogue.find(words_of("so tell me when are you open"), OPEN)
    assert found is not None
    assert found.rule is dialogue.rule("hours")
    assert dialogue.find((), OPEN) is None
    assert dialogue.find(words_of("word " * 5000), OPEN) is None


def broken(path: str, value: object) -> dict[str, Any]:
    offline = deepcopy(SMALL)
    *way, last = path.split(".")
    at: Any = offline
    for key in way:
        at = at[int(key)] if key.isdigit() else at[key]
    if isinstance(at, list):
        at[int(last)] = value
    else:
        at[last] = value
    return offline


@pytest.mark.parametrize(
    ("path", "value", "field", "words"),
    [
        ("rule", [], "rule", "is not known here"),
        ("rules", [], "rules", "at least one"),
        ("rules", "hello", "rules", "must be a list"),
        ("rules.1", "hello", "rules[1]", "must be a mapping"),
        ("rules.1.phrases", ["when [are you"], "rules[1].phrases[0]", "never closed"),
        ("rules.1.phrases", ["for {many}"], "rules[1].phrases[0]", "no slot 'many'"),
        ("rules.1.phrases", [True], "rules[1].phrases[0]", "in quotes"),
        ("rules.1.phrases", [], "rules[1].phrases", "needs phrases"),
        ("rules.1.name", "order", "rules[1].name", "rules[0] already"),
        ("rules.1.say", "At {place}.", "rules[1].say", "{place} is not known"),
        ("rules.1.say", "It is {result}.", "rules[1].say", "{result} is not known"),
        ("rules.1.say", [], "rules[1].say", "something to say"),
        ("rules.1.before", "Now.", "rules[1].before", "only beside `call`"),
        ("rules.1.action", "dance", "rules[1].action", "must be one of"),
        ("rules.1.colour", "red", "rules[1].colour", "is not known here"),
        ("rules.0.needs", ["size"], "rules[0].needs[0]", "no slot 'size'"),
        ("rules.0.needs", [3], "rules[0].needs[0]", "slot's name"),
        ("rules.0.retry", "party", "rules[0].retry", "needs"),
        ("rules.0.call", {"arguments": {}}, "rules[0].call.tool", "is missing"),
        ("rules.0.call.arguments", {"dish": "{dis}"}, "rules[0].call.arguments.dish", "{dis} is not known"),
        ("rules.0.offer", {"ask": "More?", "rule": "more"}, "rules[0].offer.rule", "no rule 'more'"),
        ("slots.party.type", "colour", "slots.party.type", "must be one of number"),
        ("slots.party.to", 0, "slots.party.to", "at least"),
        ("slots.party.from", "1", "slots.party.from", "whole number"),
        ("slots.party.answers", ["nobody"], "slots.party.answers", "no phrase has {party}"),
        ("slots.party.typed", "perhaps", "slots.party.typed", "on or off"),
        ("slots.dish.values", [], "slots.dish.values", "at least one"),
        ("slots.dish.values", {"Soup": []}, "slots.dish.values.Soup", "at least one phrase"),
        ("slots.Time", {"type": "time"}, "slots.Time", "lower-case"),
        ("slots.time", {"type": "time", "from": 1130}, "slots.time.from", "must be a text"),
        ("slots.time", {"type": "time", "from": "late"}, "slots.time.from", "like 18:30"),
        ("texts", {"hello": "Hi."}, "texts.hello", "is not known here"),
        ("texts", {"not_understood": []}, "texts.not_understood", "at least one"),
        ("speech", {"pitch": 200}, "speech.pitch", "0 to 99"),
        ("speech", {"words_per_minute": 10}, "speech.words_per_minute", "80 to 450"),
        ("pronunciations", ["x"], "pronunciations", "must be a mapping"),
    ],
)
def test_a_fault_is_named_by_its_field(path: str, value: object, field: str, words: str) -> None:
    with pytest.raises(DialogueError) as caught:
        compile_dialogue(broken(path, value))
    assert caught.value.field == field
    assert words in caught.value.message


def test_a_needed_slot_must_have_a_question() -> None:
    offline = deepcopy(SMALL)
    del offline["slots"]["dish"]["ask"]
    with pytest.raises(DialogueError, match=r"rules\[0\]\.needs\[0\]: there is no question"):
        compile_dialogue(offline)


def test_the_demo_agent_s_section_is_not_changed_by_compiling() -> None:
    before = front_desk_offline()
    compile_dialogue(before)
    assert before == front_desk_offline()


@pytest.mark.parametrize(
    "phrase",
    ["(" * 100_000, "a " + "[" * 17 + "b" + "]" * 17, "a " + "[b] " * 67, "a " * 201],
)
def test_a_phrase_that_nests_deeply_or_never_ends_is_refused(phrase: str) -> None:
    with pytest.raises(DialogueError, match=r"rules\[0\]\.phrases\[0\]: .* brackets more than 16 deep"):
        compile_dialogue({"rules": [{"name": "a", "phrases": [phrase], "say": "b"}]})


def test_too_many_slots_are_refused() -> None:
    slots = {"a" * (at + 1): {"type": "number", "to": 9999} for at in range(101)}
    with pytest.raises(DialogueError, match="slots: has 101 slots; at most 100"):
        compile_dialogue({"slots": slots, "rules": [{"name": "a", "phrases": ["b"], "say": "c"}]})
