"""A span as plain values; the courier turns it into OTLP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

Attribute: TypeAlias = "str | int | float | bool | Sequence[str]"
Attributes: TypeAlias = Mapping[str, Attribute]


class Kind(Enum):
    """The kind of a span, as OpenTelemetry defines them."""

    INTERNAL = "internal"
    SERVER = "server"
    CLIENT = "client"


@dataclass(frozen=True, slots=True)
class SpanEvent:
    """Something that happened at one moment of a span; `at_ns` is Unix time."""

    name: str
    at_ns: int
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class Link:
    """Points from a span to one in another trace."""

    trace_id: bytes  # 16
    span_id: bytes  # 8


@dataclass(frozen=True, slots=True)
class Span:
    """One span that is over. Times are in Unix nanoseconds; `error` is whether its status is ERROR.

    `model` (KIND/NAME, of the call) and `first_sound_ns` are for the dialects; they are not sent as such.
    """

    name: str
    kind: Kind
    trace_id: bytes  # 16
    span_id: bytes  # 8
    parent_id: bytes | None
    begin_ns: int
    end_ns: int
    attributes: Attributes
    events: tuple[SpanEvent, ...] = ()
    links: tuple[Link, ...] = ()
    error: bool = False
    model: str = ""
    first_sound_ns: int | None = None
