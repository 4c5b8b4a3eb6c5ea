"""Makes the automata of a regular expression: one state for each of its characters and classes (Glushkov).

Repetitions that vary are loops, whatever their bounds. Repetitions of a fixed number are written out, and are also
looked at as a loop of their own. What a lookaround asks for is an automaton of its own.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

MAX_STATES = 200
MAX_WRITTEN_OUT = 64  # copies of one repetition
# Characters that stand for all others: ASCII, and some letters, digits, marks and blanks beyond it.
_SAMPLES = [*map(chr, range(128)), "é", "ß", "Ж", "中", "٣", "²", "\u00a0", "\u2028", "–", "😀"]
_parser: Any = import_module("re._parser")


class Unfit(ValueError):
    """A pattern uses what cannot be judged; the message says what to do."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of a pattern: the states that it begins and ends with, each with the number of ways to it.

    `empty` is the number of ways in which it reads the empty text. Python's parser makes `a(?:|)` of `a|a`, so that
    equal branches show here only.
    """

    first: Counter[int]
    last: Counter[int]
    empty: int


_NOTHING = _Part(Counter(), Counter(), empty=1)


@dataclass(slots=True)
class Automaton:
    """States, the characters that lead into each (as bits), and which state may follow which, in how many ways."""

    START = 0
    chars: list[int] = field(default_factory=lambda: [0])
    follow: list[Counter[int]] = field(default_factory=lambda: [Counter()])

    def state(self, chars: int) -> _Part:
        """A new state."""
        if len(self.chars) >= MAX_STATES:
            raise Unfit("is too large; write several patterns")
        self.chars.append(chars)
        self.follow.append(Counter())
        here = Counter({len(self.chars) - 1: 1})
        return _Part(here, here, empty=0)

    def join(self, last: Counter[int], first: Counter[int]) -> None:
        """Let each of these states be followed by each of those."""
        for state, ways in last.items():
            for following, more in first.items():
                self.follow[state][following] += ways * more

    def begin(self, part: _Part) -> None:
        """The whole pattern is this part."""
        self.follow[self.START] = part.first


def automata_of(pattern: str) -> list[Automaton]:
    """The automaton of a pattern that compiles, and those of its parts that have one. Raises Unfit."""
    parsed = _parser.parse(pattern)
    reader = _Reader(_samples_of(parsed), ignores_case=_ignores_case(parsed))
    reader.read(list(parsed))
    return reader.found


def least_width(pattern: str) -> int:
    """How many characters a match of a pattern that compiles has at least."""
    return int(_parser.parse(pattern).getwidth()[0])


class _Reader:
    """Reads the syntax tree of a pattern."""

    def __init__(self, samples: Sequence[str], *, ignores_case: bool) -> None:
        self._samples = samples
        self._ignores_case = ignores_case
        self.found: list[Automaton] = []

    def read(self, items: Sequence[Any], *, looped: bool = False) -> None:
        """Make an automaton of these items; `looped`: of any number of them."""
        automaton = Automaton()
        part = self._sequence(automaton, items)
        if looped:
            automaton.join(part.last, part.first)
        automaton.begin(part)
        self.found.append(automaton)

    def _sequence(self, automaton: Automaton, items: Iterable[Any]) -> _Part:
        whole = _NOTHING
        for op, value in items:
            whole = _after(automaton, whole, self._item(automaton, str(op), value))
        return whole

    def _item(self, automaton: Automaton, op: str, value: Any) -> _Part:
        match op:
            case "LITERAL" | "NOT_LITERAL" | "ANY" | "IN":
                return automaton.state(self._bits(op, value))
            case "BRANCH":
                parts = [self._sequence(automaton, branch) for branch in value[1]]
                first, last = sum((p.first for p in parts), Counter()), sum((p.last for p in parts), Counter())
                return _Part(first, last, sum(part.empty for part in parts))
            case "SUBPATTERN":
                return self._sequence(automaton, value[3])
            case "ATOMIC_GROUP":
                return self._sequence(automaton, value)
            case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
                return self._repeat(automaton, *value)
            case "ASSERT" | "ASSERT_NOT":
                self.read(list(value[1]))
                return _NOTHING
            case "AT":
                return _NOTHING
            case "GROUPREF" | "GROUPREF_EXISTS":
                raise Unfit("refers back to a group, which takes exponential time; write the pattern without it")
        raise Unfit(f"uses {op.lower()}, which is not supported here; write the pattern without it")

    def _repeat(self, automaton: Automaton, least: int, most: Any, items: Sequence[Any]) -> _Part:
        if least == most and least <= MAX_WRITTEN_OUT:
            if least > 1:
                self.read(list(items), looped=True)
            whole = _NOTHING
            for _ in range(least):
                whole = _after(automaton, whole, self._sequence(automaton, items))
            return whole
        part = self._sequence(automaton, items)
        last = part.last
        if most > 1:
            automaton.join(part.last, part.first)
            last = _times(last, 1 + part.empty)  # a round that reads nothing may follow the last one
        return _Part(part.first, last, part.empty + (least == 0))

    def _bits(self, op: str, value: Any) -> int:
        return sum(1 << at for at, sample in enumerate(self._samples) if self._fits(op, value, sample))

    def _fits(self, op: str, value: Any, sample: str) -> bool:
        lower, upper = sample.lower(), sample.upper()
        # Some letters have several small forms: a long s is one of S.
        cases = {sample, lower, upper, upper.lower(), lower.upper()} if self._ignores_case else {sample}
        if op == "ANY":
            return True  # a line break too: the flag that says so may stand anywhere
        if op == "IN":
            negated = bool(value) and str(value[0][0]) == "NEGATE"
            members = value[1:] if negated else value
            return any(negated != any(_has(str(kind), member, case) for kind, member in members) for case in cases)
        return any((ord(case) == value) != (op == "NOT_LITERAL") for case in cases if len(case) == 1)


def _after(automaton: Automaton, before: _Part, part: _Part) -> _Part:
    automaton.join(before.last, part.first)
    first = before.first + _times(part.first, before.empty)
    last = part.last + _times(before.last, part.empty)
    return _Part(first, last, before.empty * part.empty)


def _times(states: Counter[int], ways: int) -> Counter[int]:
    return Counter({state: count * ways for state, count in states.items() if ways})


_CATEGORIES = {"DIGIT": r"\d", "SPACE": r"\s", "WORD": r"\w"}


def _has(kind: str, member: Any, sample: str) -> bool:
    """Whether a member of a class is, or contains, this character."""
    if len(sample) != 1:
        return False
    if kind == "LITERAL":
        return bool(ord(sample) == member)
    if kind == "RANGE":
        return bool(member[0] <= ord(sample) <= member[1])
    name = str(member).removeprefix("CATEGORY_")
    negated = name.startswith("NOT_")
    return (re.fullmatch(_CATEGORIES[name.removeprefix("NOT_")], sample) is not None) != negated


def _samples_of(parsed: Any) -> list[str]:
    """The characters that stand for all: the general ones, and each bound of the pattern's own with its neighbours."""
    bounds: set[int] = set()
    _collect(parsed, bounds)
    near = {code + step for code in bounds for step in (-1, 0, 1)}
    return sorted({*_SAMPLES, *(chr(code) for code in near if 0 <= code <= 0x10FFFF)})


def _collect(node: Any, bounds: set[int]) -> None:
    if isinstance(node, tuple | list | _parser.SubPattern):
        if len(node) == 2 and str(node[0]) in ("LITERAL", "NOT_LITERAL"):
            bounds.add(node[1])
        elif len(node) == 2 and str(node[0]) == "RANGE":
            bounds.update(node[1])
        else:
            for below in node:
                _collect(below, bounds)


def _ignores_case(parsed: Any) -> bool:
    """Whether any part ignores case."""
    return bool(parsed.state.flags & re.IGNORECASE) or _has_flag(parsed)


def _has_flag(node: Any) -> bool:
    if isinstance(node, tuple | list | _parser.SubPattern):
        if len(node) == 2 and str(node[0]) == "SUBPATTERN" and node[1][1] & re.IGNORECASE:
            return True
        return any(_has_flag(below) for below in node)
    return False
