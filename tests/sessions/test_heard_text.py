from __future__ import annotations

import pytest

from sessions.heard_text import SOON_MS, HeardText, heard_prefix
from sessions.playback import PlaybackLedger
from sessions.record import Heard, Utterance
from sessions.transcript import Transcript
from sessions.transcript_budget import TranscriptBudget
from sessions.turns import AnswerBook, TurnBook


class Record:
    """A record in which the response `r1` belongs to the first turn, and what feeds it."""

    def __init__(self) -> None:
        self.book = TurnBook(0)
        self.answers = AnswerBook(self.book)
        self.answers.started("r1", 0)
        self.transcript = Transcript(self.book, self.answers, TranscriptBudget())
        self.ledger = PlaybackLedger()
        self.heard_text = HeardText(self.transcript, self.ledger, self.book)

    def says(self, text: str) -> None:
        self.transcript.agent_words("r1", "a1", text, 0, spoken=True)

    def sounds(self, ms: int) -> None:
        self.transcript.agent_sounds("r1", "a1", 0)
        self.ledger.sent("a1", ms * 8, 8_000, 0)

    @property
    def said(self) -> Utterance:
        return self.transcript.places["a1"].said


def test_what_was_heard_follows_the_ledger_until_it_is_played() -> None:
    record = Record()
    record.says("one two three four")
    record.sounds(1_000)
    record.heard_text.settle(500)
    said = record.said
    assert (said.sent_ms, said.heard_ms, said.heard, said.heard_text) == (1_000, 500, Heard.ESTIMATED, "one two")
    record.answers.ended("r1", "completed", None)
    record.heard_text.settle(2_000)
    assert (said.heard_ms, said.heard_text, said.final) == (1_000, "one two three four", True)
    assert record.transcript.playing == {}


def over_at(ms: int) -> Record:
    """A record whose answer is over, with sound up to this moment."""
    record = Record()
    record.says("one two three four")
    record.sounds(ms)
    record.answers.ended("r1", "completed", None)
    record.book.end(ms)
    record.heard_text.settle(0)
    record.book.changed.clear()
    return record


def test_speech_that_is_nearly_over_is_taken_for_heard_and_need_not_be_written_again() -> None:
    record = over_at(1_000)
    assert record.heard_text.foresee(1_000 - SOON_MS)
    assert (record.said.heard_ms, record.said.heard_text) == (1_000, "one two three four")
    record.book.changed.clear()
    for now_ms in (1_000 - SOON_MS, 999, 2_000):
        record.heard_text.settle(now_ms)
        assert (record.said.heard_ms, record.book.changed) == (1_000, set())
    assert record.transcript.playing == {}


def test_an_interruption_takes_back_what_was_taken_for_heard() -> None:
    record = over_at(1_000)
    assert record.heard_text.foresee(950)
    record.ledger.interrupted(960)
    record.heard_text.settle(960)
    assert (record.said.heard_ms, record.said.heard_text) == (960, "one two three")
    assert record.book.changed == {0}


def test_more_sound_takes_back_what_was_taken_for_heard() -> None:
    record = over_at(1_000)
    assert record.heard_text.foresee(950)
    record.sounds(500)
    record.heard_text.settle(970)
    assert (record.said.sent_ms, record.said.heard_ms) == (1_500, 970)


def test_speech_that_goes_on_for_longer_is_not_taken_for_heard_and_neither_are_words_to_come() -> None:
    record = over_at(1_000)
    assert not record.heard_text.foresee(1_000 - SOON_MS - 1)
    assert record.said.heard_ms == 0
    unfinished = Record()
    unfinished.says("one two")
    unfinished.sounds(1_000)
    assert not unfinished.heard_text.foresee(1_000)


def test_an_item_that_was_settled_long_ago_is_settled_again_when_asked() -> None:
    record = Record()
    record.says("one two three four")
    record.sounds(1_000)
    record.answers.ended("r1", "completed", None)
    record.heard_text.settle(2_000)
    record.ledger.reported("a1", 500, 3_000)
    record.heard_text.settle(3_000)
    assert record.said.heard_ms == 1_000
    record.heard_text.settle_item("a1", 3_000)
    record.heard_text.settle_item("nobody", 3_000)
    assert (record.said.heard_ms, record.said.heard, record.said.heard_text) == (500, Heard.REPORTED, "one two")


def test_words_without_sound_were_not_heard() -> None:
    record = Record()
    record.says("never spoken")
    record.heard_text.settle(5_000)
    assert record.said.heard_text == ""


def test_written_words_are_heard_as_they_are() -> None:
    record = Record()
    record.transcript.agent_item("r1", "a1", 0, spoken=True)  # it was thought to become speech
    record.transcript.agent_words("r1", "a1", "Good ", 0, spoken=False)
    assert record.transcript.agent_words("r1", "a1", "day.", 0, spoken=False)
    record.heard_text.settle(0)
    assert (record.said.heard_text, record.said.spoken, record.said.heard) == ("Good day.", False, None)


def test_what_the_caller_says_is_not_the_ledgers_matter() -> None:
    record = Record()
    record.transcript.caller_spoken("u1", 0)
    record.transcript.caller_text("u1", "hello", final=True)
    record.heard_text.settle_item("u1", 100)
    record.heard_text.close(100)
    assert record.transcript.places["u1"].said.heard_text == "hello"


def test_a_call_that_ends_cuts_what_still_sounds() -> None:
    record = Record()
    record.says("one two three four")
    record.sounds(1_000)
    record.book.end(100)
    record.book.changed.clear()
    record.heard_text.close(500)
    assert (record.said.heard_text, record.said.final, record.book.changed) == ("one two", True, {0})


@pytest.mark.parametrize(
    ("heard_ms", "sent_ms", "expected"),
    [
        (0, 1_000, ""),
        (1_000, 1_000, "one two three"),
        (2_000, 1_000, "one two three"),
        (500, 1_000, "one"),
        (540, 1_000, "one two"),
        (100, 1_000, ""),
        (0, 0, "one two three"),
    ],
)
def test_a_heard_prefix_ends_at_a_word(heard_ms: int, sent_ms: int, expected: str) -> None:
    assert heard_prefix("one two three", heard_ms, sent_ms) == expected
