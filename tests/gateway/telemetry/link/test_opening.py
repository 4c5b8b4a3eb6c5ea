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
from gateway.telemetry.link.opening import Telemetry, blob_place, may_be_heard, policy_of
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.spans.policy import Shape, TelemetryPolicy
from sessions.agent import TelemetryContent
from sessions.stores.scores import Score, score_document

OTLP = "OTEL_EXPORTER_OTLP_ENDPOINT"
LANGFUSE = {"LANGFUSE_PUBLIC_KEY": "pk", "LANGFUSE_SECRET_KEY": "sk"}


def telemetry(folder: Path, *, inline: bool = False, **environ: str) -> Telemetry:
    process: Any = SimpleNamespace(
        settings=load_settings(environ, folder),
        agents={},
        mcp=SimpleNamespace(transports={}),
        metrics=Metrics(None, lambda: 0, inline=True),
        store=SimpleNamespace(query=None),
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


def test_sound_is_sent_to_langfuse_only_and_only_where_the_content_is_audio(tmp_path: Path) -> None:
    audio = {"PATCHBAY_TELEMETRY__CONTENT": "audio"}
    for environ, sends in (
        ({**LANGFUSE, **audio}, True),
        ({**LANGFUSE, "PATCHBAY_TELEMETRY__CONTENT": "text"}, False),
        (LANGFUSE, False),
        ({OTLP: "http://collector", **audio}, False),
    ):
        assert ("telemetry of recordings" in telemetry(tmp_path, **environ).jobs()) is sends


def test_a_call_is_heard_where_its_agent_allows_it_and_its_traces_are_kept() -> None:
    def may_sound(level: str, ratio: float) -> bool:
        setup: Any = SimpleNamespace(content_of=lambda agent: level, policy=TelemetryPolicy(ratio=ratio))
        return may_be_heard(setup, call_document())

    assert may_sound("audio", 1.0)
    assert not may_sound("text", 1.0)
    assert not may_sound("audio", 0.0)


def test_scores_are_handed_over_where_langfuse_is_set(tmp_path: Path) -> None:
    session = call_document()
    score = score_document(session, Score("booked", True, None, 5.0))
    for environ, handed in ((LANGFUSE, True), ({OTLP: "http://collector"}, False), ({}, False)):
        made = telemetry(tmp_path, **environ)
        made.scored(session, score)
        assert (made.waiting_bytes > 0) is handed


def test_where_recordings_are_is_known_to_the_courier(tmp_path: Path) -> None:
    assert blob_place(load_settings({}, tmp_path)) == {"url": f"folder://{tmp_path}/data/blobs", "key": None}
    key = "YW5vdGhlciBrZXkgb2YgdGhlIHRlc3RzLCBhcyBsb25n"
    given = {"PATCHBAY_BLOBS": "azblob://account/calls", "PATCHBAY_BLOB_KEY": key}
    assert blob_place(load_settings(given, tmp_path)) == {"url": "azblob://account/calls", "key": key}


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
