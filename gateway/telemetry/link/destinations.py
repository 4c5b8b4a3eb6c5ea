"""The destinations of telemetry, read from the standard names in the settings; imports no exporter.

Each part of a destination that takes one signal is a `Target`. They travel to the courier as JSON.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from gateway.config.destinations import (
    AUTHENTICATION,
    CONNECTION,
    INTERVAL,
    LANGFUSE_CLOUD,
    RESOURCE,
    SERVICE,
    SIGNALS,
    connection_parts,
    disabled,
    endpoint,
    option,
    pairs,
)
from sessions.errors import VoiceError

OTLP, LANGFUSE, AZURE = "otlp", "langfuse", "azure"
TRACES, METRICS, LOGS = SIGNALS
SCORES, AUDIO = "scores", "audio"  # which only Langfuse takes
_DEFAULT_TIMEOUT_MS = "10000"
_DEFAULT_INTERVAL_MS = "60000"
# The package that a destination needs, and the extra that installs it.
_NEEDS = {
    OTLP: ("opentelemetry-proto", "telemetry"),
    LANGFUSE: ("opentelemetry-proto", "telemetry"),
    AZURE: ("azure-monitor-opentelemetry-exporter", "azure-monitor"),
}


class PartMissing(VoiceError):
    """A destination needs a package that is not installed; the message says how to install it."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where one signal is posted: over OTLP/HTTP, or to an interface of Langfuse's own."""

    url: str
    headers: Mapping[str, str]
    timeout_s: float
    gzip: bool
    certificate: str  # the path of a PEM file; empty: the system's authorities


@dataclass(frozen=True, slots=True)
class Destination:
    """One receiver. `name` is its dialect, and its label in metrics."""

    name: str
    targets: Mapping[str, Target]  # by signal; none for Azure Monitor, whose exporter knows its own address
    connection: str = ""  # Azure Monitor's connection string
    entra: bool = False  # whether Azure Monitor is to be reached with Microsoft Entra ID
    client_id: str = ""  # of one managed identity

    def takes(self, signal: str) -> bool:
        """Whether it is sent this signal."""
        return signal in self.targets or (self.name == AZURE and signal == TRACES)

    def as_json(self) -> dict[str, Any]:
        """It as JSON, for `from_json`; holds secrets."""
        return asdict(self)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Destination:
        """What `as_json` wrote."""
        targets = {signal: Target(**target) for signal, target in found["targets"].items()}
        return cls(**{**found, "targets": targets})


def destinations_of(given: Mapping[str, str]) -> tuple[Destination, ...]:
    """The destinations that these settings name, which `destination_faults` has checked."""
    if disabled(given):
        return ()
    return tuple(found for found in (_otlp(given), _langfuse(given), _azure(given)) if found is not None)


def check_installed(destinations: tuple[Destination, ...], version_of: Callable[[str], object] = version) -> None:
    """Raise PartMissing if a package is missing that one of the destinations needs. Imports none of them.

    `version_of` raises PackageNotFoundError for a package that is not installed.
    """
    for package, extra in dict.fromkeys(_NEEDS[one.name] for one in destinations):
        try:
            version_of(package)
        except PackageNotFoundError:
            named = ", ".join(one.name for one in destinations if _NEEDS[one.name] == (package, extra))
            raise PartMissing(
                f"telemetry cannot be sent ({named}): {package} is not installed; run pip install 'patchbay[{extra}]', "
                "or unset the destination (docs/telemetry.md)"
            ) from None


def interval_s(given: Mapping[str, str]) -> float:
    """How often metrics are sent."""
    return int(given.get(INTERVAL) or _DEFAULT_INTERVAL_MS) / 1000


def resource_of(
    given: Mapping[str, str], *, version: str, instance: str = "", host: str = "", pod: str = ""
) -> dict[str, str]:
    """What is said about this process with everything that is sent; the operator's own attributes win.

    What is empty is left out; a pod's name replaces the host's.
    """
    facts = {"service.instance.id": instance, "k8s.pod.name": pod, "host.name": "" if pod else host}
    found = {"service.name": "patchbay", "service.version": version}
    found |= {name: value for name, value in facts.items() if value}
    found |= pairs(given.get(RESOURCE, ""))
    if given.get(SERVICE):
        found["service.name"] = given[SERVICE]
    return found


def _otlp(given: Mapping[str, str]) -> Destination | None:
    targets = {
        signal: Target(
            url=url,
            headers=pairs(option(given, signal, "headers")),
            timeout_s=int(option(given, signal, "timeout") or _DEFAULT_TIMEOUT_MS) / 1000,
            gzip=option(given, signal, "compression").lower() != "none",
            certificate=option(given, signal, "certificate"),
        )
        for signal in SIGNALS
        if (url := endpoint(given, signal)) is not None
    }
    return Destination(OTLP, targets) if targets else None


def _langfuse(given: Mapping[str, str]) -> Destination | None:
    public, secret = given.get("langfuse_public_key"), given.get("langfuse_secret_key")
    if not public or not secret:
        return None
    base = (given.get("langfuse_base_url") or given.get("langfuse_host") or LANGFUSE_CLOUD).rstrip("/")
    token = base64.b64encode(f"{public}:{secret}".encode()).decode()
    headers = {
        "Authorization": f"Basic {token}",
        "x-langfuse-ingestion-version": "4",
        "x-langfuse-public-key": public,
    }
    plain = {name: value for name, value in headers.items() if name != "x-langfuse-ingestion-version"}
    timeout_s = int(_DEFAULT_TIMEOUT_MS) / 1000

    def target(path: str, headers: Mapping[str, str], *, gzip: bool) -> Target:
        return Target(f"{base}/api/public/{path}", headers, timeout_s, gzip=gzip, certificate="")

    targets = {
        TRACES: target("otel/v1/traces", headers, gzip=True),
        SCORES: target("scores", plain, gzip=False),
        AUDIO: target("media", plain, gzip=False),
    }
    return Destination(LANGFUSE, targets)


def _azure(given: Mapping[str, str]) -> Destination | None:
    connection = given.get(CONNECTION)
    if not connection:
        return None
    access = connection_parts(given.get(AUTHENTICATION, ""))
    return Destination(AZURE, {}, connection, entra=bool(access), client_id=access.get("clientid", ""))
