"""Normalises text to the words of phrases: lower case, digits and times spelled out, no punctuation."""

from __future__ import annotations

import re

_UNITS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]

_CLOCK = re.compile(r"\b(\d{1,2})[:.h](\d{2})(?!\d)")
_HALF = re.compile(r"(?<=\d)\s*([ap])\.?\s?m\b\.?|\b([ap])\.m\b\.?|\b(pm)\b")
_DIGITS = re.compile(r"\d+")
_DROPPED = re.compile(r"[^a-z'.\s]")

# Text and patterns are compared with contractions written out, so that both spellings match.
CONTRACTIONS = {
    "i'd": ("i", "would"),
    "we'd": ("we", "would"),
    "i'm": ("i", "am"),
    "we're": ("we", "are"),
    "you're": ("you", "are"),
    "there's": ("there", "is"),
    "what's": ("what", "is"),
    "where's": ("where", "is"),
    "when's": ("when", "is"),
    "how's": ("how", "is"),
    "who's": ("who", "is"),
    "that's": ("that", "is"),
    "it's": ("it", "is"),
    "don't": ("do", "not"),
    "let's": ("let", "us"),
}
_SAME = {
    "ok": "okay",
    "o clock": "o'clock",
    "good bye": "goodbye",
    "bye bye": "bye",
    "wanna": "want to",
    "i would love": "i would like",
    **{short: " ".join(long) for short, long in CONTRACTIONS.items()},
}
_SAME_WORDS = re.compile(r"\b(" + "|".join(sorted(_SAME, key=len, reverse=True)) + r")\b")

FILLERS = frozenset(
    [
        "please",
        "um",
        "uh",
        "er",
        "erm",
        "hmm",
        "well",
        "so",
        "just",
        "oh",
        "and",
        "then",
        "actually",
        "hey",
        "hi",
        "hello",
        "there",
        "thanks",
        "kindly",
    ]
)


def spelled(number: int) -> str:
    """0 to 9999 as words: 19 is nineteen, 42 is forty two."""
    if number < 20:
        return _UNITS[number]
    if number < 100:
        tens, units = divmod(number, 10)
        return _TENS[tens - 2] + (f" {_UNITS[units]}" if units else "")
    if number < 1000:
        hundreds, rest = divmod(number, 100)
        return f"{_UNITS[hundreds]} hundred" + (f" {spelled(rest)}" if rest else "")
    thousands, rest = divmod(number, 1000)
    return f"{spelled(thousands)} thousand" + (f" {spelled(rest)}" if rest else "")


def words_of(text: str) -> tuple[str, ...]:
    """A sentence's words as phrases spell them: `7:30pm` becomes seven thirty p.m., `I'd` becomes i would."""
    plain = text.lower().replace("’", "'").replace("-", " ")
    plain = _HALF.sub(lambda match: f" {match[1] or match[2] or match[3][0]}.m. ", plain)
    plain = _CLOCK.sub(_clock, plain)
    plain = _DIGITS.sub(lambda match: f" {_number(match[0])} ", plain)
    plain = _DROPPED.sub(" ", plain)
    kept = [word if word in ("a.m.", "p.m.") else word.replace(".", " ") for word in plain.split()]
    plain = " ".join(" ".join(kept).split())
    return tuple(_SAME_WORDS.sub(lambda match: _SAME[match[0]], plain).split())


def _clock(match: re.Match[str]) -> str:
    hour, minute = int(match[1]), int(match[2])
    if hour > 24 or minute > 59:
        return match[0]
    half = ""
    if hour == 0 or hour > 12:  # on the 24-hour clock the hour tells the half of the day
        half = " p.m." if hour % 24 else " a.m."
        hour = (hour - 12) % 12 or 12
    spoken_minute = "" if minute == 0 else f" oh {spelled(minute)}" if minute < 10 else f" {spelled(minute)}"
    return f"{spelled(hour)}{spoken_minute}{half}"


def _number(digits: str) -> str:
    if len(digits) > 4 or (digits[0] == "0" and len(digits) > 1):
        return " ".join(_UNITS[int(digit)] for digit in digits)
    return spelled(int(digits))
