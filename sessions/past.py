"""What a session of a model is told of a talk that it did not have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class PastMessage:
    """Something said earlier, told to a fresh model session. `role` is user, assistant or system."""

    item_id: str
    role: str
    text: str


@dataclass(frozen=True, slots=True)
class PastToolCall:
    """A tool call made earlier, with its result, told to a fresh model session."""

    item_id: str
    call_id: str
    name: str
    arguments: str
    output: str


Past: TypeAlias = PastMessage | PastToolCall


def told_as(entry: Past) -> str:
    """The name by which one knows whether a model was told of it: a call's own, a message's item."""
    return entry.call_id if isinstance(entry, PastToolCall) else entry.item_id
