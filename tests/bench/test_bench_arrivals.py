"""When turns came to a collector, from the bodies of its requests."""

from __future__ import annotations

import gzip
import json

import pytest

from bench.arrivals import Arrivals, Body, arrivals_in, as_json, from_json

trace_service = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")

SECOND_NS = 1_000_000_000
OTLP, LANGFUSE = "/v1/traces", "/api/public/otel/v1/traces"


def body(*spans: tuple[str, str, int, int], at_s: float, path: str = OTLP, zipped: bool = False) -> Body:
    """A request at `at_s` with spans, each by its name, session, turn, and the second of its end."""
    request = trace_service.ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    for name, session, turn, end_s in spans:
        span = scope.spans.add(name=name, end_time_unix_nano=end_s * SECOND_NS)
        span.span_id = f"{name[:1]}{session[-1:]}{turn}".encode().ljust(8, b".")
        span.attributes.add(key="patchbay.session.id").value.string_value = session
        span.attributes.add(key="patchbay.turn").value.int_value = turn
    content = request.SerializeToString()
    return Body(path, round(at_s * SECOND_NS), gzip.compress(content) if zipped else content, zipped)


def turn(session: str, number: int, end_s: int) -> tuple[str, str, int, int]:
    return ("invoke_agent bench", session, number, end_s)


def test_a_turn_is_late_by_the_time_from_its_end_to_its_first_arrival() -> None:
    bodies = [
        body(turn("a", 0, 10), ("user_speech", "a", 0, 5), at_s=11.5),
        body(turn("a", 1, 20), at_s=23.0, zipped=True),
        body(turn("a", 1, 20), at_s=40.0),
    ]
    assert arrivals_in(bodies) == [Arrivals(OTLP, 3, 1, 0, 2, 1.5, 3.0, 3.0)]


def test_turns_that_ended_too_late_are_not_judged() -> None:
    bodies = [body(turn("a", 0, 10), turn("a", 1, 20), at_s=21.0)]
    (found,) = arrivals_in(bodies, 20 * SECOND_NS)
    assert (found.turns, found.worst_s) == (1, 11.0)
    (none,) = arrivals_in(bodies, 5 * SECOND_NS)
    assert (none.turns, none.p95_s, none.spans) == (0, 0.0, 2)


def test_each_path_is_a_receiver_of_its_own() -> None:
    bodies = [body(turn("a", 0, 10), at_s=11.0), body(turn("a", 0, 10), at_s=12.0, path=LANGFUSE)]
    assert [(one.path, one.p50_s, one.doubled) for one in arrivals_in(bodies)] == [(LANGFUSE, 2.0, 0), (OTLP, 1.0, 0)]


def test_a_turn_between_two_others_that_did_not_come_is_missing() -> None:
    bodies = [body(turn("a", 0, 10), turn("a", 3, 16), turn("b", 5, 10), at_s=17.0)]
    assert arrivals_in(bodies)[0].missing == 2


def test_arrivals_can_be_written_as_json_and_read_back() -> None:
    found = arrivals_in([body(turn("a", 0, 10), at_s=11.0)])
    assert from_json(json.loads(json.dumps(as_json(found)))) == tuple(found)
