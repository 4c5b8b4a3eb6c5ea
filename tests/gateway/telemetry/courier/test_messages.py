"""Spans, log lines and figures as OTLP requests, read with the protocol's own messages."""

from __future__ import annotations

from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from gateway.telemetry.courier.figure_messages import FigureEncoder, otlp_name, rejected_figures
from gateway.telemetry.courier.log_messages import LogEncoder, rejected_logs
from gateway.telemetry.courier.span_messages import SpanEncoder, rejected_spans
from gateway.telemetry.courier.values import resource_message, scope_message
from gateway.telemetry.spans.ids import call_trace, setup_span, turn_span, turn_trace
from gateway.telemetry.spans.policy import Shape
from gateway.telemetry.spans.span import Kind, Link, Span, SpanEvent

RESOURCE, SCOPE = resource_message({"service.name": "patchbay"}), scope_message("1.2")
FIGURES = """\
# HELP patchbay_turn_latency_seconds How long.
# TYPE patchbay_turn_latency_seconds histogram
patchbay_turn_latency_seconds_bucket{agent="a",le="0.5"} 1.0
patchbay_turn_latency_seconds_bucket{agent="a",le="1.0"} 3.0
patchbay_turn_latency_seconds_bucket{agent="a",le="+Inf"} 4.0
patchbay_turn_latency_seconds_count{agent="a"} 4.0
patchbay_turn_latency_seconds_sum{agent="a"} 5.5
# HELP gen_ai_client_inference_usage_input_tokens_total Tokens.
# TYPE gen_ai_client_inference_usage_input_tokens_total counter
gen_ai_client_inference_usage_input_tokens_total{gen_ai_token_modality="audio"} 12.0
# HELP patchbay_live_calls Calls.
# TYPE patchbay_live_calls gauge
patchbay_live_calls{agent="a"} 2.0
"""


def attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}


def test_a_span_keeps_everything() -> None:
    given = {"text": "x", "flag": True, "whole": 7, "part": 0.5, "list": ["a", "b"], "large": 2**70}
    span = Span(
        name="invoke_agent a",
        kind=Kind.CLIENT,
        trace_id=b"t" * 16,
        span_id=b"s" * 8,
        parent_id=b"p" * 8,
        begin_ns=5,
        end_ns=9,
        attributes=given,
        events=(SpanEvent("patchbay.interrupted", 7, {"patchbay.heard_ms": 3}),),
        links=(Link(b"l" * 16, b"m" * 8),),
        error=True,
    )
    request = ExportTraceServiceRequest.FromString(SpanEncoder(RESOURCE, SCOPE).encode([span, span]))
    (resource,) = request.resource_spans
    assert attributes(resource.resource.attributes) == {"service.name": "patchbay"}
    assert (resource.scope_spans[0].scope.name, resource.scope_spans[0].scope.version) == ("patchbay", "1.2")
    first, _ = resource.scope_spans[0].spans
    assert (first.trace_id, first.span_id, first.parent_span_id) == (b"t" * 16, b"s" * 8, b"p" * 8)
    assert (first.name, first.kind, first.status.code, first.status.message) == ("invoke_agent a", 3, 2, "")
    assert (first.start_time_unix_nano, first.end_time_unix_nano) == (5, 9)
    found = attributes(first.attributes)
    assert [part.string_value for part in found.pop("list").values] == ["a", "b"]
    assert found == {"text": "x", "flag": True, "whole": 7, "part": 0.5, "large": str(2**70)}
    assert (first.events[0].name, first.events[0].time_unix_nano) == ("patchbay.interrupted", 7)
    assert (first.links[0].trace_id, first.links[0].span_id) == (b"l" * 16, b"m" * 8)


def test_a_log_line_has_severity_message_fields_and_the_ids_of_its_trace() -> None:
    at = {"at": "2026-11-30T12:00:00.250+00:00", "logger": "patchbay"}
    lines = [
        {**at, "level": "warning", "message": "slow", "call_id": "s", "turn": 3, "latency_ms": 7, "trace_id": "x"},
        {**at, "level": "info", "message": "call started", "call_id": "s"},
        {**at, "level": "error", "message": "full"},
        {"message": "odd", "at": "never", "level": "loud"},
    ]
    request = ExportLogsServiceRequest.FromString(LogEncoder(RESOURCE, SCOPE, Shape.TURN).encode(lines))
    slow, started, full, odd = request.resource_logs[0].scope_logs[0].log_records
    assert (slow.severity_text, slow.severity_number, slow.body.string_value) == ("WARNING", 13, "slow")
    assert attributes(slow.attributes) == {"logger": "patchbay", "call_id": "s", "turn": 3, "latency_ms": 7}
    assert slow.time_unix_nano == 1796040000250000000
    assert (slow.trace_id, slow.span_id) == (turn_trace("s", 3), turn_span("s", 3))
    assert (started.trace_id, started.span_id) == (call_trace("s"), setup_span("s"))
    assert (full.trace_id, full.severity_number) == (b"", 17)
    assert (odd.time_unix_nano, odd.severity_number) == (0, 9)


def test_figures_become_sums_gauges_and_histograms() -> None:
    request = ExportMetricsServiceRequest.FromString(FigureEncoder(RESOURCE, SCOPE, 5).encode(["old", FIGURES]))
    found = {one.name: one for one in request.resource_metrics[0].scope_metrics[0].metrics}
    (latency,) = found["patchbay.turn.latency"].histogram.data_points
    assert (found["patchbay.turn.latency"].unit, found["patchbay.turn.latency"].description) == ("s", "How long.")
    assert (list(latency.bucket_counts), list(latency.explicit_bounds)) == ([1, 2, 1], [0.5, 1.0])
    assert (latency.count, latency.sum, latency.start_time_unix_nano) == (4, 5.5, 5)
    assert attributes(latency.attributes) == {"agent": "a"}
    tokens = found["gen_ai.client.inference.usage.input_tokens"].sum
    assert (tokens.is_monotonic, tokens.aggregation_temporality, tokens.data_points[0].as_double) == (True, 2, 12.0)
    assert attributes(tokens.data_points[0].attributes) == {"gen_ai.token.modality": "audio"}
    assert found["patchbay.live_calls"].gauge.data_points[0].as_double == 2.0


def test_names_lose_unit_and_total_and_get_their_dots() -> None:
    assert otlp_name("patchbay_call_duration_seconds") == "patchbay.call_duration"
    assert otlp_name("process_resident_memory_bytes") == "process.resident_memory"
    assert otlp_name("gen_ai_execute_tool_duration_seconds") == "gen_ai.execute_tool.duration"


def test_what_a_receiver_rejected_is_read_from_its_answer() -> None:
    spans, logs, figures = ExportTraceServiceResponse(), ExportLogsServiceResponse(), ExportMetricsServiceResponse()
    assert (rejected_spans(b""), rejected_logs(b""), rejected_figures(b"")) == (0, 0, 0)
    spans.partial_success.rejected_spans = 3
    logs.partial_success.rejected_log_records = 2
    figures.partial_success.rejected_data_points = 99
    assert rejected_spans(spans.SerializeToString()) == 3
    assert rejected_logs(logs.SerializeToString()) == 2
    assert rejected_figures(figures.SerializeToString()) == 1
