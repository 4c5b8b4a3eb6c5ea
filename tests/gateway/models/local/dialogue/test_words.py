"""gateway/models/local/dialogue/words.py and patterns.py"""

from __future__ import annotations

import pytest

from gateway.models.local.dialogue.dfa import minimal_dfa
from gateway.models.local.dialogue.patterns import PatternError, blanks, fit, parse
from gateway.models.local.dialogue.slots import Day, number_slot, time_slot
from gateway.models.local.dialogue.words import spelled, words_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A table for 2, please!", "a table for two please"),
        ("at 7pm", "at seven p.m."),
        ("at 7:30 PM.", "at seven thirty p.m."),
        ("7.30pm", "seven thirty p.m."),
        ("19:00", "seven p.m."),
        ("0:05", "twelve oh five a.m."),
        ("seven p.m. on Friday.", "seven p.m. on friday"),
        ("I'd like; What's on?", "i would like what is on"),
        ("I would love a table", "i would like a table"),
        ("half-past 7", "half past seven"),
        ("It’s 21", "it is twenty one"),
        ("25:99", "twenty five ninety nine"),
        ("007", "zero zero seven"),
        ("ok good bye", "okay goodbye"),
        ("日本", ""),
        ("", ""),
    ],
)
def test_text_is_normalised_to_the_words_of_phrases(text: str, words: str) -> None:
    assert " ".join(words_of(text)) == words


def test_normalised_words_stay_unchanged() -> None:
    said = words_of("I'd like a table at 7:30pm, it's for 12")
    assert words_of(" ".join(said)) == said


@pytest.mark.parametrize(
    ("number", "words"), [(0, "zero"), (21, "twenty one"), (100, "one hundred"), (2026, "two thousand twenty six")]
)
def test_numbers_are_spelled(number: int, words: str) -> None:
    assert spelled(number) == words


SLOTS = {"party": number_slot("party", 1, 12), "time": time_slot("time", Day())}


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("book [a] table", "book table", {}),
        ("(book | want) a table", "want a table", {}),
        ("a table [for {party}] [at {time}]", "a table for two at seven", {"party": 2, "time": "19:00"}),
        ("[for] {party} [people]", "two", {"party": 2}),
        ("i'd like it", "i would like it", {}),
        ("what is it", "what is it", {}),
        ("book a table", "book a chair", None),
        ("book a table", "book a table now", None),
    ],
)
def test_a_phrase_matches_only_its_sentences(pattern: str, text: str, found: dict[str, object] | None) -> None:
    fitted = fit(parse(pattern), tuple(text.split()), SLOTS)
    assert (None if fitted is None else {name: value.plain for name, value in fitted}) == found


@pytest.mark.parametrize(
    ("pattern", "complaint"),
    [
        ("", "empty"),
        ("[]", "empty"),
        ("book [a table", "never closed"),
        ("book a) table", "has no opening bracket"),
        ("book (a table]", "never closed"),
        ("Book a table", "lower-case"),
        ("table 7", "lower-case"),
        ("{Party}", "lower-case"),
    ],
)
def test_the_error_for_an_invalid_phrase_says_why(pattern: str, complaint: str) -> None:
    with pytest.raises(PatternError, match=complaint):
        parse(pattern)


def test_slots_are_found_everywhere_in_a_phrase() -> None:
    assert blanks(parse("a [for {party}] (x | {time})")) == {"party", "time"}


def test_an_automaton_accepts_the_sentences_that_its_phrase_matches() -> None:
    node = parse("[please] book a table [for {party} [people]] (now | at {time})")
    automaton = minimal_dfa(node, SLOTS)
    onward = {(start, word): to for start, to, word in automaton.arcs}

    def accepts(text: str) -> bool:
        state: int | None = automaton.start
        for word in text.split():
            state = None if state is None else onward.get((state, word))
        return state in automaton.ends

    sentences = [
        "book a table now",
        "please book a table for two people at half past seven",
        "book a table for ten now",
    ]
    others = [
        "book a table",
        "book a table for two",
        "book a table for people now",
        "please",
        "",
        "book a table now now",
    ]
    assert [accepts(sentence) for sentence in sentences] == [True] * 3
    assert [accepts(sentence) for sentence in others] == [False] * 6


def test_common_endings_are_shared() -> None:
    alone = minimal_dfa(parse("a table at {time}"), SLOTS)
    many = minimal_dfa(
        parse(" | ".join(f"{verb} a table at {{time}}" for verb in ("book", "want", "get", "need"))), SLOTS
    )
    assert many.states == alone.states + 1
