"""The setting `telemetry`: what becomes of the traces of calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import orjson
from pydantic import AfterValidator, BeforeValidator, Field

from gateway.config.urls import read_url
from gateway.config.values import Number, Table, Whole
from gateway.telemetry.spans.patterns import MAX_PATTERNS, check_pattern
from gateway.telemetry.spans.policy import Shape, TelemetryPolicy
from sessions.agent import TelemetryContent


def _lines(value: object) -> object:
    """Patterns hold commas and blanks, so in a text each has a line of its own."""
    if isinstance(value, str):
        if _is_list(
            value
        ):  # it would be taken for one pattern, a set of characters, and mask nothing of what was meant
            raise ValueError("is a list written as JSON; write one pattern a line, without quotes and brackets")
        return tuple(line.strip() for line in value.splitlines() if line.strip())
    return value


def _is_list(text: str) -> bool:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return isinstance(found, list) and any(isinstance(part, str) for part in found)


def _patterns(value: tuple[str, ...]) -> tuple[str, ...]:
    faults = [
        f"pattern {at}: {fault}" for at, pattern in enumerate(value, start=1) if (fault := check_pattern(pattern))
    ]
    if faults:
        raise ValueError("; ".join(faults))
    return value


PLACEHOLDERS = ("{trace_id}", "{session_id}")  # of a link to a trace
Patterns = Annotated[
    tuple[str, ...], BeforeValidator(_lines), Field(max_length=MAX_PATTERNS), AfterValidator(_patterns)
]


def _template(value: str) -> str:
    plain = value
    for placeholder in PLACEHOLDERS:
        plain = plain.replace(placeholder, "x")
    parts = read_url(plain, ("https", "http"))
    if parts.username is not None or parts.password is not None:
        raise ValueError("must hold no user name or password; the API shows this link")
    if plain == value or "{" in plain or "}" in plain:
        raise ValueError(f"must hold {' or '.join(PLACEHOLDERS)}, and no other braces")
    return value


TraceUrl = Annotated[str, AfterValidator(_template)]


class Telemetry(Table):
    """How traces are cut, what they hold, and which are sent."""

    trace: Shape = Field(default=Shape.TURN, description="what a trace is: a turn, or a call")
    content: TelemetryContent = Field(
        default=TelemetryContent.NONE, description="what may be sent of the words in calls; an agent may lower it"
    )
    ratio: Number = Field(
        default=1.0, ge=0, le=1, allow_inf_nan=False, description="the share of the calls whose traces are sent"
    )
    slow_ms: Whole = Field(
        default=2_000, ge=0, le=600_000, description="turns with a greater latency are always sent, milliseconds"
    )
    redact: Patterns = Field(default=(), description="regular expressions of what is masked in words")

    def policy(
        self,
        *,
        environment: str = "",
        release: str = "",
        agents: Mapping[str, TelemetryContent] | None = None,
        transports: Mapping[str, str] | None = None,
    ) -> TelemetryPolicy:
        """The policy that these settings make; the other parts come from agents, MCP servers and the deployment."""
        return TelemetryPolicy(
            shape=self.trace,
            content=self.content,
            ratio=self.ratio,
            slow_ms=self.slow_ms,
            redact=self.redact,
            environment=environment,
            release=release,
            agents=agents or {},
            transports=transports or {},
        )
