"""The pattern language of the dialogue's phrases: parsing, and matching against words.

`book a table [for {party_size} [people]] (today | tonight)`: words, `[optional]`, `(this | that)`, `{slot}`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from gateway.models.local.dialogue.words import CONTRACTIONS
from sessions.ports import Json

MAX_PIECES = 200  # words, slots and brackets of a phrase; matching recurses that deep
MAX_DEPTH = 16  # of nested brackets


class PatternError(ValueError):
    """A phrase that cannot be parsed; the message says where."""


@dataclass(frozen=True, slots=True)
class Value:
    """A slot's value: `plain` is sent to tools, `spoken` is used in sentences."""

    plain: Json
    spoken: str


@dataclass(frozen=True, slots=True)
class Word:
    """Exactly this word."""

    text: str


@dataclass(frozen=True, slots=True)
class Blank:
    """A place for a slot's value."""

    slot: str


@dataclass(frozen=True, slots=True)
class Row:
    """All of these, in order; an empty row matches the empty sequence."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """Any one of these."""

    options: tuple[Node, ...]


Node: TypeAlias = Word | Blank | Row | Choice

NOTHING = Row(())


@dataclass(frozen=True, slots=True)
class Slot:
    """A named kind of value: the phrases for its values, and the function that reads a value, or None, from words."""

    name: str
    shape: Node
    read: Callable[[tuple[str, ...]], Value | None]


Found: TypeAlias = tuple[tuple[str, Value], ...]

_TOKEN = re.compile(r"\s*(?:(\{[a-z_]+\})|([\[\]()|])|([a-z][a-z'.-]*)|(\S))")


def parse(pattern: str) -> Node:
    """Parse one phrase. Raises PatternError."""
    pieces = _pieces(pattern)
    node, at = _choice(pieces, 0)
    if at < len(pieces):
        raise PatternError(f"{pieces[at]!r} has no opening bracket in {pattern!r}")
    if _may_be_empty(node):
        raise PatternError(f"{pattern!r} is empty, or is empty without its optional parts")
    return node


def _may_be_empty(node: Node) -> bool:
    match node:
        case Word() | Blank():
            return False
        case Row(parts):
            return all(map(_may_be_empty, parts))
        case Choice(options):
            return any(map(_may_be_empty, options))


def _pieces(pattern: str) -> list[str]:
    pieces: list[str] = []
    depth = 0
    for match in _TOKEN.finditer(pattern.rstrip()):
        if match[4] is not None:
            raise PatternError(
                f"{match[4]!r} in {pattern!r}: phrases are lower-case words without digits or punctuation, "
                "with {slot}, [optional] and (this | that)"
            )
        pieces.append(match[1] or match[2] or match[3])
        depth += (pieces[-1] in "[(") - (pieces[-1] in "])")
        if len(pieces) > MAX_PIECES or depth > MAX_DEPTH:
            excess = f"more than {MAX_PIECES} words and signs, or brackets more than {MAX_DEPTH} deep"
            raise PatternError(
                f"the phrase that begins with {pattern[:40]!r} has {excess}; split it into several phrases"
            )
    return pieces


def _choice(pieces: list[str], at: int) -> tuple[Node, int]:
    options: list[Node] = []
    parts: list[Node] = []
    while at < len(pieces) and pieces[at] not in "])":
        piece = pieces[at]
        at += 1
        if piece == "|":
            options.append(_row(parts))
            parts = []
        elif piece in "[(":
            inner, at = _choice(pieces, at)
            if at >= len(pieces) or pieces[at] != {"[": "]", "(": ")"}[piece]:
                raise PatternError(f"a {piece!r} is never closed")
            at += 1
            parts.append(Choice((inner, NOTHING)) if piece == "[" else inner)
        else:
            parts.append(Blank(piece[1:-1]) if piece[0] == "{" else Word(piece))
    options.append(_row(parts))
    return (options[0] if len(options) == 1 else Choice(tuple(options))), at


def _row(parts: list[Node]) -> Node:
    return parts[0] if len(parts) == 1 else Row(tuple(parts))


def ends(
    node: Node, words: tuple[str, ...], at: int, slots: Mapping[str, Slot], found: Found = ()
) -> Iterator[tuple[int, Found]]:
    """Every match of `node` with `words` from index `at`: where it ends, and the slots that it fills."""
    match node:
        case Word(text):
            for spelling in ((text,), CONTRACTIONS.get(text)):
                if spelling is not None and words[at : at + len(spelling)] == spelling:
                    yield at + len(spelling), found
        case Blank(name):
            slot = slots[name]
            for end, _ in ends(slot.shape, words, at, slots):
                value = slot.read(words[at:end])
                if value is not None:
                    yield end, (*found, (name, value))
        case Choice(options):
            for option in options:
                yield from ends(option, words, at, slots, found)
        case Row(parts):
            yield from _row_ends(parts, words, at, slots, found)


def _row_ends(
    parts: tuple[Node, ...], words: tuple[str, ...], at: int, slots: Mapping[str, Slot], found: Found
) -> Iterator[tuple[int, Found]]:
    if not parts:
        yield at, found
        return
    for end, more in ends(parts[0], words, at, slots, found):
        yield from _row_ends(parts[1:], words, end, slots, more)


def fit(node: Node, words: tuple[str, ...], slots: Mapping[str, Slot]) -> Found | None:
    """The slots that are filled if `node` matches all of `words`, else None."""
    return next((found for end, found in ends(node, words, 0, slots) if end == len(words)), None)


def blanks(node: Node) -> frozenset[str]:
    """The names of the slots that a phrase can fill."""
    match node:
        case Word():
            return frozenset()
        case Blank(name):
            return frozenset((name,))
        case Row(parts) | Choice(parts):
            return frozenset().union(*(blanks(part) for part in parts))
