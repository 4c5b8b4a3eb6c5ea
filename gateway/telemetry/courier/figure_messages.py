"""The server's own figures, as Prometheus reads them, as an OTLP request: counters, gauges and histograms.

Their OTLP names have dots where the conventions have them, and no unit and no `_total` at their end: a receiver that
serves Prometheus puts them there again, so that both ways lead to the same name.
Source: OpenTelemetry specification 1.50, "Prometheus and OpenMetrics compatibility"; `opentelemetry/proto/metrics/v1`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from prometheus_client.parser import text_string_to_metric_families

from gateway.telemetry.courier.values import put_attributes

_UNITS = {"_seconds": "s", "_bytes": "By", "_usd": "USD"}
_NAMES = {
    "patchbay_turn_latency_seconds": "patchbay.turn.latency",
    "gen_ai_client_inference_duration_seconds": "gen_ai.client.inference.duration",
    "gen_ai_client_inference_time_to_first_chunk_seconds": "gen_ai.client.inference.time_to_first_chunk",
    "gen_ai_client_inference_usage_input_tokens": "gen_ai.client.inference.usage.input_tokens",
    "gen_ai_client_inference_usage_output_tokens": "gen_ai.client.inference.usage.output_tokens",
    "gen_ai_client_inference_usage_cache_read_input_tokens": "gen_ai.client.inference.usage.cache_read.input_tokens",
    "gen_ai_execute_tool_duration_seconds": "gen_ai.execute_tool.duration",
}
_LABELS = {
    "gen_ai_operation_name": "gen_ai.operation.name",
    "gen_ai_provider_name": "gen_ai.provider.name",
    "gen_ai_request_model": "gen_ai.request.model",
    "gen_ai_tool_name": "gen_ai.tool.name",
    "gen_ai_token_modality": "gen_ai.token.modality",
    "error_type": "error.type",
}
_PREFIXES = ("patchbay_", "process_", "python_gc_")
_CUMULATIVE = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE


class FigureEncoder:
    """Makes requests of the newest figures; sums begin with the server's process."""

    def __init__(self, resource: Resource, scope: InstrumentationScope, started_ns: int) -> None:
        self._resource = resource
        self._scope = scope
        self._started_ns = started_ns

    def encode(self, texts: Sequence[str]) -> bytes:
        """The request with the last of these sets of figures."""
        request = ExportMetricsServiceRequest()
        metrics = request.resource_metrics.add(resource=self._resource).scope_metrics.add(scope=self._scope).metrics
        now_ns = time.time_ns()
        for family in text_string_to_metric_families(texts[-1]) if texts else ():
            if family.name.endswith("_created"):
                continue
            metric = Metric(name=otlp_name(family.name), description=family.documentation, unit=_unit(family.name))
            if _fill(metric, family, self._started_ns, now_ns):
                metrics.append(metric)
        encoded: bytes = request.SerializeToString()
        return encoded


def otlp_name(name: str) -> str:
    """The OTLP name of a family of figures, which the parser has stripped of `_total`."""
    found = _NAMES.get(name)
    if found is not None:
        return found
    for unit in _UNITS:
        name = name.removesuffix(unit)
    for prefix in _PREFIXES:
        if name.startswith(prefix):
            return f"{prefix.rstrip('_').replace('_', '.')}.{name.removeprefix(prefix)}"
    return name


def rejected_figures(answer: bytes) -> int:
    """1 if a receiver rejected some figures, by the body of its answer; a set of figures counts as one item."""
    return min(1, int(ExportMetricsServiceResponse.FromString(answer).partial_success.rejected_data_points))


def _unit(name: str) -> str:
    return next((unit for end, unit in _UNITS.items() if name.endswith(end)), "")


def _labels(labels: Mapping[str, str]) -> Iterable[tuple[str, object]]:
    return ((_LABELS.get(name, name), value) for name, value in labels.items() if name != "le")


def _fill(metric: Metric, family: Any, started_ns: int, now_ns: int) -> bool:
    if family.type == "histogram":
        return _fill_histogram(metric, family.samples, started_ns, now_ns)
    if family.type == "counter":
        metric.sum.aggregation_temporality = _CUMULATIVE
        metric.sum.is_monotonic = True
    points = metric.sum.data_points if family.type == "counter" else metric.gauge.data_points
    for sample in family.samples:
        if sample.name.endswith("_created"):
            continue
        point = points.add(time_unix_nano=now_ns, as_double=float(sample.value))
        if family.type == "counter":
            point.start_time_unix_nano = started_ns
        put_attributes(point.attributes, _labels(sample.labels))
    return bool(points)


def _fill_histogram(metric: Metric, samples: Iterable[Any], started_ns: int, now_ns: int) -> bool:
    buckets: dict[tuple[tuple[str, str], ...], list[tuple[float, float]]] = {}
    sums: dict[tuple[tuple[str, str], ...], float] = {}
    for sample in samples:
        key = tuple(sorted((name, value) for name, value in sample.labels.items() if name != "le"))
        if sample.name.endswith("_bucket"):
            buckets.setdefault(key, []).append((float(sample.labels["le"]), float(sample.value)))
        elif sample.name.endswith("_sum"):
            sums[key] = float(sample.value)
    metric.histogram.aggregation_temporality = _CUMULATIVE
    for key, found in buckets.items():
        found.sort()
        counts = [found[0][1], *(after - before for (_, before), (_, after) in pairwise(found))]
        point = metric.histogram.data_points.add(
            start_time_unix_nano=started_ns,
            time_unix_nano=now_ns,
            count=int(found[-1][1]),
            sum=sums.get(key, 0.0),
            bucket_counts=[max(0, int(count)) for count in counts],
            explicit_bounds=[bound for bound, _ in found if not math.isinf(bound)],
        )
        put_attributes(point.attributes, _labels(dict(key)))
    return bool(buckets)
