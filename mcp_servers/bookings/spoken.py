"""Reads and says dates, times and numbers as people say them: "next friday", "half past seven", "7.30 p.m."

The reader is deliberately small: what it does not know is refused with a hint and never guessed. An hour from one to
eleven without "am" or "pm" is in the afternoon or evening, because guests of a restaurant mean that. "07:30", with a
leading zero, is in the morning.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, time, timedelta

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
MONTHS = (
    *("january", "february", "march", "april", "may", "june", "july"),
    *("august", "september", "october", "november", "december"),
)
_UNITS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS = {"twenty": 20, "thirty": 30, "forty": 40, "fifty": 50}
_NUMBERS = {word: value for value, word in enumerate(_UNITS)} | _TENS
_ORDINALS = {
    **dict(
        zip(("first", "second", "third", "fifth", "eighth", "ninth", "twelfth"), (1, 2, 3, 5, 8, 9, 12), strict=True)
    ),
    "twentieth": 20,
    "thirtieth": 30,
    **{f"{word}th": value for value, word in enumerate(_UNITS) if value not in (0, 1, 2, 3, 5, 8, 9, 12)},
}
_DAYPARTS = {"morning": "am", "afternoon": "pm", "evening": "pm", "night": "pm"}


class NotUnderstood(Exception):
    """A text is not a known date or time; the message says which forms are known."""


def read_number(text: str) -> int | None:
    """Read `"4"`, `"four"`, `"twenty-five"`, `"third"`, `"21st"`; None for anything else."""
    words = text.strip().lower().replace("-", " ").split()
    if len(words) == 1:
        if match := re.fullmatch(r"(\d{1,4})(?:st|nd|rd|th)?", words[0]):
            return int(match[1])
        return _NUMBERS.get(words[0], _ORDINALS.get(words[0]))
    if len(words) == 2 and words[0] in _TENS:
        unit = _NUMBERS.get(words[1], _ORDINALS.get(words[1], 0))
        return _TENS[words[0]] + unit if 1 <= unit <= 9 else None
    return None


def read_date(text: str, today: date) -> date:
    """Read a date in ISO form or in words, relative to `today`. Raises NotUnderstood."""
    said = re.sub(r"[,.]", " ", text.strip().lower())
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", said):
        return _iso(said)
    words = [word for word in said.split() if word not in ("on", "the", "of", "for", "this", *_DAYPARTS)]
    match words:
        case ["today" | "tonight"] | []:
            if not said.split():
                raise NotUnderstood("Which day? Say today, tomorrow, a weekday, or a date like 2026-11-27.")
            return today
        case ["tomorrow"]:
            return today + timedelta(days=1)
        case ["day", "after", "tomorrow"]:
            return today + timedelta(days=2)
        case ["in", *count, ("day" | "days" | "week" | "weeks") as unit]:
            number = 1 if count in (["a"], ["one"]) else read_number(" ".join(count))
            if number is not None and number <= 400:
                return today + timedelta(days=number * (7 if unit.startswith("week") else 1))
        case [weekday] if weekday in WEEKDAYS:
            return today + timedelta(days=(WEEKDAYS.index(weekday) - today.weekday()) % 7)
        case ["next", weekday] if weekday in WEEKDAYS:
            # That weekday in the calendar week that starts next Monday.
            return today + timedelta(days=7 - today.weekday() + WEEKDAYS.index(weekday))
        case [weekday, *rest] if weekday in WEEKDAYS:
            found = read_date(" ".join(rest), today)
            if found.weekday() != WEEKDAYS.index(weekday):
                raise NotUnderstood(f"{say_date(found)} is not a {weekday.capitalize()}. Which day is meant?")
            return found
        case _:
            if (found_date := _day_and_month(words, today)) is not None:
                return found_date
    raise NotUnderstood(
        f"I do not know the date {text.strip()[:40]!r}. Say today, tomorrow, a weekday, or a date like 2026-11-27."
    )


def _iso(said: str) -> date:
    try:
        return date.fromisoformat(said)
    except ValueError:
        raise NotUnderstood(f"There is no day {said} in the calendar.") from None


def _day_and_month(words: list[str], today: date) -> date | None:
    """Read `27 november [2026]`, `november 27th`, `21st`; without a year, the next such day."""
    year: int | None = None
    if words and re.fullmatch(r"20\d\d", words[-1]):
        year = int(words.pop())
    months = [word for word in words if _month(word)]
    day = read_number(" ".join(word for word in words if not _month(word)))
    if day is None or not 1 <= day <= 31 or len(months) > 1:
        return None
    if not months:
        return _next_day_numbered(day, today) if year is None else None
    month = _month(months[0])
    for candidate in (year,) if year else range(today.year, today.year + 5):
        try:
            found = date(candidate, month, day)
        except ValueError:  # 29 February, or a day that does not exist
            continue
        if year or found >= today:
            return found
    raise NotUnderstood(f"There is no {day} {MONTHS[month - 1].capitalize()} in the calendar.")


def _month(word: str) -> int:
    """1 to 12 for the name of a month or its first letters (three or more), otherwise 0."""
    if len(word) < 3:
        return 0
    return next((index for index, name in enumerate(MONTHS, 1) if name.startswith(word)), 0)


def _next_day_numbered(day: int, today: date) -> date:
    found = today
    while found.day != day:
        found += timedelta(days=1)
    return found


def read_time(text: str) -> time:
    """Read `19:00`, `7 pm`, `7.30pm`, `half past seven`, `seven thirty`, `noon`. Raises NotUnderstood."""
    said = text.strip().lower().replace("o'clock", " ").replace("o’clock", " ")
    said = re.sub(r"(?<![a-z])([ap])\.?\s?m\b\.?", r" \1m ", said)
    words = [word for word in said.split() if word not in ("at", "around", "about", "in", "the", "this")]
    half: str | None = None
    if words and words[-1] in ("am", "pm", "tonight", *_DAYPARTS):
        last = words.pop()
        half = "pm" if last == "tonight" else _DAYPARTS.get(last, last)
    if words in (["noon"], ["midday"]):
        return time(12)
    if words == ["midnight"]:
        return time(0)
    found = _digits(" ".join(words), half) or _past_or_to(words, half) or _hour_and_minute(words, half)
    if found is None:
        raise NotUnderstood(
            f"I do not know the time {text.strip()[:40]!r}. Say it like 7 pm, 19:00 or half past seven."
        )
    return found


def _digits(said: str, half: str | None) -> time | None:
    match = re.fullmatch(r"(\d{1,2})(?:\s?[:.h]\s?(\d{2})?)?(?::00)?", said) or re.fullmatch(r"(\d{2})(\d{2})", said)
    if match is None:
        return None
    hour, minute = int(match[1]), int(match[2] or 0)
    as_written = match[2] is not None and (match[1].startswith("0") or hour >= 10)
    return _clock(hour, minute, half or ("24h" if as_written else None))


def _past_or_to(words: list[str], half: str | None) -> time | None:
    for joint in ("past", "to"):
        if joint not in words:
            continue
        at = words.index(joint)
        before = [word for word in words[:at] if word not in ("a", "minutes")]
        minute = {"half": 30, "quarter": 15}.get(" ".join(before)) or read_number(" ".join(before))
        hour = read_number(" ".join(words[at + 1 :]))
        if minute is None or hour is None or not 1 <= minute <= 59:
            return None
        whole = _clock(hour, 0, half)
        if whole is None:
            return None
        total = (whole.hour * 60 + (minute if joint == "past" else -minute)) % 1440
        return time(total // 60, total % 60)
    return None


def _hour_and_minute(words: list[str], half: str | None) -> time | None:
    """Read `seven`, `seven thirty`, `seven oh five`, `nineteen hundred`."""
    if not words:
        return None
    hour = read_number(words[0])
    rest = [word for word in words[1:] if word not in ("oh", "o", "and")]
    minute = 0 if rest in ([], ["hundred"]) else read_number(" ".join(rest))
    return None if hour is None or minute is None else _clock(hour, minute, half)


def _clock(hour: int, minute: int, half: str | None) -> time | None:
    if minute > 59 or hour > 23 or (half in ("am", "pm") and hour == 0):
        return None
    if (half == "pm" and hour < 12) or (half is None and 1 <= hour <= 11):
        hour += 12
    elif half == "am" and hour == 12:
        hour = 0
    return time(hour, minute)


def say_date(day: date) -> str:
    """Say a date: `Friday, 27 November`."""
    return f"{WEEKDAYS[day.weekday()].capitalize()}, {day.day} {MONTHS[day.month - 1].capitalize()}"


def say_time(at: time) -> str:
    """Say a time: `7 pm`, `7:30 pm`, `noon`."""
    if at == time(12):
        return "noon"
    hour = at.hour % 12 or 12
    minutes = f":{at.minute:02d}" if at.minute else ""
    return f"{hour}{minutes} {'am' if at.hour < 12 else 'pm'}"


def say_list(parts: Sequence[str], joint: str = "and") -> str:
    """Say a list: `a`, `a and b`, `a, b and c`."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} {joint} {parts[-1]}"
