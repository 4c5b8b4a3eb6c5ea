"""The ids of traces and spans, computed from the session's id, so that every process finds the same ones.

A call's trace has the first 16 bytes of the SHA-256 of the session's id, and a turn's those of `SESSION/INDEX`;
langfuse computes the id of a trace from a seed in the same way. A span has the first 8 bytes of the SHA-256 of
`SESSION/INDEX/KIND/NAME`; for spans of the call itself, the index is empty.
"""

from __future__ import annotations

import re
from hashlib import sha256

from gateway.telemetry.spans.policy import Shape

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-[!-~]{0,64})?")
TURNS_IN_TRACE = 200  # of the shape `call`; then a further trace begins


def call_trace(session_id: str) -> bytes:
    """The id of a call's trace."""
    return _digest(session_id)[:16]


def turn_trace(session_id: str, index: int, shape: Shape = Shape.TURN) -> bytes:
    """The id of the trace that a turn's spans are in."""
    first = first_of_trace(index) if shape is Shape.CALL else index
    if shape is Shape.CALL and first == 0:
        return call_trace(session_id)
    return _digest(f"{session_id}/{first}")[:16]


def first_of_trace(index: int) -> int:
    """In the shape `call`: the index of the first turn in the same trace."""
    return index - index % TURNS_IN_TRACE


def span_id(session_id: str, index: int | None, kind: str, name: str | int | None = None) -> bytes:
    """The id of a span. `index` is that of the turn, None for spans of the call; some kinds have no name."""
    of_turn = "" if index is None else index
    tail = kind if name is None else f"{kind}/{name}"
    return _digest(f"{session_id}/{of_turn}/{tail}")[:8]


def setup_span(session_id: str) -> bytes:
    """The id of the span `patchbay.setup`, which is the root of the call's trace."""
    return span_id(session_id, None, "setup")


def call_span(session_id: str) -> bytes:
    """The id of the span `patchbay.call`."""
    return span_id(session_id, None, "call")


def turn_span(session_id: str, index: int) -> bytes:
    """The id of a turn's root."""
    return span_id(session_id, index, "turn")


def tool_span(session_id: str, index: int, call_id: str) -> bytes:
    """The id of the span of a tool call."""
    return span_id(session_id, index, "tool", call_id)


def traceparent(session_id: str, index: int, call_id: str, shape: Shape, *, sampled: bool = True) -> str:
    """The W3C header with which a tool continues the trace: the span of the call of it is the parent.

    `index` is that of the turn in which the tool was called. `sampled`: whether the call's traces are kept.
    """
    trace, span = turn_trace(session_id, index, shape), tool_span(session_id, index, call_id)
    return f"00-{trace.hex()}-{span.hex()}-{'01' if sampled else '00'}"


def read_traceparent(header: str) -> tuple[bytes, bytes] | None:
    """The ids of trace and span in a header of the caller's; None for anything else.

    All zeros are no id, and a later version may have more fields (W3C Trace Context, 3.2.2).
    """
    found = _TRACEPARENT.fullmatch(header.strip())
    if found is None or found[1] == "ff" or (found[1] == "00" and found[4]):
        return None
    trace_id, span_id = bytes.fromhex(found[2]), bytes.fromhex(found[3])
    return (trace_id, span_id) if any(trace_id) and any(span_id) else None


def _digest(text: str) -> bytes:
    return sha256(text.encode("utf-8", "surrogatepass")).digest()
