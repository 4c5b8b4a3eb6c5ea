"""The query texts that the stand-in knows: those of `sessions/stores/cosmos_queries.py`, with what each means.

There is no parser: a text, its runs of white space made one space each, is looked up in a table, and an unknown one is
refused. So a text that changes in the store must change here, by hand and with its meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from operator import eq, ge, le, lt, ne
from typing import Any

from cosmos.indexing import Order, look_up

Item = Mapping[str, Any]
Parameters = Mapping[str, Any]
Condition = Callable[[Item, Parameters], bool]


@dataclass(frozen=True, slots=True)
class Template:
    """What one text asks for."""

    where: tuple[str, ...] = ()  # conditions, by their text
    columns: tuple[str, ...] | None = None  # properties of the answer; None: whole items
    value: bool = False  # SELECT VALUE: the one column itself
    order: tuple[Order, ...] = ()
    top: str | None = None  # the parameter that says how many


def _compared(one: Any, compare: Callable[[Any, Any], bool], two: Any) -> bool:
    """A comparison as the service makes it: values of different kinds, or none, satisfy no condition."""
    return _kind(one) == _kind(two) != "" and compare(one, two)


def _kind(value: Any) -> str:
    """The kind of a value that can be compared; empty for an object, a list, or nothing at all."""
    if value is None or isinstance(value, bool):
        return type(value).__name__
    return "number" if isinstance(value, int | float) else "text" if isinstance(value, str) else ""


def _says(path: str, compare: Callable[[Any, Any], bool], value: str | int) -> Condition:
    """`c.path OPERATOR value`."""
    return lambda item, _: _compared(look_up(item, path), compare, value)


def _asks(path: str, compare: Callable[[Any, Any], bool], parameter: str) -> Condition:
    """`c.path OPERATOR @parameter`."""
    return lambda item, parameters: _compared(look_up(item, path), compare, parameters[parameter])


def _after(item: Item, parameters: Parameters) -> bool:
    started_at, session_id = look_up(item, "started_at"), look_up(item, "session_id")
    return _compared(started_at, lt, parameters["@started_at"]) or (
        _compared(started_at, eq, parameters["@started_at"]) and _compared(session_id, lt, parameters["@session_id"])
    )


AFTER = "(c.started_at < @started_at OR (c.started_at = @started_at AND c.session_id < @session_id))"
CONDITIONS: dict[str, Condition] = {
    "c.type = @type": _asks("type", eq, "@type"),
    "c.type = 'session'": _says("type", eq, "session"),
    "c.type != 'session'": _says("type", ne, "session"),
    "c.tenant = @tenant": _asks("tenant", eq, "@tenant"),
    "c.state = 'live'": _says("state", eq, "live"),
    "c.state = @state": _asks("state", eq, "@state"),
    "c.agent = @agent": _asks("agent", eq, "@agent"),
    "c.owner.boot = @boot": _asks("owner/boot", eq, "@boot"),
    "c.purge_after <= @now": _asks("purge_after", le, "@now"),
    "c.started_at >= 0": _says("started_at", ge, 0),
    AFTER: _after,
}
NEWEST_FIRST: tuple[Order, ...] = (("started_at", True), ("session_id", True))


def _texts() -> dict[str, Template]:
    known = {
        "SELECT * FROM c WHERE c.type = @type ORDER BY c.id": Template(("c.type = @type",), order=(("id", False),)),
        "SELECT VALUE c.id FROM c": Template(columns=("id",), value=True),
        "SELECT c.type, c.purge_after FROM c": Template(columns=("type", "purge_after")),
    }
    live = ("c.type = 'session'", "c.state = 'live'")
    for where in (live, (*live, "c.owner.boot = @boot")):
        known[f"SELECT * FROM c WHERE {' AND '.join(where)}"] = Template(where)
    for kind in ("c.type = 'session'", "c.type != 'session'"):
        where = (kind, "c.purge_after <= @now")
        text = f"SELECT c.tenant, c.session_id, c.purge_after FROM c WHERE {' AND '.join(where)}"
        known[text] = Template(where, ("tenant", "session_id", "purge_after"))
    # A page of a tenant's sessions, newest first; each further condition is there or not.
    optional = (AFTER, "c.agent = @agent", "c.state = @state")
    for chosen in product((True, False), repeat=len(optional)):
        filters = [text for text, there in zip(optional, chosen, strict=True) if there]
        page = ("c.tenant = @tenant", "c.type = 'session'", "c.started_at >= 0", *filters)
        text = f"SELECT TOP @top * FROM c WHERE {' AND '.join(page)} ORDER BY c.started_at DESC, c.session_id DESC"
        known[text] = Template(page, order=NEWEST_FIRST, top="@top")
    return known


KNOWN = _texts()
