"""What a conversation by the rules answers with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.models.local.patterns import Value
from gateway.models.local.rules import Rule


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool to be called for a rule. `arguments` is a JSON text."""

    tool: str
    arguments: str
    rule: Rule
    slots: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Move:
    """An answer: sentences (or ""), then a tool call (or none)."""

    say: str
    call: ToolCall | None = None
