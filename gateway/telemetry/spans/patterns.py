"""Own patterns for redaction: which are accepted, and how they are applied in time proportional to a text's length.

A pattern is accepted if each text can be read by it in one way only: then a match from one place takes time
proportional to the text, since no part is tried twice. This is decided on the pattern's automaton, in which every
variable repetition is a loop: two different paths from the start to one of its states for the same text are refused.
That is stricter than it has to be; a refused pattern can be written so that its parts cannot be confused.
Source: Glushkov's construction; ambiguity by the product of an automaton with itself (Weber and Seidl, 1991).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence

from gateway.telemetry.spans.automaton import Automaton, Unfit, automata_of

MAX_CHARACTERS = 500  # of one pattern
MAX_PATTERNS = 50
OWN = "[redacted]"
# Searched at once. A pattern may look at all that follows from each place, so longer texts are searched in windows.
WINDOW = 2_048
OVERLAP = 512  # the longest match that is surely found, wherever it is
_ADVICE = "write it so that each text can be read in one way only, such as [0-9]+(-[0-9]+)* instead of ([0-9]+-?)*"


def check_pattern(text: str) -> str | None:
    """What is wrong with a pattern, and what to do; None if it can be used."""
    if not text.strip():
        return "is empty; write a regular expression, or take it out"
    if len(text) > MAX_CHARACTERS:
        return f"is too long; write several patterns of at most {MAX_CHARACTERS} characters"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # what Python will read in another way one day
            compiled = re.compile(text)
    except (re.error, OverflowError, RecursionError, Warning) as error:
        return f"is no regular expression of Python's: {error}; correct it"
    if compiled.search("") is not None:
        return "matches the empty text; let it ask for at least one character"
    try:
        ambiguous = any(_is_ambiguous(automaton) for automaton in automata_of(text))
    except (Unfit, RecursionError) as error:
        return str(error) if isinstance(error, Unfit) else "is nested too deeply; make it simpler"
    return f"could take exponential time; {_ADVICE}" if ambiguous else None


class OwnPatterns:
    """Masks what a few accepted patterns find."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns = [re.compile(pattern) for pattern in patterns]

    def masked(self, text: str) -> str:
        """The text with each match replaced."""
        for pattern in self._patterns:
            text = pattern.sub(OWN, text) if len(text) <= WINDOW else _masked_in_windows(pattern, text)
        return text


def _masked_in_windows(pattern: re.Pattern[str], text: str) -> str:
    parts: list[str] = []
    done = begin = 0
    while begin < len(text):
        end = min(begin + WINDOW, len(text))
        found = pattern.search(text, begin, end)
        # A match in the overlap may go on after the window's end: the next window has it whole.
        if found is not None and found.end() > found.start() and (found.start() < end - OVERLAP or end == len(text)):
            parts += (text[done : found.start()], OWN)
            done = begin = found.end()
        else:
            begin = end if end == len(text) else end - OVERLAP
    return "".join([*parts, text[done:]])


def _is_ambiguous(automaton: Automaton) -> bool:
    """Whether a state can be reached in two ways for the same text."""
    chars, follow = automaton.chars, automaton.follow
    waiting = [(automaton.START, automaton.START, False)]
    seen = set(waiting)
    while waiting:
        one, other, apart = waiting.pop()
        for to_one, ways in follow[one].items():
            for to_other in follow[other]:
                if not chars[to_one] & chars[to_other]:
                    continue
                now_apart = apart or to_one != to_other or (ways > 1 and one == other)
                if to_one == to_other and now_apart:
                    return True
                step = (to_one, to_other, now_apart)
                if step not in seen:
                    seen.add(step)
                    waiting.append(step)
    return False
