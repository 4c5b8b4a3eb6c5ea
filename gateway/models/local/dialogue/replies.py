"""The replies of a conversation by rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.models.local.dialogue.patterns import Value
from gateway.models.local.dialogue.rules import Rule


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A rule's tool call, with the slots at that time. `arguments` is a JSON text."""

    tool: str
    arguments: str
    rule: Rule
    slots: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply: sentences (or ""), then a tool call (or None)."""

    say: str
    call: ToolCall | None = None
