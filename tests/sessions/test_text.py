"""Words that can be written as UTF-8, whatever they were."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sessions.text import well_formed


def test_a_lone_half_of_an_emoji_becomes_one_replacement_character() -> None:
    assert well_formed("Hi \ud83d!") == "Hi �!"
    assert well_formed("\ude00") == "�"
    assert well_formed("a\ud83d\ud83db") == "a��b"


def test_two_halves_that_belong_together_are_one_character() -> None:
    assert well_formed("\ud83d\ude00") == "😀"


@given(st.text())
def test_a_text_without_halves_is_left_as_it_is(text: str) -> None:
    assert well_formed(text) == text


@given(st.lists(st.integers(0, 0x10FFFF).map(chr)).map("".join))
def test_whatever_comes_can_be_written(text: str) -> None:
    assert well_formed(text).encode().decode() == well_formed(text)
