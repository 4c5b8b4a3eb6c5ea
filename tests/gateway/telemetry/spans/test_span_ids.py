"""Ids are computed from names alone, as other programs compute them."""

from __future__ import annotations

from hashlib import sha256

import pytest

from gateway.telemetry.spans import ids
from gateway.telemetry.spans.policy import Shape


def test_a_calls_trace_and_a_turns_trace_are_digests_of_their_names() -> None:
    assert ids.call_trace("sess_1") == sha256(b"sess_1").digest()[:16]
    assert ids.turn_trace("sess_1", 3) == sha256(b"sess_1/3").digest()[:16]


def test_spans_are_digests_of_session_turn_kind_and_name() -> None:
    assert ids.tool_span("sess_1", 3, "call_7") == sha256(b"sess_1/3/tool/call_7").digest()[:8]
    assert ids.setup_span("sess_1") == sha256(b"sess_1//setup").digest()[:8]
    assert ids.span_id("sess_1", None, "dial", 0) == sha256(b"sess_1//dial/0").digest()[:8]


@pytest.mark.parametrize(("index", "first"), [(0, None), (199, None), (200, 200), (399, 200), (400, 400)])
def test_the_shape_call_begins_a_further_trace_after_200_turns(index: int, first: int | None) -> None:
    expected = ids.call_trace("sess_1") if first is None else ids.turn_trace("sess_1", first)
    assert ids.turn_trace("sess_1", index, Shape.CALL) == expected


def test_a_tools_traceparent_names_its_turns_trace_and_its_own_span() -> None:
    trace, span = ids.turn_trace("sess_1", 3).hex(), ids.tool_span("sess_1", 3, "call_7").hex()
    assert ids.traceparent("sess_1", 3, "call_7", Shape.TURN) == f"00-{trace}-{span}-01"
    whole = ids.traceparent("sess_1", 3, "call_7", Shape.CALL, sampled=False)
    assert whole == f"00-{ids.call_trace('sess_1').hex()}-{span}-00"


def test_a_lone_surrogate_is_no_fault() -> None:
    assert len(ids.call_trace("\ud83d")) == 16
