from __future__ import annotations

from sessions.record import Speaker, Turn, Utterance
from sessions.turns import MAX_TURN_ENTRIES, AnswerBook, TurnBook
from sessions.usage import TokenUsage, add_usage

START_MS = 500


def said(speaker: Speaker) -> Utterance:
    return Utterance("item", speaker, "hello", "hello", True, begin_ms=0, final=False)


def taken(book: TurnBook) -> set[int]:
    """The turns that must be saved; afterwards there are none."""
    changed, book.changed = book.changed, set()
    return changed


def finished_turn() -> tuple[Turn, TurnBook, AnswerBook]:
    """A turn that is over, with a response `r1` that is not."""
    book = TurnBook(START_MS)
    answers = AnswerBook(book)
    turn = book.begin(START_MS)
    answers.started("r1", START_MS)
    book.end(START_MS + 100)
    taken(book)
    return turn, book, answers


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
    AnswerBook(book).started("r1", 800)
    assert book.for_caller(900) is not turn


def test_an_answer_adds_up_in_the_turn_it_began_in() -> None:
    turn, book, answers = finished_turn()
    turn.entries.append(said(Speaker.AGENT))
    later = book.begin(700)
    assert answers.turn_of("r1") is turn
    assert not answers.is_over("r1")
    answers.ended("r1", "completed", TokenUsage(output_text=3))
    answers.ended("unknown", "failed", None)
    assert answers.is_over("r1")
    assert (turn.outcome, turn.usage.output_text, later.outcome) == ("completed", 3, None)
    assert taken(book) == {0}


def test_a_change_to_a_finished_turn_is_written() -> None:
    turn, book, _ = finished_turn()
    book.interrupt(turn)
    assert taken(book) == {0}
    book.interrupt(turn)
    assert taken(book) == set()
    turn.entries.append(said(Speaker.CALLER))
    book.answered_after(turn, 700)
    book.answered_after(turn, 900)
    assert (taken(book), turn.latency_ms) == ({0}, 700)


def test_latencies_stand_in_the_order_of_their_turns_whichever_came_first() -> None:
    book = TurnBook(START_MS)
    turns = [book.begin(600 + index) for index in range(4)]
    for turn in turns:
        turn.entries.append(said(Speaker.CALLER))
    for index, latency_ms in ((0, 300), (2, 500), (1, 400), (2, 999), (3, 600)):
        book.answered_after(turns[index], latency_ms)
    assert book.latencies_ms == [300, 400, 500, 600] == [turn.latency_ms for turn in book.turns]


def test_a_turn_in_which_the_caller_said_nothing_has_no_latency() -> None:
    turn, book, _ = finished_turn()
    turn.entries.append(said(Speaker.AGENT))
    book.answered_after(turn, 700)
    assert turn.latency_ms is None


def test_an_answer_that_goes_on_after_its_turn_is_written_when_it_is_over() -> None:
    turn, book, answers = finished_turn()
    answers.grow(turn, "r1")
    assert taken(book) == set()
    answers.ended("r1", "completed", None)
    assert taken(book) == {0}
    answers.grow(turn, "r1")
    assert taken(book) == {0}


def test_an_answer_that_never_ends_is_written_with_the_call() -> None:
    turn, book, answers = finished_turn()
    answers.grow(turn, "r1")
    assert taken(book) == set()
    answers.close()
    assert taken(book) == {0}


def test_usage_adds_up() -> None:
    left = TokenUsage(1, 2, 3, 4, 5, 6)
    assert add_usage(left, left) == TokenUsage(2, 4, 6, 8, 10, 12)


def test_a_turn_with_many_entries_is_followed_by_another() -> None:
    book = TurnBook(0)
    for n in range(MAX_TURN_ENTRIES + 1):
        book.for_caller(n).entries.append(said(Speaker.CALLER))
    assert [len(turn.entries) for turn in book.turns] == [MAX_TURN_ENTRIES, 1]
