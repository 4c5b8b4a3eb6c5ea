"""Reads from an expression of PromQL which series it takes, by which labels it picks them, and which labels are left.

It understands what the rules and dashboards of this project use, and is no parser of the language.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_TEXT = r'"(?:[^"\\]|\\.)*"'
_GROUPED = re.compile(r"\b(by|on)\s*\(([^)]*)\)")
_SELECTOR = re.compile(rf"([a-zA-Z_:][\w:]*)\s*(?:\{{((?:[^{{}}\"]|{_TEXT})*)\}})?")
_MATCHER = re.compile(rf"(\w+)\s*(?:=~|!~|!=|=)\s*({_TEXT})")
_WORDS = {"and", "or", "unless", "on", "by", "offset"}


@dataclass(frozen=True, slots=True)
class Selector:
    """One choice of series: the metric, and the text with which each label is compared."""

    metric: str
    matchers: Mapping[str, str]


def selectors(expr: str) -> list[Selector]:
    """All series that an expression takes."""
    bare = re.sub(r"\[[^\]]*\]|\boffset\s+\w+", " ", _GROUPED.sub(" ", expr))
    found = []
    for one in _SELECTOR.finditer(bare):
        is_function = one[2] is None and bare[one.end() :].lstrip().startswith("(")
        if is_function or one[1] in _WORDS:
            continue
        found.append(Selector(one[1], {name: text[1:-1] for name, text in _MATCHER.findall(one[2] or "")}))
    return found


def grouped(expr: str) -> list[tuple[list[str], str]]:
    """Each `by (LABELS) (ARGUMENT)`: its labels, and its argument as text."""
    found = []
    for one in re.finditer(r"\bby\s*\(([^)]*)\)\s*\(", expr):
        depth, at = 1, one.end()
        while depth:
            depth += {"(": 1, ")": -1}.get(expr[at], 0)
            at += 1
        found.append(([label.strip() for label in one[1].split(",")], expr[one.end() : at - 1]))
    return found


def labels_left(expr: str, known: Mapping[str, tuple[str, ...]]) -> set[str]:
    """The labels of what an expression gives; `known` has those of each metric. Its first operand decides."""
    plain = re.match(
        r"\s*(?:\d+(?:\.\d+)? [*-] )?(?:histogram_quantile\([\d.]+,\s*)?(?:max|min|sum|count)\b\s*(by)?", expr
    )
    if plain is None:
        return set(known[selectors(expr)[0].metric])
    if plain[1] is None:
        return set()
    return set(grouped(expr)[0][0]) - ({"le"} if "histogram_quantile" in plain[0] else set())
