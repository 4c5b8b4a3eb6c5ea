"""Words that can be written as UTF-8, whatever they were."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sessions.text import Halves, well_formed


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


def test_halves_that_come_in_two_pieces_are_one_character() -> None:
    halves = Halves()
    assert [halves.joined("a", piece) for piece in ("Hi \ud83d", "\ude00!")] == ["Hi ", "😀!"]
    assert not halves
    assert halves.rest("a") == ""


def test_a_half_whose_other_never_comes_is_one_replacement_character() -> None:
    halves = Halves()
    assert [halves.joined("a", piece) for piece in ("\ud83d", "no", "\ud83d")] == ["", "\ufffdno", ""]
    assert halves.joined("b", "\ude00") == "\ufffd"
    assert (bool(halves), halves.rest("a"), halves.rest("a")) == (True, "\ufffd", "")


@given(st.text(st.characters()), st.integers(0, 20))
def test_a_text_in_pieces_of_utf_16_is_the_text(text: str, at: int) -> None:
    units = text.encode("utf-16-le", "surrogatepass")
    pieces = [one.decode("utf-16-le", "surrogatepass") for one in (units[: 2 * at], units[2 * at :])]
    halves = Halves()
    assert "".join(halves.joined("a", piece) for piece in pieces) + halves.rest("a") == well_formed(text)
