"""Splits an answer into sentences: each is synthesised as one piece, and speech can be stopped between them."""

from __future__ import annotations

import re

LONGEST_CHARS = 120  # 5 to 15 ms of work for espeak-ng; a longer sentence is split at a comma or a space
# The quantifiers are possessive and a match starts at the first of several marks only, so that a text of nothing but
# dots takes no longer than any other.
_END = re.compile(r"(?<![.!?…])[.!?…]++[\"')\]]*+\s++(?=[\"'(\[]?[A-Z0-9À-Þ])|\n+")
_SHORT = re.compile(r"(?:\b(?:Mr|Mrs|Ms|Dr|St|No|vs|etc|e\.g|i\.e)|\b[A-Za-z]\.[A-Za-z]|\b[A-Z])\.$")


def sentences_of(text: str) -> list[str]:
    """The sentences of a text; none is empty or longer than `LONGEST_CHARS`."""
    done, rest = split_off(text)
    return [*done, *_short_enough(rest)] if rest else done


def split_off(text: str) -> tuple[list[str], str]:
    """The complete sentences at the beginning of a text that is still growing, and the rest of the text."""
    done: list[str] = []
    begin = 0
    for match in _END.finditer(text):
        sentence = text[begin : match.end()].strip()
        if _SHORT.search(sentence):
            continue
        if sentence:
            done.extend(_short_enough(sentence))
        begin = match.end()
    return done, text[begin:].strip() if not text[begin:].endswith(" ") else text[begin:].lstrip()


def _short_enough(sentence: str) -> list[str]:
    pieces: list[str] = []
    sentence = sentence.strip()
    while len(sentence) > LONGEST_CHARS:
        at = sentence.rfind(", ", LONGEST_CHARS // 3, LONGEST_CHARS)
        if at < 0:
            at = sentence.rfind(" ", 1, LONGEST_CHARS)
        at = LONGEST_CHARS if at < 0 else at + 1
        pieces.append(sentence[:at].strip())
        sentence = sentence[at:].strip()
    return [*pieces, sentence] if sentence else pieces
