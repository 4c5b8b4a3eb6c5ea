"""Spans that are ready to be sent, with the part of the call that they are."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from gateway.telemetry.spans.span import Span


class What(StrEnum):
    """Says which part of a call a group of spans is."""

    SETUP = "setup"
    DIAL = "dial"
    TURN = "turn"
    CALL = "call"


@dataclass(frozen=True, slots=True)
class Settled:
    """Spans that belong together and are ready to be sent; `index` is that of a turn or a dial."""

    tenant: str
    session_id: str
    what: What
    index: int | None
    spans: tuple[Span, ...]
