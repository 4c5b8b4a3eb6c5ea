from __future__ import annotations

from sessions.events import TokenUsage
from sessions.record import Speaker, ToolUse, Turn, Utterance
from sessions.talk import Talk
from sessions.turns import CUT, MAX_CALL_CHARS, MAX_TURN_CHARS, MAX_TURN_ENTRIES, TurnBook, add_usage

START_MS = 500


def tool(call_id: str = "c1") -> ToolUse:
    return ToolUse(call_id, "item", "find", "{}", True, begin_ms=0)


def said(speaker: Speaker) -> Utterance:
    return Utterance("item", speaker, "hello", "hello", True, begin_ms=0, final=False)


def taken(book: TurnBook) -> set[int]:
    """What is to be written; nothing is, afterwards."""
    changed, book.changed = book.changed, set()
    return changed


def finished_turn(book: TurnBook) -> Turn:
    turn = book.begin(START_MS)
    book.answer_started("r1", START_MS)
    book.end(START_MS + 100)
    taken(book)
    return turn


def test_turns_follow_one_another() -> None:
    book = TurnBook(START_MS)
    first = book.begin(600)
    assert book.current(650) is first
    second = book.begin(700)
    assert (first.begin_ms, first.end_ms, second.index, book.open) == (100, 200, 1, second)
    book.end(800)
    assert book.open is None
    assert taken(book) == {0, 1}
    assert book.current(900).index == 2


def test_what_the_caller_adds_before_an_answer_belongs_to_the_same_turn() -> None:
    book = TurnBook(START_MS)
    turn = book.for_caller(600)
    assert book.for_caller(700) is turn
    book.answer_started("r1", 800)
    assert book.for_caller(900) is not turn


def test_a_tool_call_is_an_answer_too() -> None:
    book = TurnBook(START_MS)
    turn = book.for_caller(600)
    assert book.tool_wanted("unknown", tool(), 700)
    assert book.for_caller(900) is not turn


def test_an_answer_adds_up_in_the_turn_it_began_in() -> None:
    book = TurnBook(START_MS)
    turn = finished_turn(book)
    turn.entries.append(said(Speaker.AGENT))
    later = book.begin(700)
    assert book.turn_of("r1") is turn
    assert not book.is_over("r1")
    book.answer_ended("r1", "completed", TokenUsage(output_text=3))
    book.answer_ended("unknown", "failed", None)
    assert book.is_over("r1")
    assert (turn.outcome, turn.usage.output_text, later.outcome) == ("completed", 3, None)
    assert taken(book) == {0}


def test_a_tool_call_is_noted_once_and_answered_once() -> None:
    book = TurnBook(START_MS)
    book.begin(600)
    use = tool()
    assert book.tool_wanted("r1", use, 700)
    assert not book.tool_wanted("r1", tool(), 710)
    assert book.unanswered_calls() == {"c1"}
    book.tool_finished("c1", "first", None, 800)
    book.tool_finished("c1", "second", "timeout", 900)
    book.tool_finished("unknown", "?", None, 900)
    assert (use.begin_ms, use.end_ms, use.output, use.error) == (200, 300, "first", None)
    assert book.unanswered_calls() == set()
    assert (book.tool("c1"), book.tool("unknown")) == (use, None)


def test_a_change_to_a_finished_turn_is_written() -> None:
    book = TurnBook(START_MS)
    turn = finished_turn(book)
    book.interrupt(turn)
    assert taken(book) == {0}
    book.interrupt(turn)
    assert taken(book) == set()
    turn.entries.append(said(Speaker.CALLER))
    book.answered_after(turn, 700)
    book.answered_after(turn, 900)
    assert (taken(book), turn.latency_ms) == ({0}, 700)


def test_a_turn_in_which_the_caller_said_nothing_has_no_latency() -> None:
    book = TurnBook(START_MS)
    turn = finished_turn(book)
    turn.entries.append(said(Speaker.AGENT))
    book.answered_after(turn, 700)
    assert turn.latency_ms is None


def test_an_answer_that_goes_on_after_its_turn_is_written_when_it_is_over() -> None:
    book = TurnBook(START_MS)
    turn = finished_turn(book)
    book.grow(turn, "r1")
    assert taken(book) == set()
    book.answer_ended("r1", "completed", None)
    assert taken(book) == {0}
    book.grow(turn, "r1")
    assert taken(book) == {0}


def test_an_answer_that_never_ends_is_written_with_the_call() -> None:
    book = TurnBook(START_MS)
    book.grow(finished_turn(book), "r1")
    book.close(900)
    assert taken(book) == {0}


def test_usage_adds_up() -> None:
    left = TokenUsage(1, 2, 3, 4, 5, 6)
    assert add_usage(left, left) == TokenUsage(2, 4, 6, 8, 10, 12)


def test_a_turn_with_many_entries_is_followed_by_another() -> None:
    book = TurnBook(0)
    talk = Talk(book)
    for n in range(MAX_TURN_ENTRIES + 1):
        talk.caller_typed(f"item_{n}", "x", 0, n)
    assert [len(turn.entries) for turn in book.turns] == [MAX_TURN_ENTRIES, 1]


def test_words_beyond_a_turns_room_are_cut_and_marked() -> None:
    book = TurnBook(0)
    turn = book.begin(0)
    assert book.fitted(turn, "x" * (MAX_TURN_CHARS - 1)) == "x" * (MAX_TURN_CHARS - 1)
    assert book.fitted(turn, "yes") == "y" + CUT
    assert book.fitted(turn, "more") == ""
    assert book.fitted(book.begin(1), "more") == "more"


def test_a_call_has_room_for_so_many_words_and_no_more() -> None:
    book = TurnBook(0)
    fitting = [book.fitted(book.begin(n), "x" * MAX_TURN_CHARS) for n in range(MAX_CALL_CHARS // MAX_TURN_CHARS)]
    assert sum(map(len, fitting)) == MAX_CALL_CHARS
    assert book.fitted(book.begin(99), "more") == ""


def test_pieces_that_are_replaced_by_the_whole_count_once() -> None:
    book = TurnBook(0)
    talk = Talk(book)
    talk.caller_spoken("item_1", 0)
    talk.caller_text("item_1", "x" * (MAX_TURN_CHARS - 10), final=False)
    talk.caller_text("item_1", "y" * (MAX_TURN_CHARS - 10), final=True)
    (said,) = book.turns[0].entries
    assert isinstance(said, Utterance)
    assert said.text == "y" * (MAX_TURN_CHARS - 10)
