"""Text that can be written as UTF-8, whatever it was."""

from __future__ import annotations

import orjson
from hypothesis import given
from hypothesis import strategies as st

from sessions.text import Halves, encoded_bytes, fitting, well_formed


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


@given(st.text(max_size=50))
def test_the_size_of_a_text_is_that_of_its_json(text: str) -> None:
    assert encoded_bytes(text) == len(orjson.dumps(text)) - 2


def test_a_lone_surrogate_takes_as_much_as_the_character_in_its_place() -> None:
    assert encoded_bytes("a\ud83d") == len(orjson.dumps(well_formed("a\ud83d"))) - 2


@given(st.text(max_size=30), st.integers(0, 40))
def test_the_beginning_that_fits_is_the_longest_one(text: str, room: int) -> None:
    found = fitting(text, room)
    assert text.startswith(found)
    assert encoded_bytes(found) <= room
    assert found == text or encoded_bytes(text[: len(found) + 1]) > room
