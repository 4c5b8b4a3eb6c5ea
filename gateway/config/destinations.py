"""Checks where telemetry is sent, by the standard names of OpenTelemetry, Langfuse and Azure Monitor.

They keep the names that their own programs use, so that what an operator has set already works here too. Other names
of these programs (`OTEL_TRACES_SAMPLER`, say) are left to them.
Source: OpenTelemetry specification 1.50, "OTLP exporter" and "SDK environment variables"; Langfuse, "OpenTelemetry";
Azure Monitor, "Connection strings".
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote

from audio.whole_file import MAX_TEXT_BYTES, UnfitFile, read_whole
from gateway.config.urls import read_plain_url

SIGNALS = ("traces", "metrics", "logs")
OTLP = "otel_exporter_otlp_"
_OPTIONS = ("endpoint", "headers", "timeout", "compression", "certificate", "protocol")
LANGFUSE = ("langfuse_public_key", "langfuse_secret_key", "langfuse_base_url", "langfuse_host")
CONNECTION = "applicationinsights_connection_string"
AUTHENTICATION = "applicationinsights_authentication_string"
DISABLED = "otel_sdk_disabled"
INTERVAL = "otel_metric_export_interval"
SERVICE, RESOURCE = "otel_service_name", "otel_resource_attributes"
LANGFUSE_ENVIRONMENT, LANGFUSE_RELEASE = "langfuse_tracing_environment", "langfuse_release"
NAMES = frozenset(
    [OTLP + option for option in _OPTIONS]
    + [f"{OTLP}{signal}_{option}" for signal in SIGNALS for option in _OPTIONS]
    + [f"otel_{signal}_exporter" for signal in SIGNALS]
    + [DISABLED, INTERVAL, SERVICE, RESOURCE, CONNECTION, AUTHENTICATION]
    + [*LANGFUSE, LANGFUSE_ENVIRONMENT, LANGFUSE_RELEASE]
)
LANGFUSE_CLOUD = "https://cloud.langfuse.com"

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# They describe one request and its connection; set twice, or to something else, every request fails.
_REQUEST_HEADERS = frozenset(
    (
        *("connection", "content-encoding", "content-length", "content-type", "expect", "host"),
        *("keep-alive", "te", "trailer", "transfer-encoding", "upgrade"),
    )
)
_AZURE_URLS = ("IngestionEndpoint", "LiveEndpoint")
_GUID = re.compile(r"[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_ENVIRONMENT = re.compile(r"(?!langfuse)[a-z0-9_-]{1,40}")
_MAX_MS = 600_000
_MAX_CERTIFICATE_BYTES = 16 * MAX_TEXT_BYTES


def disabled(given: Mapping[str, str]) -> bool:
    """Whether all sending is switched off by `OTEL_SDK_DISABLED`."""
    return given.get(DISABLED, "").lower() == "true"


def option(given: Mapping[str, str], signal: str, name: str) -> str:
    """An option of the OTLP exporter for one signal: its own value, or else that of all signals; empty if not set."""
    return given.get(f"{OTLP}{signal}_{name}") or given.get(OTLP + name, "")


def endpoint(given: Mapping[str, str], signal: str) -> str | None:
    """The URL to which a signal is posted over OTLP; None if it is not sent."""
    if given.get(f"otel_{signal}_exporter", "otlp").lower() == "none":
        return None
    own = given.get(f"{OTLP}{signal}_endpoint")
    if own:
        return own
    base = given.get(f"{OTLP}endpoint")
    return None if not base else f"{base.rstrip('/')}/v1/{signal}"


def pairs(text: str) -> dict[str, str]:
    """The pairs of `key=value,key=value` with percent-encoded values (W3C Baggage). Raises ValueError."""
    found: dict[str, str] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            raise ValueError("must be pairs such as key=value, separated by commas; write a comma in a value as %2C")
        found[key.strip()] = unquote(value.strip())
    return found


def connection_parts(text: str) -> dict[str, str]:
    """The parts of a connection string of Azure Monitor, by their names in small letters. Raises ValueError."""
    found: dict[str, str] = {}
    for part in filter(None, map(str.strip, text.split(";"))):
        key, equals, value = part.partition("=")
        if not equals:
            raise ValueError("must be parts such as InstrumentationKey=…, separated by semicolons")
        found[key.strip().lower()] = value.strip()
    return found


def destination_faults(given: Mapping[str, str]) -> list[str]:
    """What is wrong with these settings, as lines of `destinations.NAME: what to do`; values are not shown."""
    unknown = [f"destinations.{name}: there is no such setting" for name in sorted(given.keys() - NAMES)]
    if unknown or disabled(given):
        return unknown
    checks = (*_otlp_faults(given), *_langfuse_faults(given), *_azure_faults(given), *_common_faults(given))
    return [f"destinations.{name}: {message}" for name, message in dict.fromkeys(checks)]


def _common_faults(given: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    if given.get(DISABLED, "false").lower() not in ("true", "false"):
        yield DISABLED, "must be true or false"
    if not _whole(given.get(INTERVAL, "60000"), 1_000, _MAX_MS):
        yield INTERVAL, f"must be a whole number of milliseconds, from 1000 to {_MAX_MS}"
    yield from _checked(RESOURCE, given, pairs)
    for signal in SIGNALS:
        name = f"otel_{signal}_exporter"
        if given.get(name, "otlp").lower() not in ("otlp", "none"):
            yield name, "must be otlp or none; Patchbay sends over OTLP, and its /metrics is there for Prometheus"


def _otlp_faults(given: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for signal in SIGNALS:
        if endpoint(given, signal) is None:
            continue
        for name, check in _CHECKS.items():
            own = f"{OTLP}{signal}_{name}"
            yield from _checked(own if given.get(own) else OTLP + name, given, check)


def _checked(name: str, given: Mapping[str, str], check: Callable[[str], object]) -> Iterator[tuple[str, str]]:
    try:
        if given.get(name):
            check(given[name])
    except ValueError as problem:
        yield name, str(problem)


def _langfuse_faults(given: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    public, secret = LANGFUSE[:2]
    if bool(given.get(public)) != bool(given.get(secret)):
        missing, there = (secret, public) if given.get(public) else (public, secret)
        yield there, f"needs {missing.upper()}; set both, from the project's settings in Langfuse, or neither"
    for name in LANGFUSE[:2]:
        if not given.get(name, "x").isascii() or ":" in given.get(name, ""):
            yield name, "must be a key as Langfuse shows it: ASCII, without a colon"
    for name, other in ((public, "sk-lf-"), (secret, "pk-lf-")):
        if given.get(name, "").startswith(other):
            kind = "secret" if name == public else "public"
            yield name, f"begins with {other}, as a {kind} key does; set each key to its own name"
    for name in LANGFUSE[2:]:
        yield from _checked(name, given, _url)
    base_url, host = (given.get(name, "").rstrip("/") for name in LANGFUSE[2:])
    if base_url and host and base_url != host:
        yield LANGFUSE[3], f"is another address than {LANGFUSE[2].upper()}; set only one of the two"
    environment = given.get(LANGFUSE_ENVIRONMENT)
    if environment and not _ENVIRONMENT.fullmatch(environment):
        yield (
            LANGFUSE_ENVIRONMENT,
            "must be at most 40 small letters, digits, - and _, and must not begin with langfuse",
        )


def _azure_faults(given: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    yield from _checked(CONNECTION, given, _connection)
    if given.get(AUTHENTICATION):
        if not given.get(CONNECTION):
            yield AUTHENTICATION, f"needs {CONNECTION.upper()}"
        yield from _checked(AUTHENTICATION, given, _authentication)


def _connection(text: str) -> None:
    found = connection_parts(text)
    if not _GUID.fullmatch(found.get("instrumentationkey", "")):
        raise ValueError("must hold InstrumentationKey= and a key such as 00000000-0000-0000-0000-000000000000")
    for name in _AZURE_URLS:
        if found.get(name.lower()):
            try:
                _url(found[name.lower()])
            except ValueError as problem:
                raise ValueError(f"{name} {problem}") from None


def _authentication(text: str) -> None:
    try:
        found = connection_parts(text)
    except ValueError:
        found = {}
    if found.get("authorization", "").upper() != "AAD":
        raise ValueError("must be Authorization=AAD, or Authorization=AAD;ClientId=… for one managed identity")


def _url(text: str) -> None:
    read_plain_url(text, ("https", "http"))


def _headers(text: str) -> None:
    for name, value in pairs(text).items():
        if not _HEADER_NAME.fullmatch(name) or not value.isprintable() or not value.isascii():
            raise ValueError("must be names and values of HTTP headers, such as api-key=…, separated by commas")
        if name.lower() in _REQUEST_HEADERS:
            raise ValueError(f"must not hold {name}, which Patchbay sets itself for each request; take it out")


def _timeout(text: str) -> None:
    if not _whole(text, 1, _MAX_MS):
        raise ValueError(f"must be a whole number of milliseconds, from 1 to {_MAX_MS}")


def _compression(text: str) -> None:
    if text.lower() not in ("gzip", "none"):
        raise ValueError("must be gzip or none")


def _certificate(text: str) -> None:
    try:
        read_whole(Path(text), _MAX_CERTIFICATE_BYTES)  # OpenSSL would wait for the writer of a named pipe
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(Path(text))
    except UnfitFile as problem:
        raise ValueError(f"must be the path of a file with PEM certificates, but it {problem.strerror}") from None
    except (OSError, ValueError):
        raise ValueError("must be the path of a file with PEM certificates") from None


def _protocol(text: str) -> None:
    if text.lower() == "grpc":
        raise ValueError(
            "gRPC is not spoken here; write http/protobuf, and the collector's address for it (port 4318 as a rule)"
        )
    if text.lower() != "http/protobuf":
        raise ValueError("must be http/protobuf")


def _whole(text: str, least: int, most: int) -> bool:
    return text.isascii() and text.isdigit() and least <= int(text) <= most


_CHECKS: Mapping[str, Callable[[str], None]] = {
    "endpoint": _url,
    "headers": _headers,
    "timeout": _timeout,
    "compression": _compression,
    "certificate": _certificate,
    "protocol": _protocol,
}
