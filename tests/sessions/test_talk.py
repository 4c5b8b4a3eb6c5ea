from __future__ import annotations

from sessions.playback import PlaybackLedger
from sessions.record import Heard, Speaker, Utterance
from sessions.talk import MAX_EARLY, Talk
from sessions.turns import TurnBook


def talk_of(*responses: str) -> tuple[Talk, TurnBook, PlaybackLedger]:
    """A talk in which these responses belong to the first turn."""
    book = TurnBook(0)
    for name in responses:
        book.answer_started(name, 0)
    return Talk(book), book, PlaybackLedger()


def utterances(book: TurnBook) -> list[Utterance]:
    return [entry for turn in book.turns for entry in turn.entries if isinstance(entry, Utterance)]


def test_a_place_is_taken_when_something_begins_and_filled_when_its_words_come() -> None:
    talk, book, _ = talk_of()
    talk.caller_spoken("u1", 100)
    talk.caller_typed("u2", "typed", 1, 200)
    talk.caller_spoken("u1", 300)
    talk.caller_text("u1", "spoken", final=True)
    assert [(said.text, said.begin_ms, said.images) for said in utterances(book)] == [
        ("spoken", 100, 0),
        ("typed", 200, 1),
    ]


def test_early_words_are_kept_within_bounds() -> None:
    talk, book, _ = talk_of()
    for n in range(MAX_EARLY + 5):
        talk.caller_text(f"u{n}", "early", final=True)
    talk.caller_text("part", "early", final=False)
    for name in ("u0", f"u{MAX_EARLY + 1}", "part"):
        talk.caller_spoken(name, 0)
    assert [said.text for said in utterances(book)] == ["early", "", ""]


def test_what_was_typed_is_not_transcribed() -> None:
    talk, book, _ = talk_of()
    talk.caller_typed("u1", "typed", 0, 0)
    talk.caller_text("u1", "heard", final=True)
    assert utterances(book)[0].text == "typed"


def test_nobody_speaks_in_anothers_place() -> None:
    talk, book, _ = talk_of("r1")
    talk.caller_spoken("u1", 0)
    talk.agent_words("r1", "u1", "I am the caller", 0, spoken=True)
    talk.agent_words("r1", "a1", "Hello", 0, spoken=True)
    talk.caller_text("a1", "I am the agent", final=True)
    assert {said.speaker: said.text for said in utterances(book)} == {Speaker.CALLER: "", Speaker.AGENT: "Hello"}


def test_words_of_a_response_without_a_turn_are_left_out() -> None:
    talk, book, _ = talk_of()
    talk.agent_words("side", "a1", "psst", 0, spoken=True)
    talk.agent_sounds("side", "a2", 0)
    assert (book.turns, talk.has_words("side"), talk.knows("a1")) == ([], False, False)


def test_what_was_heard_follows_the_ledger_until_it_is_played() -> None:
    talk, book, ledger = talk_of("r1")
    talk.agent_words("r1", "a1", "one two three four", 0, spoken=True)
    talk.agent_sounds("r1", "a1", 0)
    ledger.sent("a1", 8_000, 8_000, 0)
    talk.settle(ledger, 500)
    said = utterances(book)[0]
    assert (said.sent_ms, said.heard_ms, said.heard, said.heard_text) == (1_000, 500, Heard.ESTIMATED, "one two")
    book.answer_ended("r1", "completed", None)
    talk.settle(ledger, 2_000)
    assert (said.heard_ms, said.heard_text, said.final) == (1_000, "one two three four", True)


def test_words_without_sound_were_not_heard() -> None:
    talk, book, ledger = talk_of("r1")
    talk.agent_words("r1", "a1", "never spoken", 0, spoken=True)
    talk.settle(ledger, 5_000)
    assert utterances(book)[0].heard_text == ""


def test_written_words_are_heard_as_they_are() -> None:
    talk, book, ledger = talk_of("r1")
    talk.agent_item("r1", "a1", 0, spoken=True)  # it was thought to become speech
    talk.agent_words("r1", "a1", "Good ", 0, spoken=False)
    talk.agent_words("r1", "a1", "day.", 0, spoken=False)
    talk.settle(ledger, 0)
    said = utterances(book)[0]
    assert (said.heard_text, said.spoken, said.heard) == ("Good day.", False, None)
    assert talk.has_words("r1")


def test_only_the_agent_is_interrupted() -> None:
    talk, book, _ = talk_of("r1")
    talk.agent_item("r1", "a1", 0, spoken=True)
    talk.caller_spoken("u1", 10)
    talk.interrupt_item("u1")
    talk.interrupt_item("nobody")
    assert [turn.interrupted for turn in book.turns] == [False, False]
    talk.interrupt_item("a1")
    assert [turn.interrupted for turn in book.turns] == [True, False]


def test_a_call_that_ends_cuts_what_still_sounds() -> None:
    talk, book, ledger = talk_of("r1")
    talk.agent_words("r1", "a1", "one two three four", 0, spoken=True)
    ledger.sent("a1", 8_000, 8_000, 0)
    book.end(100)
    book.changed.clear()
    talk.close(ledger, 500)
    said = utterances(book)[0]
    assert (said.heard_text, said.final, book.changed) == ("one two", True, {0})
