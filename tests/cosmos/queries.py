"""Queries: which items a known text returns, in which order, and page by page.

A query goes to one logical partition (whole key), to one physical range or a part of it (range id, effective keys), or
across partitions, where each page comes from one physical range. A continuation names the range and the last item, so a
page goes on behind it even if that item is gone.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cmp_to_key
from hashlib import sha256
from typing import Any

import orjson

from cosmos.epk import Key, KeyRange
from cosmos.indexing import UNDEFINED, IndexPolicy, Order, look_up
from cosmos.items import Container
from cosmos.refusals import Refusal, bad
from cosmos.shards import Replica, Stored
from cosmos.templates import CONDITIONS, KNOWN, Template

PAGE_BYTES = 4 * 1024 * 1024
DEFAULT_PAGE = 100


@dataclass(frozen=True, slots=True)
class Scope:
    """Which items are looked at, in one physical range."""

    range_id: str
    replica: Replica
    key: Key | None = None  # one logical partition
    run: KeyRange | None = None  # or what lies in this run of effective keys

    def items(self, container: Container) -> Iterator[Stored]:
        """The items that live."""
        found = self.replica.all() if self.key is None else self.replica.of_key(container.place(self.key))
        for stored in found:
            inside = self.run is None or self.run.holds(stored.epk) or "prefix" in container.broken
            if inside and container.lives(stored):
                yield stored


@dataclass(frozen=True, slots=True)
class Page:
    """One answer to a query."""

    documents: list[Any]
    returned_bytes: int
    range_id: str
    lsn: int  # of the replica that answered
    continuation: str | None


@dataclass(frozen=True, slots=True)
class Asked:
    """A query as it came."""

    text: str
    template: Template
    parameters: dict[str, Any]
    limit: int  # items a page

    @property
    def digest(self) -> str:
        """Ties a continuation to its query."""
        return sha256(self.text.encode()).hexdigest()[:16]


def understand(body: Mapping[str, Any], limit: int | None, broken: Sequence[str] | frozenset[str]) -> Asked | None:
    """Look the text up; `None` where an unknown one is let through. Raises Refusal 400."""
    text = " ".join(str(body.get("query", "")).split())
    parameters = {entry["name"]: entry["value"] for entry in body.get("parameters", ())}
    template = KNOWN.get(text)
    if template is None:
        if "query_texts" in broken:
            return None
        raise bad("The stand-in does not know this query text.")
    missing = sorted(name for name in named(text) if name not in parameters)
    if missing:
        raise bad(f"The query has no value for {', '.join(missing)}.")
    return Asked(text, template, parameters, DEFAULT_PAGE if limit is None else limit)


def named(text: str) -> set[str]:
    """The parameters that a text names."""
    return {word.strip("(),") for word in text.split() if word.strip("(),").startswith("@")}


def check_index(template: Template, index: IndexPolicy, broken: Sequence[str] | frozenset[str]) -> None:
    """An ORDER BY needs its index; a filter does without one. Raises Refusal 400."""
    if len(template.order) > 1 and not index.orders(template.order) and "composite_index" not in broken:
        raise bad("The order by query does not have a corresponding composite index that it can be served from.")
    if len(template.order) == 1 and not index.covers(template.order[0][0]) and "order_index" not in broken:
        raise bad("The order-by item requires a range index to be defined on the corresponding index path.")


def page(container: Container, asked: Asked, scopes: Sequence[Scope], continuation: str | None) -> Page:
    """The page behind a continuation, or the first. Raises Refusal 400 for a continuation that was not given."""
    place = _read(continuation, asked, scopes) if continuation else None
    number = 0 if place is None else [scope.range_id for scope in scopes].index(place["range"])
    scope = scopes[number]
    after = None if place is None else place["after"]
    left = asked.parameters[asked.template.top] if asked.template.top is not None else None
    if place is not None and place["left"] is not None:
        left = place["left"]
    found = _behind(_found(container, asked, scope), asked.template.order, after)
    limit = asked.limit if asked.limit > 0 else len(found)
    if left is not None and "top" not in container.broken:
        limit = min(limit, left)
    taken, returned_bytes = _filled(found[:limit], asked.template)
    documents = [_shown(stored.body, asked.template) for stored in taken]
    left = None if left is None else left - len(taken)
    next_place: dict[str, Any] | None = None
    if left != 0:
        if len(taken) < len(found):
            next_place = {"range": scope.range_id, "after": _position(taken[-1], asked.template.order)}
        elif number + 1 < len(scopes):
            next_place = {"range": scopes[number + 1].range_id, "after": None}
    given = None
    if next_place is not None and "continuation" not in container.broken:
        given = base64.b64encode(orjson.dumps({**next_place, "left": left, "query": asked.digest})).decode()
    return Page(documents, returned_bytes, scope.range_id, scope.replica.lsn, given)


def _read(continuation: str, asked: Asked, scopes: Sequence[Scope]) -> dict[str, Any]:
    try:
        place = orjson.loads(base64.b64decode(continuation, validate=True))
        known = place["query"] == asked.digest and place["range"] in [scope.range_id for scope in scopes]
    except (binascii.Error, ValueError, TypeError, KeyError):
        known = False
    if not known:
        raise Refusal(400, "BadRequest", "The continuation token is malformed, or of another query.")
    return dict(place)


def _found(container: Container, asked: Asked, scope: Scope) -> list[Stored]:
    """All items of the scope that the text describes, in its order."""
    conditions = [] if "filter" in container.broken else [CONDITIONS[text] for text in asked.template.where]
    found = [
        stored
        for stored in scope.items(container)
        if all(condition(stored.body, asked.parameters) for condition in conditions)
    ]
    order = asked.template.order

    def compared(one: Stored, two: Stored) -> int:
        return _compare(_position(one, order), _position(two, order), order)

    found.sort(key=cmp_to_key(compared), reverse=bool(order) and "order" in container.broken)
    return found


def _behind(found: list[Stored], order: Sequence[Order], after: list[Any] | None) -> list[Stored]:
    if after is None:
        return found
    for place, stored in enumerate(found):
        if _position(stored, order) == after:
            return found[place + 1 :]
    return [stored for stored in found if _compare(_position(stored, order), after, order) > 0]


def _filled(found: Sequence[Stored], template: Template) -> tuple[list[Stored], int]:
    """As many items as one answer holds, one at least, and their bytes."""
    taken: list[Stored] = []
    returned_bytes = 0
    for stored in found:
        size_bytes = stored.size_bytes if template.columns is None else len(orjson.dumps(_shown(stored.body, template)))
        if taken and returned_bytes + size_bytes > PAGE_BYTES:
            break
        taken.append(stored)
        returned_bytes += size_bytes
    return taken, returned_bytes


def _shown(body: Mapping[str, Any], template: Template) -> Any:
    """The item as the SELECT names it: a nested property stands under its last name."""
    if template.columns is None:
        return body
    if template.value:
        return look_up(body, template.columns[0])
    values = {path.split("/")[-1]: look_up(body, path) for path in template.columns}
    return {name: value for name, value in values.items() if value is not UNDEFINED}


def _position(stored: Stored, order: Sequence[Order]) -> list[Any]:
    """Where an item stands in the order; the order of creation tells apart what is equal."""
    return [*(_ranked(look_up(stored.body, path)) for path, _ in order), stored.number]


def _ranked(value: Any) -> list[Any]:
    """Values of several kinds in the service's order: undefined, null, booleans, numbers, texts."""
    kinds: tuple[tuple[type, ...], ...] = ((bool,), (int, float), (str,))
    if value is UNDEFINED:
        return [0]
    for rank, kind in enumerate(kinds, 2):
        if isinstance(value, kind):
            return [rank, value]
    return [1]


def _compare(one: list[Any], two: list[Any], order: Sequence[Order]) -> int:
    directions = [*(descends for _, descends in order), False]
    for left, right, descends in zip(one, two, directions, strict=True):
        if left != right:
            return -1 if (left < right) is not descends else 1
    return 0
