from __future__ import annotations

from sessions.room import CUT, MAX_CALL_CHARS, MAX_TURN_CHARS, WordRoom
from sessions.turns import TurnBook


def test_words_beyond_a_turns_room_are_cut_and_marked() -> None:
    book, room = TurnBook(0), WordRoom()
    turn = book.begin(0)
    assert room.fitted(turn, "x" * (MAX_TURN_CHARS - 1)) == "x" * (MAX_TURN_CHARS - 1)
    assert room.fitted(turn, "yes") == "y" + CUT
    assert room.fitted(turn, "more") == ""
    assert room.fitted(book.begin(1), "more") == "more"


def test_a_call_has_room_for_so_many_words_and_no_more() -> None:
    book, room = TurnBook(0), WordRoom()
    fitting = [room.fitted(book.begin(n), "x" * MAX_TURN_CHARS) for n in range(MAX_CALL_CHARS // MAX_TURN_CHARS)]
    assert sum(map(len, fitting)) == MAX_CALL_CHARS
    assert room.fitted(book.begin(99), "more") == ""


def test_pieces_that_are_replaced_by_the_whole_count_once() -> None:
    room, turn = WordRoom(), TurnBook(0).begin(0)
    pieces = room.fitted(turn, "x" * (MAX_TURN_CHARS - 10))
    room.give_back(turn, pieces)
    room.give_back(turn, "")
    whole = "y" * (MAX_TURN_CHARS - 10)
    assert room.fitted(turn, whole) == whole
