"""Phrases as the smallest automaton that accepts them, which is what a decoder searches.

Written out as JSGF, the demo agent's grammars took 19 MB and 0.15 s each in PocketSphinx, because every mention of a
slot is a copy; with common ends shared they take a fraction. What phrases say is finite, so there are no loops, and two
states are the same when the same words lead on from them to the same states.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from gateway.models.local.patterns import Blank, Choice, Node, Row, Slot, Word

_Rest: TypeAlias = "tuple[Node, _Rest] | None"  # what must still be said: a node, then the rest


@dataclass(frozen=True, slots=True)
class Automaton:
    """States 0 to `states - 1`, words leading from one to another, and the states in which a sentence may end."""

    states: int
    start: int
    ends: frozenset[int]
    arcs: tuple[tuple[int, int, str], ...]  # from, to, word

    @property
    def words(self) -> frozenset[str]:
        """Every word that can be said."""
        return frozenset(word for _, _, word in self.arcs)


def smallest(node: Node, slots: Mapping[str, Slot]) -> Automaton:
    """The minimal deterministic automaton of a phrase."""
    known: dict[frozenset[_Rest], int] = {}
    same: dict[tuple[bool, tuple[tuple[str, int], ...]], int] = {}

    def state(rests: frozenset[_Rest]) -> int:
        if rests in known:
            return known[rests]
        steps: dict[str, set[_Rest]] = {}
        done = False
        for rest in rests:
            for word, after in _firsts(rest, slots):
                if word is None:
                    done = True
                else:
                    steps.setdefault(word, set()).add(after)
        onward = tuple(sorted((word, state(frozenset(after))) for word, after in steps.items()))
        known[rests] = same.setdefault((done, onward), len(same))
        return known[rests]

    start = state(frozenset([(node, None)]))
    arcs = tuple((number, to, word) for (_, onward), number in same.items() for word, to in onward)
    return Automaton(len(same), start, frozenset(number for (done, _), number in same.items() if done), arcs)


def _firsts(rest: _Rest, slots: Mapping[str, Slot]) -> Iterator[tuple[str | None, _Rest]]:
    """The words that can come first, each with what must follow; None where nothing need come."""
    if rest is None:
        yield None, None
        return
    node, after = rest
    match node:
        case Word(text):
            yield text, after
        case Blank(name):
            yield from _firsts((slots[name].shape, after), slots)
        case Choice(options):
            for option in options:
                yield from _firsts((option, after), slots)
        case Row(parts):
            for part in reversed(parts):
                after = (part, after)
            yield from _firsts(after, slots)
