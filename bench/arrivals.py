"""When the spans of turns came to a collector, read from the bodies of its requests; pure.

A turn's root is named `invoke_agent ...`, ends when the turn does, and counts when it comes for the first time. Each
path is a receiver of its own. Both clocks are the wall clock of the same machine.
"""

from __future__ import annotations

import gzip
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from bench.figures import percentile

_ROOT = "invoke_agent"
_TURN, _SESSION = "patchbay.turn", "patchbay.session.id"


@dataclass(frozen=True, slots=True)
class Body:
    """A request with spans in protobuf, as it came at `at_ns`."""

    path: str
    at_ns: int
    content: bytes
    zipped: bool


@dataclass(frozen=True, slots=True)
class Root:
    """The root span of a turn."""

    span: bytes
    session: str
    turn: int
    end_ns: int
    at_ns: int


@dataclass(frozen=True, slots=True)
class Arrivals:
    """How long after their end the turns came to one receiver, of `turns` that ended before the given moment.

    `missing`: turns that did not come although a later one of the same call did. `doubled`: spans that came again.
    `spans` is the number of all different spans.
    """

    path: str
    spans: int
    doubled: int
    missing: int
    turns: int
    p50_s: float
    p95_s: float
    worst_s: float


def arrivals_in(bodies: Iterable[Body], ended_before_ns: int | None = None) -> list[Arrivals]:
    """The arrivals at each path. Turns that ended later than the given moment are left out of the times."""
    by_path: defaultdict[str, list[Body]] = defaultdict(list)
    for body in bodies:
        by_path[body.path].append(body)
    return [_arrivals(path, found, ended_before_ns) for path, found in sorted(by_path.items())]


def _arrivals(path: str, bodies: Iterable[Body], ended_before_ns: int | None) -> Arrivals:
    seen: Counter[bytes] = Counter()
    roots: dict[bytes, Root] = {}
    for body in bodies:
        for span in _spans(body):
            seen[span.span_id] += 1
            if span.name.split(" ")[0] == _ROOT:
                roots.setdefault(span.span_id, _root(span, body.at_ns))
    judged = [one for one in roots.values() if ended_before_ns is None or one.end_ns < ended_before_ns]
    late_s = sorted((one.at_ns - one.end_ns) / 1e9 for one in judged)
    p50_s, p95_s, worst_s = (round(percentile(late_s, share), 3) if late_s else 0.0 for share in (0.5, 0.95, 1.0))
    doubled = sum(count - 1 for count in seen.values())
    return Arrivals(path, len(seen), doubled, _missing(roots.values()), len(judged), p50_s, p95_s, worst_s)


def _missing(roots: Iterable[Root]) -> int:
    turns: defaultdict[str, set[int]] = defaultdict(set)
    for root in roots:
        turns[root.session].add(root.turn)
    return sum(max(found) - min(found) + 1 - len(found) for found in turns.values())


def _root(span: Any, at_ns: int) -> Root:
    told = {pair.key: pair.value for pair in span.attributes}
    session = told[_SESSION].string_value if _SESSION in told else ""
    turn = told[_TURN].int_value if _TURN in told else 0
    return Root(span.span_id, session, turn, span.end_time_unix_nano, at_ns)


def _spans(body: Body) -> Iterator[Any]:
    # Only a collector that is asked needs this.
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    plain = gzip.decompress(body.content) if body.zipped else body.content
    for resource in ExportTraceServiceRequest.FromString(plain).resource_spans:
        for scope in resource.scope_spans:
            yield from scope.spans


def as_json(found: Iterable[Arrivals]) -> list[dict[str, Any]]:
    """The arrivals as plain values."""
    return [asdict(one) for one in found]


def from_json(found: Iterable[dict[str, Any]]) -> tuple[Arrivals, ...]:
    """What `as_json` made."""
    return tuple(Arrivals(**one) for one in found)
