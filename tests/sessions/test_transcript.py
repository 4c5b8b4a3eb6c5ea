from __future__ import annotations

from sessions.record import Speaker, Utterance
from sessions.transcript import MAX_EARLY, Transcript
from sessions.transcript_budget import MAX_TURN_BYTES, TranscriptBudget
from sessions.turns import AnswerBook, TurnBook


def talk_of(*responses: str) -> tuple[Transcript, TurnBook]:
    """A talk in which these responses belong to the first turn."""
    book = TurnBook(0)
    answers = AnswerBook(book)
    for name in responses:
        answers.started(name, 0)
    return Transcript(book, answers, TranscriptBudget()), book


def utterances(book: TurnBook) -> list[Utterance]:
    return [entry for turn in book.turns for entry in turn.entries if isinstance(entry, Utterance)]


def test_a_place_is_taken_when_something_begins_and_filled_when_its_words_come() -> None:
    talk, book = talk_of()
    talk.caller_spoken("u1", 100)
    talk.caller_typed("u2", "typed", 1, 200, spoken=False)
    talk.caller_spoken("u1", 300)
    talk.caller_text("u1", "spoken", final=True)
    assert [(said.text, said.begin_ms, said.images) for said in utterances(book)] == [
        ("spoken", 100, 0),
        ("typed", 200, 1),
    ]


def test_early_words_are_kept_within_bounds() -> None:
    talk, book = talk_of()
    for n in range(MAX_EARLY + 5):
        talk.caller_text(f"u{n}", "early", final=True)
    talk.caller_text("part", "early", final=False)
    for name in ("u0", f"u{MAX_EARLY + 1}", "part"):
        talk.caller_spoken(name, 0)
    assert [said.text for said in utterances(book)] == ["early", "", ""]


def test_what_was_typed_is_not_transcribed() -> None:
    talk, book = talk_of()
    talk.caller_typed("u1", "typed", 0, 0, spoken=False)
    talk.caller_text("u1", "heard", final=True)
    assert utterances(book)[0].text == "typed"


def test_nobody_speaks_in_anothers_place() -> None:
    talk, book = talk_of("r1")
    talk.caller_spoken("u1", 0)
    talk.agent_words("r1", "u1", "I am the caller", 0, spoken=True)
    talk.agent_words("r1", "a1", "Hello", 0, spoken=True)
    talk.caller_text("a1", "I am the agent", final=True)
    assert {said.speaker: said.text for said in utterances(book)} == {Speaker.CALLER: "", Speaker.AGENT: "Hello"}


def test_words_of_a_response_without_a_turn_are_left_out() -> None:
    talk, book = talk_of()
    assert not talk.agent_words("side", "a1", "psst", 0, spoken=True)
    talk.agent_sounds("side", "a2", 0)
    assert (book.turns, talk.places) == ([], {})


def test_only_the_agent_is_interrupted() -> None:
    talk, book = talk_of("r1")
    talk.agent_item("r1", "a1", 0, spoken=True)
    talk.caller_spoken("u1", 10)
    talk.interrupt_item("u1")
    talk.interrupt_item("nobody")
    assert [turn.interrupted for turn in book.turns] == [False, False]
    talk.interrupt_item("a1")
    assert [turn.interrupted for turn in book.turns] == [True, False]


def test_pieces_that_are_replaced_by_the_whole_count_once() -> None:
    talk, book = talk_of()
    talk.caller_spoken("u1", 0)
    talk.caller_text("u1", "x" * (MAX_TURN_BYTES - 10), final=False)
    talk.caller_text("u1", "y" * (MAX_TURN_BYTES - 10), final=True)
    assert utterances(book)[0].text == "y" * (MAX_TURN_BYTES - 10)
