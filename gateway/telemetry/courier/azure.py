"""Sends spans to Azure Monitor, with the envelopes of Microsoft's exporter and requests of our own.

The exporter's `export` hides how a request ended and logs whole envelopes, so only its conversion and its client are
used; the version is pinned for that. Its statistics and remote control, which talk to Microsoft, stay off.
Source: `azure-monitor-opentelemetry-exporter` 1.0.0b58.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from gateway.telemetry.courier.outcome import Outcome, Result, outcome_of
from gateway.telemetry.link.destinations import Destination
from gateway.telemetry.spans.span import Kind, Span

TIMEOUT_S = 15.0
_SOCKET_S = 10.0
_OFF = (
    "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL",
    "APPLICATIONINSIGHTS_SDKSTATS_DISABLED",
    "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED",
    "APPLICATIONINSIGHTS_OPENTELEMETRY_RESOURCE_METRIC_DISABLED",
)


class AzureSender:
    """Sends batches of spans in a thread of its own, because the exporter's client blocks."""

    def __init__(self, destination: Destination, resource: Mapping[str, str], version: str) -> None:
        for name in _OFF:
            os.environ[name] = "true"
        logging.getLogger("azure").setLevel(logging.CRITICAL)  # it logs envelopes, which may hold content
        # Only where Azure Monitor is a destination: these take 0.2 s and 20 MB.
        from azure.monitor.opentelemetry.exporter import AzureMonitorTraceExporter
        from opentelemetry import trace
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope

        self._resource = Resource(dict(resource))
        self._scope = InstrumentationScope("patchbay", version)
        trace.set_tracer_provider(TracerProvider(resource=self._resource, shutdown_on_exit=False))
        self._exporter: Any = AzureMonitorTraceExporter(
            connection_string=destination.connection,
            credential=_credential(destination),
            disable_offline_storage=True,
            retry_total=0,
            read_timeout=_SOCKET_S,
        )
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="azure-monitor")
        self._running: Future[Outcome] | None = None

    async def deliver(self, spans: Sequence[Span]) -> Outcome:
        """Send these spans in one request."""
        if self._running is not None and not self._running.done():
            return Outcome(Result.LATER, reason="timeout")  # the last request still hangs
        self._running = self._thread.submit(self._send, spans)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await asyncio.shield(asyncio.wrap_future(self._running))
        except TimeoutError:
            return Outcome(Result.LATER, reason="timeout")

    def _send(self, spans: Sequence[Span]) -> Outcome:
        from azure.core.exceptions import AzureError, HttpResponseError

        envelopes: list[Any] = []
        for span in spans:
            readable = self._readable(span)
            envelopes.append(self._exporter._span_to_envelope(readable))
            envelopes += self._exporter._span_events_to_envelopes(readable)
        try:
            answer = self._exporter.client.track(envelopes)
        except HttpResponseError as error:
            headers: Mapping[str, str] = getattr(error.response, "headers", {})
            return outcome_of(error.status_code or 0, {name.lower(): value for name, value in headers.items()})
        except AzureError as error:  # no connection, no token
            return Outcome(Result.LATER, reason=type(error).__name__)
        return Outcome(Result.TAKEN, rejected=len(answer.errors or ()))

    def _readable(self, span: Span) -> Any:
        from opentelemetry.sdk.trace import Event, ReadableSpan
        from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

        def context(trace_id: bytes, span_id: bytes) -> SpanContext:
            flags = TraceFlags(TraceFlags.SAMPLED)
            return SpanContext(int.from_bytes(trace_id), int.from_bytes(span_id), is_remote=False, trace_flags=flags)

        kinds = {Kind.INTERNAL: SpanKind.INTERNAL, Kind.SERVER: SpanKind.SERVER, Kind.CLIENT: SpanKind.CLIENT}
        return ReadableSpan(
            name=span.name,
            context=context(span.trace_id, span.span_id),
            parent=None if span.parent_id is None else context(span.trace_id, span.parent_id),
            resource=self._resource,
            attributes=dict(span.attributes),
            events=[Event(event.name, dict(event.attributes), event.at_ns) for event in span.events],
            links=[Link(context(link.trace_id, link.span_id)) for link in span.links],
            kind=kinds[span.kind],
            status=Status(StatusCode.ERROR if span.error else StatusCode.OK),
            start_time=span.begin_ns,
            end_time=span.end_ns,
            instrumentation_scope=self._scope,
        )


def _credential(destination: Destination) -> Any:
    """The identity of this process, where the resource is to be reached with Microsoft Entra ID."""
    if not destination.entra:
        return None
    from azure.identity import DefaultAzureCredential, ManagedIdentityCredential

    if destination.client_id:
        return ManagedIdentityCredential(client_id=destination.client_id)
    return DefaultAzureCredential()
