"""Log lines as an OTLP request: the same line, with severity, message, fields as attributes, and the trace's id.

Source: OpenTelemetry specification 1.50, "Logs data model"; `opentelemetry/proto/logs/v1`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, SeverityNumber
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from gateway.telemetry.courier.values import put_attributes, put_value
from gateway.telemetry.spans.ids import call_trace, setup_span, turn_span, turn_trace
from gateway.telemetry.spans.policy import Shape

_SEVERITIES = {
    "debug": SeverityNumber.SEVERITY_NUMBER_DEBUG,
    "info": SeverityNumber.SEVERITY_NUMBER_INFO,
    "warning": SeverityNumber.SEVERITY_NUMBER_WARN,
    "error": SeverityNumber.SEVERITY_NUMBER_ERROR,
    "critical": SeverityNumber.SEVERITY_NUMBER_FATAL,
}
_OWN = frozenset({"at", "level", "message", "trace_id", "span_id"})


class LogEncoder:
    """Makes requests of log lines."""

    def __init__(self, resource: Resource, scope: InstrumentationScope, shape: Shape) -> None:
        self._shape = shape
        self._resource = resource
        self._scope = scope

    def encode(self, lines: Sequence[Mapping[str, Any]]) -> bytes:
        """The request with these lines."""
        request = ExportLogsServiceRequest()
        logs = request.resource_logs.add(resource=self._resource)
        records = logs.scope_logs.add(scope=self._scope).log_records
        for line in lines:
            _put(records.add(), line, self._shape)
        encoded: bytes = request.SerializeToString()
        return encoded


def rejected_logs(answer: bytes) -> int:
    """How many lines a receiver rejected, by the body of its answer."""
    return int(ExportLogsServiceResponse.FromString(answer).partial_success.rejected_log_records)


def _put(record: LogRecord, line: Mapping[str, Any], shape: Shape) -> None:
    record.time_unix_nano = record.observed_time_unix_nano = _nanoseconds(line.get("at"))
    level = str(line.get("level", "info"))
    record.severity_number = _SEVERITIES.get(level, SeverityNumber.SEVERITY_NUMBER_INFO)
    record.severity_text = level.upper()
    put_value(record.body, str(line.get("message", "")))
    put_attributes(record.attributes, ((key, value) for key, value in line.items() if key not in _OWN))
    trace = _trace_of(line, shape)
    if trace is not None:
        record.trace_id, record.span_id = trace


def _trace_of(line: Mapping[str, Any], shape: Shape) -> tuple[bytes, bytes] | None:
    """The ids of the trace of a line's turn or call, and of its root; None outside calls."""
    call = line.get("call_id")
    if not isinstance(call, str):
        return None
    turn = line.get("turn")
    if not isinstance(turn, int):
        return call_trace(call), setup_span(call)
    return turn_trace(call, turn, shape), turn_span(call, turn)


def _nanoseconds(at: object) -> int:
    """A time stamp of the log in nanoseconds; 0, which means unknown, for anything else."""
    try:
        return int(datetime.fromisoformat(str(at)).timestamp() * 1000) * 1_000_000
    except ValueError:
        return 0
