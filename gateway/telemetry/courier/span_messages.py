"""Spans as an OTLP request.

Source: OpenTelemetry specification 1.50, "Tracing API"; `opentelemetry/proto/trace/v1`.
"""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from gateway.telemetry.courier.values import put_attributes
from gateway.telemetry.spans.span import Kind, Span

_KINDS = {
    Kind.INTERNAL: SpanMessage.SPAN_KIND_INTERNAL,
    Kind.SERVER: SpanMessage.SPAN_KIND_SERVER,
    Kind.CLIENT: SpanMessage.SPAN_KIND_CLIENT,
}
_SAMPLED = 1  # the trace flag of W3C


class SpanEncoder:
    """Makes requests of spans."""

    def __init__(self, resource: Resource, scope: InstrumentationScope) -> None:
        self._resource = resource
        self._scope = scope

    def encode(self, spans: Sequence[Span]) -> bytes:
        """The request with these spans."""
        request = ExportTraceServiceRequest()
        messages = request.resource_spans.add(resource=self._resource).scope_spans.add(scope=self._scope).spans
        for span in spans:
            _put(messages.add(), span)
        encoded: bytes = request.SerializeToString()
        return encoded


def rejected_spans(answer: bytes) -> int:
    """How many spans a receiver rejected, by the body of its answer."""
    return int(ExportTraceServiceResponse.FromString(answer).partial_success.rejected_spans)


def _put(message: SpanMessage, span: Span) -> None:
    message.trace_id = span.trace_id
    message.span_id = span.span_id
    if span.parent_id is not None:
        message.parent_span_id = span.parent_id
    message.flags = _SAMPLED
    message.name = span.name
    message.kind = _KINDS[span.kind]
    message.start_time_unix_nano = span.begin_ns
    message.end_time_unix_nano = span.end_ns
    put_attributes(message.attributes, span.attributes)
    for event in span.events:
        added = message.events.add(time_unix_nano=event.at_ns, name=event.name)
        put_attributes(added.attributes, event.attributes)
    for link in span.links:
        message.links.add(trace_id=link.trace_id, span_id=link.span_id, flags=_SAMPLED)
    if span.error:
        message.status.code = Status.STATUS_CODE_ERROR
