"""Dictionaries with a bound, for what is remembered by ids of the model's: it may use any number of them."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TypeVar

MAX_KNOWN = 128  # entries
Key = TypeVar("Key", bound=Hashable)
Known = TypeVar("Known")


def remember(known: dict[Key, Known], key: Key, value: Known, most: int = MAX_KNOWN) -> None:
    """Keep a value by its id, and forget the oldest entry where there would be more than `most`."""
    if len(known) >= most and key not in known:
        del known[next(iter(known))]
    known[key] = value
