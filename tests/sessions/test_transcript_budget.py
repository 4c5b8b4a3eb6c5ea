"""Words beyond the size of a document are cut."""

from __future__ import annotations

from sessions.transcript_budget import CUT, MAX_CALL_BYTES, MAX_TURN_BYTES, TranscriptBudget
from sessions.turns import TurnBook


def test_words_beyond_a_turns_room_are_cut_and_marked() -> None:
    book, room = TurnBook(0), TranscriptBudget()
    turn = book.begin(0)
    assert room.fitted(turn, "x" * (MAX_TURN_BYTES - 1)) == "x" * (MAX_TURN_BYTES - 1)
    assert room.fitted(turn, "yes") == "y" + CUT
    assert room.fitted(turn, "more") == ""
    assert room.fitted(book.begin(1), "more") == "more"


def test_a_call_has_room_for_so_many_words_and_no_more() -> None:
    book, room = TurnBook(0), TranscriptBudget()
    fitting = [room.fitted(book.begin(n), "x" * MAX_TURN_BYTES) for n in range(MAX_CALL_BYTES // MAX_TURN_BYTES)]
    assert sum(map(len, fitting)) == MAX_CALL_BYTES
    assert room.fitted(book.begin(99), "more") == ""


def test_pieces_that_are_replaced_by_the_whole_count_once() -> None:
    room, turn = TranscriptBudget(), TurnBook(0).begin(0)
    pieces = room.fitted(turn, "x" * (MAX_TURN_BYTES - 10))
    room.give_back(turn, pieces)
    room.give_back(turn, "")
    whole = "y" * (MAX_TURN_BYTES - 10)
    assert room.fitted(turn, whole) == whole


def test_words_are_counted_in_the_bytes_that_they_take_in_a_document() -> None:
    book, room = TurnBook(0), TranscriptBudget()
    turn = book.begin(0)
    assert room.fitted(turn, "x" * (MAX_TURN_BYTES - 10)) != ""
    assert room.fitted(turn, "日本語です") == "日本語" + CUT
    other = book.begin(1)
    assert room.fitted(other, "x" * (MAX_TURN_BYTES - 5)) != ""
    assert room.fitted(other, 'a"\n"b') == 'a"\n' + CUT
    third = book.begin(2)
    room.fitted(third, "x" * (MAX_TURN_BYTES - 3))
    assert room.fitted(third, "日") == "日"
    room.give_back(third, "日")
    assert room.fitted(third, "日本") == "日" + CUT
