"""The kinds of slots: numbers, times of the day, days, yes or no, and lists that a dialogue defines.

Each kind has the phrases for its values and reads a value from words. Days remain words (`tomorrow`, `friday`), because
only the tool knows the date. Times become `HH:MM`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.models.local.dialogue.patterns import Node, Slot, Value, fit, parse
from gateway.models.local.dialogue.words import spelled

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
YES = (
    "yes [please]", "yeah", "yep", "sure", "of course", "[that's] correct", "[yes] that's right", "that's fine",
    "[yes] go ahead", "[yes] please do", "sounds good", "okay", "all right",
)  # fmt: skip
NO = ("no", "nope", "no thanks", "no thank you", "[no] that's wrong", "[no] not really", "[no] that's not right")

_MINUTES = {
    "oh five": 5,
    "ten": 10,
    "fifteen": 15,
    "twenty": 20,
    "thirty": 30,
    "forty": 40,
    "forty five": 45,
    "fifty": 50,
}
_HOURS = {spelled(hour): hour for hour in range(1, 13)}
_PAST = {"half past": 30, "quarter past": 15, "a quarter past": 15, "quarter to": -15, "a quarter to": -15}
_HALVES = {
    "a.m.": False,
    "in the morning": False,
    "p.m.": True,
    "in the evening": True,
    "in the afternoon": True,
    "at night": True,
}


@dataclass(frozen=True, slots=True)
class Day:
    """The range, in minutes of the day, in which a time without `a.m.` or `p.m.` is assumed to lie if it can."""

    first: int = 11 * 60
    last: int = 22 * 60


def number_slot(name: str, first: int, last: int) -> Slot:
    """Whole numbers from `first` to `last`, as an integer."""
    values = {
        tuple(spelled(number).split()): Value(number, _digits_or_word(number)) for number in range(first, last + 1)
    }
    return Slot(name, _any_of([" ".join(words) for words in values]), values.get)


def _digits_or_word(number: int) -> str:
    return spelled(number) if number <= 12 else str(number)


def date_slot(name: str) -> Slot:
    """Today, tonight, tomorrow, the day after, or a weekday."""
    values: dict[tuple[str, ...], Value] = {
        ("today",): Value("today", "today"),
        ("tonight",): Value("today", "tonight"),
        ("tomorrow",): Value("tomorrow", "tomorrow"),
        ("the", "day", "after", "tomorrow"): Value("day after tomorrow", "the day after tomorrow"),
        ("day", "after", "tomorrow"): Value("day after tomorrow", "the day after tomorrow"),
    }
    for day in WEEKDAYS:
        values[(day,)] = values[("on", day)] = values[("this", day)] = Value(day, f"on {day.capitalize()}")
    shape = parse(f"today | tonight | [[the] day after] tomorrow | [on | this] ({' | '.join(WEEKDAYS)})")
    return Slot(name, shape, values.get)


def time_slot(name: str, day: Day) -> Slot:
    """A time of the day as `HH:MM`, in the steps of five and ten minutes that people say."""
    hours, minutes = " | ".join(_HOURS), " | ".join(_MINUTES)
    halves, past = " | ".join(_HALVES), " | ".join(_PAST)
    shape = parse(f"noon | ({past}) ({hours}) [{halves}] | ({hours}) [o'clock | ({minutes})] [{halves}]")

    def read(words: tuple[str, ...]) -> Value | None:
        if words == ("noon",):
            return _at(12 * 60)
        text = " ".join(words)
        half = next((half for half in _HALVES if text.endswith(f" {half}")), None)
        text = text.removesuffix(f" {half}").removesuffix(" o'clock")
        shift = next((past for past in _PAST if text.startswith(f"{past} ")), None)
        if shift is not None:
            return _at(_within(_HOURS[text.removeprefix(f"{shift} ")] * 60 + _PAST[shift], half, day))
        hour, _, minute = text.partition(" ")
        return _at(_within(_HOURS[hour] * 60 + (_MINUTES[minute] if minute else 0), half, day))

    return Slot(name, shape, read)


def _within(minute: int, half: str | None, day: Day) -> int:
    morning, evening = minute % 720, minute % 720 + 720
    if half is not None:
        return evening if _HALVES[half] else morning
    return morning if day.first <= morning <= day.last and not day.first <= evening <= day.last else evening


def _at(minute: int) -> Value:
    hour, rest = divmod(minute, 60)
    return Value(
        f"{hour:02}:{rest:02}", f"{hour % 12 or 12}{f':{rest:02}' if rest else ''} {'PM' if hour >= 12 else 'AM'}"
    )


def yes_no_slot(name: str) -> Slot:
    """Consent or refusal, as a boolean."""
    yes, no = _any_of(YES), _any_of(NO)

    def read(words: tuple[str, ...]) -> Value | None:
        if fit(yes, words, {}) is not None:
            return Value(True, "yes")
        return Value(False, "no") if fit(no, words, {}) is not None else None

    return Slot(name, _any_of([*YES, *NO]), read)


def list_slot(name: str, values: Mapping[str, Sequence[str]]) -> Slot:
    """Values that the agent defines, each with its phrases. Raises PatternError."""
    shapes = [(Value(plain, plain), _any_of(phrases)) for plain, phrases in values.items()]

    def read(words: tuple[str, ...]) -> Value | None:
        return next((value for value, shape in shapes if fit(shape, words, {}) is not None), None)

    return Slot(name, _any_of([phrase for phrases in values.values() for phrase in phrases]), read)


def _any_of(phrases: Sequence[str]) -> Node:
    return parse(" | ".join(f"({phrase})" for phrase in phrases))
