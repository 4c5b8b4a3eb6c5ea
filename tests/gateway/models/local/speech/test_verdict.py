"""gateway/models/local/speech/verdict.py"""

from __future__ import annotations

from gateway.models.local.speech.recogniser import Part, Recognised
from gateway.models.local.speech.verdict import accepted, weigh


def heard(text: str, log_score_a_frame: float = -2.0) -> Recognised:
    parts = tuple(Part(word, 8 * len(word), 8 * len(word) * log_score_a_frame) for word in text.split())
    return Recognised(text, parts, sum(part.frames for part in parts))


def ms(result: Recognised) -> int:
    return 10 * sum(part.frames for part in result.parts)


def whole(text: str) -> bool:
    return text in ("book a table", "book a table for two")


def test_a_sentence_that_fits_its_sound_is_accepted() -> None:
    good = heard("book a table")
    assert accepted(good, ms(good), whole) == "book a table"


def test_a_sentence_that_fits_its_sound_badly_is_rejected() -> None:
    bad = heard("book a table", -7.0)
    assert accepted(bad, ms(bad), whole) is None


def test_one_bad_word_counts_against_the_sentence() -> None:
    good = heard("book a table")
    odd = Recognised(good.text, (*good.parts[:-1], Part("table", 40, -40 * 30.0)), good.frames)
    assert accepted(odd, ms(odd), whole) is None


def test_words_that_cover_half_of_the_speech_are_rejected() -> None:
    good = heard("book a table", -4.5)
    assert accepted(good, ms(good), whole) is not None
    assert accepted(good, 2 * ms(good), whole) is None


def test_words_longer_than_natural_speech_are_rejected() -> None:
    slow = Recognised("book a table", tuple(Part(word, 160, -640.0) for word in ("book", "a", "table")), 480)
    assert accepted(slow, 4800, whole) is None


def test_extra_words_recognised_in_a_breath_are_left_out() -> None:
    result = heard("book a table for")
    assert accepted(result, ms(result) - 240, whole) == "book a table"


def test_an_incomplete_sentence_is_rejected() -> None:
    result = heard("table a book for my two")
    assert accepted(result, ms(result), whole) is None
    assert accepted(None, 500, whole) is None
    assert accepted(Recognised("book a table", (), 0), 500, whole) is None


def test_very_short_words_have_no_worst() -> None:
    evidence = weigh((Part("a", 3, -30.0),), 30)
    assert evidence.worst == evidence.mean == -10.0
