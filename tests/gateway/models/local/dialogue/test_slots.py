"""gateway/models/local/dialogue/slots.py"""

from __future__ import annotations

import pytest

from gateway.models.local.dialogue.patterns import Slot, Value, fit
from gateway.models.local.dialogue.slots import Day, date_slot, list_slot, number_slot, time_slot, yes_no_slot
from gateway.models.local.dialogue.words import words_of


def read(slot: Slot, text: str) -> Value | None:
    words = words_of(text)
    return slot.read(words) if fit(slot.shape, words, {}) is not None else None


@pytest.mark.parametrize(
    ("said", "plain", "spoken"),
    [
        ("seven", "19:00", "7 PM"),
        ("7 a.m.", "07:00", "7 AM"),
        ("seven thirty", "19:30", "7:30 PM"),
        ("half past eight", "20:30", "8:30 PM"),
        ("a quarter to nine", "20:45", "8:45 PM"),
        ("quarter past six in the evening", "18:15", "6:15 PM"),
        ("eight o'clock", "20:00", "8 PM"),
        ("twelve", "12:00", "12 PM"),
        ("noon", "12:00", "12 PM"),
        ("one", "13:00", "1 PM"),
        ("eleven", "11:00", "11 AM"),
        ("eleven p.m.", "23:00", "11 PM"),
        ("19:45", "19:45", "7:45 PM"),
        ("five oh five", "17:05", "5:05 PM"),
    ],
)
def test_times_are_read_within_a_restaurant_s_hours(said: str, plain: str, spoken: str) -> None:
    assert read(time_slot("time", Day()), said) == Value(plain, spoken)


@pytest.mark.parametrize("said", ["thirteen", "seven seven", "o'clock", "half past"])
def test_other_words_are_not_read_as_a_time(said: str) -> None:
    assert read(time_slot("time", Day()), said) is None


@pytest.mark.parametrize(
    ("said", "plain", "spoken"),
    [
        ("today", "today", "today"),
        ("tonight", "today", "tonight"),
        ("tomorrow", "tomorrow", "tomorrow"),
        ("the day after tomorrow", "day after tomorrow", "the day after tomorrow"),
        ("Friday", "friday", "on Friday"),
        ("on Friday", "friday", "on Friday"),
        ("this sunday", "sunday", "on Sunday"),
    ],
)
def test_days_remain_words(said: str, plain: str, spoken: str) -> None:
    assert read(date_slot("date"), said) == Value(plain, spoken)


def test_numbers_have_their_bounds() -> None:
    slot = number_slot("party", 1, 30)
    assert read(slot, "12") == Value(12, "twelve")
    assert read(slot, "twenty five") == Value(25, "25")
    assert read(slot, "31") is None
    assert read(slot, "0") is None


def test_consent_and_refusal_are_distinguished() -> None:
    slot = yes_no_slot("yes_no")
    assert [read(slot, said) for said in ("yes please", "that's right", "go ahead")] == [Value(True, "yes")] * 3
    assert [read(slot, said) for said in ("no", "no thank you", "not really")] == [Value(False, "no")] * 3
    assert read(slot, "maybe") is None


def test_a_list_names_its_values_by_phrases() -> None:
    slot = list_slot("dish", {"Soup": ["[fish] soup"], "Bass": ["bass", "sea bass"]})
    assert read(slot, "fish soup") == Value("Soup", "Soup")
    assert read(slot, "sea bass") == Value("Bass", "Bass")
    assert read(slot, "soup bass") is None
