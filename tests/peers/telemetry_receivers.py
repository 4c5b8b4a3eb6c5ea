"""Receivers of telemetry on loopback: an OTLP collector, one shaped like Langfuse, and Application Insights' ingestion.

They decode what they get, keep the raw bytes, and fail in the ways in which receivers fail.
"""

from __future__ import annotations

import gzip
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

WAIT_S = 15.0


@dataclass(frozen=True)
class Got:
    """One request."""

    at: float
    path: str
    headers: Mapping[str, str]  # by their names in small letters
    body: bytes  # as it came
    plain: bytes  # without gzip


@dataclass(frozen=True)
class GotSpan:
    """One span."""

    name: str
    trace: str
    span: str
    parent: str
    kind: int
    attributes: Mapping[str, Any]
    end_ns: int
    at: float


@dataclass
class Receiver:
    """One receiver. `answer` decides about each request by its number: a status, or a way to fail.

    `ok`, `partial` (one span is rejected), `hang`, `reset`, a status, or a status with headers.
    """

    url: str
    got: list[Got] = field(default_factory=list)  # requests that were taken
    asked: list[Got] = field(default_factory=list)  # all requests
    answer: Callable[[int], Any] = lambda number: "ok"
    stopped: threading.Event = field(default_factory=threading.Event)

    def decide(self, request: Got) -> Any:
        """The answer to a request."""
        self.asked.append(request)
        decided = self.answer(len(self.asked))
        if decided in ("ok", "partial"):
            self.got.append(request)
        return decided

    def spans(self) -> list[GotSpan]:
        """All spans that were taken."""
        return [
            _span(span, request.at)
            for request in list(self.got)
            if request.path.endswith("/v1/traces")
            for resource in ExportTraceServiceRequest.FromString(request.plain).resource_spans
            for span in resource.scope_spans[0].spans
        ]

    def doubles(self) -> int:
        """How many spans came more than once."""
        return sum(count - 1 for count in Counter(one.span for one in self.spans()).values())

    def turns(self, session: str) -> set[int]:
        """The turns of a session whose root has come."""
        roots = [one for one in self.spans() if one.name.startswith("invoke_agent")]
        return {one.attributes["patchbay.turn"] for one in roots if one.attributes["patchbay.session.id"] == session}

    def logs(self) -> list[Any]:
        """All log records that were taken."""
        return [
            record
            for request in list(self.got)
            if request.path.endswith("/v1/logs")
            for resource in ExportLogsServiceRequest.FromString(request.plain).resource_logs
            for record in resource.scope_logs[0].log_records
        ]

    def metrics(self) -> dict[str, Any]:
        """The last set of figures that was taken, by name."""
        taken = [request for request in list(self.got) if request.path.endswith("/v1/metrics")]
        if not taken:
            return {}
        (resource,) = ExportMetricsServiceRequest.FromString(taken[-1].plain).resource_metrics
        return {metric.name: metric for metric in resource.scope_metrics[0].metrics}

    def envelopes(self) -> list[dict[str, Any]]:
        """What Application Insights was sent."""
        return [one for request in list(self.got) if "/track" in request.path for one in _json(request.plain)]

    def raw(self) -> bytes:
        """Everything that came, with gzip and without."""
        return b"".join(request.body + request.plain for request in list(self.asked))

    def wait(self, true: Callable[[], bool], what: str, seconds: float = WAIT_S) -> None:
        """Wait until something is true."""
        until = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < until, what
            time.sleep(0.05)


def _json(plain: bytes) -> list[dict[str, Any]]:
    text = plain.decode()
    found: Any = json.loads(text if text.startswith("[") else "[" + ",".join(text.split("\n")) + "]")
    return list(found)


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(part) for part in value.array_value.values]
    return getattr(value, kind) if kind else None


def attributes_of(pairs: Any) -> dict[str, Any]:
    """Attributes as a dictionary."""
    return {pair.key: _value(pair.value) for pair in pairs}


def _span(span: Any, at: float) -> GotSpan:
    return GotSpan(
        name=span.name,
        trace=span.trace_id.hex(),
        span=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        kind=span.kind,
        attributes=attributes_of(span.attributes),
        end_ns=span.end_time_unix_nano,
        at=at,
    )


class Handler(BaseHTTPRequestHandler):
    """Takes requests for one receiver."""

    protocol_version = "HTTP/1.1"
    receiver: Receiver

    def do_POST(self) -> None:
        """Take one request."""
        decided = self.receiver.decide(self.read())
        if decided == "hang":
            self.receiver.stopped.wait(60)
            self.close_connection = True
        elif decided == "reset":
            self.connection.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SO_LINGER of 0: the connection is reset
            self.connection.close()
            self.close_connection = True
        else:
            self.reply(decided)

    def read(self) -> Got:
        """The request."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        plain = gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body
        return Got(time.time(), self.path, headers, body, plain)

    def reply(self, decided: Any) -> None:
        """Answer it."""
        status, more = decided if isinstance(decided, tuple) else (decided, {})
        answer = b""
        if decided in ("ok", "partial"):
            status = 200
            if "/track" in self.path:
                sent = len(_json(self.receiver.got[-1].plain))
                answer = json.dumps({"itemsReceived": sent, "itemsAccepted": sent, "errors": []}).encode()
            elif decided == "partial":
                response = ExportTraceServiceResponse()
                response.partial_success.rejected_spans = 1
                answer = response.SerializeToString()
        kind = "application/json" if "/track" in self.path else "application/x-protobuf"
        self.write(status, answer, {**more, "Content-Type": kind})

    def write(self, status: int, answer: bytes, headers: Mapping[str, str]) -> None:
        """Write an answer."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing of connections that were reset."""


@contextmanager
def receiving(port: int = 0, kind: type[Handler] = Handler) -> Iterator[Receiver]:
    """A receiver that runs; `url` is its base."""
    receiver = Receiver("")
    handler = type("Handler", (kind,), {"receiver": receiver})
    server = _Server(("127.0.0.1", port), handler)
    receiver.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.stopped.set()
        server.shutdown()
        server.server_close()
        thread.join(5)


def couriers_of(pid: int) -> list[int]:
    """The courier processes that this process has started."""
    found = []
    for line in _children(pid):
        with open(f"/proc/{line}/cmdline", "rb") as file:
            if b"gateway.telemetry.courier" in file.read():
                found.append(line)
    return found


def _children(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        own = [int(part) for part in file.read().split()]
    for thread in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{thread}/children") as file:
                own += [int(part) for part in file.read().split()]
        except OSError:
            continue
    return sorted(set(own))
