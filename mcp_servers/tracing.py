"""Continues the traces of tool calls in an MCP server, where the standard `OTEL_*` variables name a collector.

The MCP SDK makes a span for each request of its own accord, as a child of the `traceparent` in the request's `_meta`
(SEP-414); all that is missing is a tracer provider that exports it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


def wanted(environ: Mapping[str, str]) -> bool:
    """Whether the environment names a collector for traces."""
    disabled = environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    return not disabled and any(environ.get(name, "").strip() for name in ENDPOINTS)


def export_traces(service: str, environ: Mapping[str, str] = os.environ) -> None:
    """Export this program's spans, where the environment names a collector. What is missing is said on stderr.

    `service` is the service's name where `OTEL_SERVICE_NAME` is not set. Spans are sent from a thread; a collector
    that does not answer delays nothing.
    """
    if not wanted(environ):
        return
    try:
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        print(  # noqa: T201 - stdout belongs to the protocol
            f"{service}: OTEL_* names a collector; to send it traces: pip install 'patchbay[telemetry]'",
            file=sys.stderr,
        )
        return
    named = {} if environ.get("OTEL_SERVICE_NAME", "").strip() else {SERVICE_NAME: service}
    provider = TracerProvider(resource=Resource.create(named))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
