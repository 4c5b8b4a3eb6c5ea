"""Dates, times and numbers as guests say them."""

from __future__ import annotations

from contextlib import suppress
from datetime import date, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_servers.bookings.spoken import (
    NotUnderstood,
    read_date,
    read_number,
    read_time,
    say_date,
    say_list,
    say_time,
)

FRIDAY = date(2026, 11, 20)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("2026-11-27", "2026-11-27"),
        ("today", "2026-11-20"),
        ("Tonight", "2026-11-20"),
        ("this evening", "2026-11-20"),
        ("tomorrow", "2026-11-21"),
        ("tomorrow night", "2026-11-21"),
        ("the day after tomorrow", "2026-11-22"),
        ("friday", "2026-11-20"),
        ("on Saturday evening", "2026-11-21"),
        ("this sunday", "2026-11-22"),
        ("next friday", "2026-11-27"),
        ("next monday", "2026-11-23"),
        ("in three days", "2026-11-23"),
        ("in a week", "2026-11-27"),
        ("in 2 weeks", "2026-12-04"),
        ("27 November", "2026-11-27"),
        ("the 27th of November", "2026-11-27"),
        ("November 27th, 2026", "2026-11-27"),
        ("Nov 27", "2026-11-27"),
        ("Friday, 27 November", "2026-11-27"),
        ("the twenty first", "2026-11-21"),
        ("the twenty-first of december", "2026-12-21"),
        ("1 january", "2027-01-01"),
        ("the 19th", "2026-12-19"),
        ("third of may 2027", "2027-05-03"),
        ("29 february", "2028-02-29"),
    ],
)
def test_a_date_is_read_as_a_guest_means_it(said: str, meant: str) -> None:
    assert read_date(said, FRIDAY) == date.fromisoformat(meant)


@pytest.mark.parametrize(
    "said", ["", "someday", "2026-02-30", "31 february", "the 45th", "12/11", "in many days", "saturday 27 november"]
)
def test_a_date_that_is_not_clear_is_refused(said: str) -> None:
    with pytest.raises(NotUnderstood):
        read_date(said, FRIDAY)


def test_the_answer_to_a_wrong_weekday_names_the_right_one() -> None:
    with pytest.raises(NotUnderstood, match="Friday, 27 November is not a Saturday"):
        read_date("Saturday the 27th of November", FRIDAY)


@given(st.integers(0, 400))
def test_a_date_that_say_date_returns_is_read_again(days: int) -> None:
    day = FRIDAY + timedelta(days=days % 180)
    assert read_date(say_date(day), FRIDAY) == day


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("19:00", "19:00"),
        ("19:00:00", "19:00"),
        ("07:30", "07:30"),
        ("7:30", "19:30"),
        ("10:30", "10:30"),
        ("7 pm", "19:00"),
        ("7pm", "19:00"),
        ("7 p.m.", "19:00"),
        ("7.30pm", "19:30"),
        ("7 am", "07:00"),
        ("12 pm", "12:00"),
        ("12 am", "00:00"),
        ("12", "12:00"),
        ("1930", "19:30"),
        ("19h30", "19:30"),
        ("seven", "19:00"),
        ("at seven o'clock", "19:00"),
        ("around seven thirty", "19:30"),
        ("seven forty-five pm", "19:45"),
        ("seven oh five", "19:05"),
        ("nineteen hundred", "19:00"),
        ("half past seven", "19:30"),
        ("quarter to eight", "19:45"),
        ("a quarter past twelve", "12:15"),
        ("ten to one", "12:50"),
        ("twenty past 7 in the evening", "19:20"),
        ("eight in the morning", "08:00"),
        ("seven tonight", "19:00"),
        ("noon", "12:00"),
        ("midday", "12:00"),
        ("midnight", "00:00"),
    ],
)
def test_a_time_is_read_as_a_guest_means_it(said: str, meant: str) -> None:
    assert read_time(said) == time.fromisoformat(meant)


@pytest.mark.parametrize(
    "said", ["", "soonish", "25:00", "19:75", "half past", "half past seventy", "99 past seven", "seven ninety", "0 pm"]
)
def test_a_time_that_is_not_clear_is_refused(said: str) -> None:
    with pytest.raises(NotUnderstood, match="I do not know the time"):
        read_time(said)


@given(st.integers(12, 23), st.integers(0, 59))
def test_a_time_that_say_time_returns_is_read_again(hour: int, minute: int) -> None:
    assert read_time(say_time(time(hour, minute))) == time(hour, minute)


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(words: str) -> None:
    for read in (lambda: read_date(words, FRIDAY), lambda: read_time(words)):
        with suppress(NotUnderstood):
            read()


@pytest.mark.parametrize(
    ("said", "meant"),
    [("4", 4), ("four", 4), ("Twenty-Five", 25), ("21st", 21), ("third", 3), ("thirty first", 31), ("a few", None)],
)
def test_a_number_is_read_in_digits_and_words(said: str, meant: int | None) -> None:
    assert read_number(said) == meant


def test_times_and_lists_are_said_as_people_do() -> None:
    assert [say_time(time(12)), say_time(time(0, 5)), say_time(time(19))] == ["noon", "12:05 am", "7 pm"]
    assert [say_list([]), say_list(["a"]), say_list(["a", "b", "c"], "or")] == ["", "a", "a, b or c"]
