"""The server's first line for a courier: where to send, what may be sent, and who sends. Holds secrets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gateway.telemetry.link.destinations import Destination
from gateway.telemetry.spans.policy import Shape, TelemetryPolicy
from sessions.agent import TelemetryContent


def hello_of(
    destinations: Sequence[Destination],
    policy: TelemetryPolicy,
    resource: Mapping[str, str],
    *,
    version: str,
    started_ns: int,
    log_level: str,
    ledger: Path | None,
    blobs: Mapping[str, str | None] | None = None,
) -> dict[str, Any]:
    """The courier's configuration as JSON. `blobs`: where recordings are, `url` and `key`; None: no sound is sent."""
    return {
        "destinations": [one.as_json() for one in destinations],
        "policy": asdict(policy),
        "resource": dict(resource),
        "version": version,
        "started_ns": started_ns,
        "log_level": log_level,
        "ledger": None if ledger is None else str(ledger),
        "blobs": None if blobs is None else dict(blobs),
    }


def policy_from_json(found: Mapping[str, Any]) -> TelemetryPolicy:
    """The policy in `hello`."""
    return TelemetryPolicy(
        **{
            **found,
            "shape": Shape(found["shape"]),
            "content": TelemetryContent(found["content"]),
            "redact": tuple(found["redact"]),
            "agents": {name: TelemetryContent(level) for name, level in found["agents"].items()},
        }
    )
