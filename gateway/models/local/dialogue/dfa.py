"""Compiles phrases to the minimal automaton (DFA) that accepts them, which is what a decoder searches.

As JSGF, the demo agent's grammars took 19 MB and 0.15 s each in PocketSphinx, because every mention of a slot is a
copy; with common endings shared they take a fraction. Phrases accept finitely many sentences, so the automaton has no
loops, and two states are equal when the same words lead from them to the same states.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from gateway.models.local.dialogue.patterns import Blank, Choice, Node, Row, Slot, Word

_Rest: TypeAlias = "tuple[Node, _Rest] | None"  # what must still follow: a node, then the rest


@dataclass(frozen=True, slots=True)
class Dfa:
    """An automaton with the states 0 to `states - 1`, transitions by word, and the states where a sentence may end."""

    states: int
    start: int
    ends: frozenset[int]
    arcs: tuple[tuple[int, int, str], ...]  # from, to, word

    @property
    def words(self) -> frozenset[str]:
        """All words of the transitions."""
        return frozenset(word for _, _, word in self.arcs)


def minimal_dfa(node: Node, slots: Mapping[str, Slot]) -> Dfa:
    """The minimal deterministic automaton of a phrase."""
    known: dict[frozenset[_Rest], int] = {}
    numbers: dict[tuple[bool, tuple[tuple[str, int], ...]], int] = {}

    def state(rests: frozenset[_Rest]) -> int:
        if rests in known:
            return known[rests]
        steps: dict[str, set[_Rest]] = {}
        done = False
        for rest in rests:
            for word, after in _next_words(rest, slots):
                if word is None:
                    done = True
                else:
                    steps.setdefault(word, set()).add(after)
        transitions = tuple(sorted((word, state(frozenset(after))) for word, after in steps.items()))
        known[rests] = numbers.setdefault((done, transitions), len(numbers))
        return known[rests]

    start = state(frozenset([(node, None)]))
    arcs = tuple((number, to, word) for (_, transitions), number in numbers.items() for word, to in transitions)
    return Dfa(len(numbers), start, frozenset(number for (done, _), number in numbers.items() if done), arcs)


def _next_words(rest: _Rest, slots: Mapping[str, Slot]) -> Iterator[tuple[str | None, _Rest]]:
    """The possible next words, each with the rest that must follow; None where the sentence may end here."""
    if rest is None:
        yield None, None
        return
    node, after = rest
    match node:
        case Word(text):
            yield text, after
        case Blank(name):
            yield from _next_words((slots[name].shape, after), slots)
        case Choice(options):
            for option in options:
                yield from _next_words((option, after), slots)
        case Row(parts):
            for part in reversed(parts):
                after = (part, after)
            yield from _next_words(after, slots)
