"""Telemetry of one process as its settings ask for it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
from support.telemetry.telemetry_records import call_document

from gateway.config.settings import load_settings
from gateway.telemetry.link.destinations import Destination, destinations_of
from gateway.telemetry.link.hello import hello_of, policy_from_json
from gateway.telemetry.link.opening import Telemetry, policy_of
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.spans.policy import Shape, TelemetryPolicy
from sessions.agent import TelemetryContent

OTLP = "OTEL_EXPORTER_OTLP_ENDPOINT"


def telemetry(folder: Path, *, inline: bool = False, **environ: str) -> Telemetry:
    process: Any = SimpleNamespace(
        settings=load_settings(environ, folder),
        agents={},
        mcp=SimpleNamespace(transports={}),
        metrics=Metrics(None, lambda: 0, inline=True),
        store=None,
    )
    return Telemetry.of(process, "boot_1", {}, inline=inline)


def test_without_a_destination_there_is_nothing(tmp_path: Path) -> None:
    def save(document: Any) -> None:
        """Save nothing."""

    for made in (telemetry(tmp_path), telemetry(tmp_path, inline=True, **{OTLP: "http://collector"})):
        assert made.jobs() == {}
        assert made.saving(save) is save


def test_documents_are_saved_and_handed_over_where_traces_are_sent(tmp_path: Path) -> None:
    saved: list[Any] = []
    made = telemetry(tmp_path, **{OTLP: "http://collector"})
    assert list(made.jobs()) == ["telemetry", "telemetry of dead servers"]
    save = made.saving(saved.append)
    save(call_document())
    assert len(saved) == 1
    only_logs = telemetry(tmp_path, OTEL_EXPORTER_OTLP_LOGS_ENDPOINT="http://collector/v1/logs")
    assert list(only_logs.jobs()) == ["telemetry"]
    assert only_logs.saving(saved.append) == saved.append


def test_the_policy_is_that_of_the_settings(tmp_path: Path) -> None:
    environ = {
        "PATCHBAY_TELEMETRY__TRACE": "call",
        "PATCHBAY_TELEMETRY__CONTENT": "text",
        "PATCHBAY_TELEMETRY__RATIO": "0.5",
        "PATCHBAY_TELEMETRY__SLOW_MS": "900",
        "PATCHBAY_TELEMETRY__REDACT": "customer [0-9]{6}",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=staging",
        "LANGFUSE_RELEASE": "r7",
    }
    policy = policy_of(load_settings(environ, tmp_path), {"bookings": "pipe"})
    assert policy == TelemetryPolicy(
        shape=Shape.CALL,
        content=TelemetryContent.TEXT,
        ratio=0.5,
        slow_ms=900,
        redact=("customer [0-9]{6}",),
        environment="staging",
        release="r7",
        transports={"bookings": "pipe"},
    )
    own = {**environ, "LANGFUSE_TRACING_ENVIRONMENT": "desk"}
    assert policy_of(load_settings(own, tmp_path), {}).environment == "desk"


def test_the_courier_is_told_everything_in_its_first_line(tmp_path: Path) -> None:
    policy = TelemetryPolicy(content=TelemetryContent.TEXT, redact=("x",), agents={"a": TelemetryContent.NONE})
    destinations = destinations_of({"otel_exporter_otlp_endpoint": "http://collector"})
    hello = hello_of(
        destinations, policy, {"a": "b"}, version="1", started_ns=5, log_level="info", ledger=tmp_path / "l"
    )
    read = orjson.loads(orjson.dumps(hello))
    assert policy_from_json(read["policy"]) == policy
    assert tuple(Destination.from_json(one) for one in read["destinations"]) == destinations
    assert (read["resource"], read["ledger"], read["started_ns"]) == ({"a": "b"}, str(tmp_path / "l"), 5)
