"""The spans of a call's own trace."""

from __future__ import annotations

from typing import Any

import pytest
from support.telemetry.span_check import all_spans, named
from support.telemetry.telemetry_records import STARTED_S, call_document, dial

from gateway.telemetry.spans import ids, names
from gateway.telemetry.spans.call import percentile
from gateway.telemetry.spans.span import Kind, Span
from sessions.accounts import DialCause, LegError, ModelTarget, SetupFacts
from sessions.record import CallSummary
from sessions.usage import TokenUsage

BEGIN_NS = int(STARTED_S * 1000) * 1_000_000


def ms(span: Span) -> tuple[int, int]:
    return (span.begin_ns - BEGIN_NS) // 1_000_000, (span.end_ns - BEGIN_NS) // 1_000_000


def test_a_call_has_its_set_up_its_dials_and_its_sums() -> None:
    summary = {
        "caller_audio_ms": 9_000,
        "agent_audio_ms": 4_000,
        "dropped_audio_ms": 20,
        "redials": 1,
        "usage": TokenUsage(input_text=3, input_audio=4, output_audio=5, active_ms=600),
        "cost_nano": 5_000_000,
    }
    lost = dial(cause=DialCause.LOST, attempt=1, begin_ms=5_000, ready_ms=5_200)
    document = call_document(
        summary=summary, dials=(dial(lost_ms=4_900), lost), latencies_ms=(100, 900, 400, 300), prices="2026-11"
    )
    setup, first, second, call = all_spans([document])
    assert [ms(span) for span in (setup, first, second, call)] == [(-40, 120), (0, 120), (5_000, 5_200), (0, 10_000)]
    assert (setup.name, setup.kind, setup.parent_id) == ("patchbay.setup harbour", Kind.SERVER, None)
    assert (first.name, first.kind) == ("patchbay.dial gpt-realtime", Kind.CLIENT)
    assert {span.parent_id for span in (first, second, call)} == {setup.span_id}
    assert names.READERS_SESSION_ID not in setup.attributes
    assert (
        setup.attributes.items()
        >= {
            "patchbay.admission_ms": 40,
            "patchbay.caller.format": "pcmu/8000",
            "patchbay.model.format": "pcm16/24000",
            "patchbay.resumed": False,
        }.items()
    )
    assert (
        second.attributes.items()
        >= {
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "gpt-realtime",
            "server.address": "api.openai.com",
            "server.port": 443,
            "patchbay.dial.attempt": 1,
            "patchbay.dial.cause": "lost",
        }.items()
    )
    assert (call.name, call.kind) == ("patchbay.call harbour", Kind.INTERNAL)
    assert (
        call.attributes.items()
        >= {
            "patchbay.end_reason": "caller_hung_up",
            "patchbay.turns": 1,
            "patchbay.redials": 1,
            "patchbay.caller_audio_ms": 9_000,
            "patchbay.agent_audio_ms": 4_000,
            "patchbay.dropped_audio_ms": 20,
            "patchbay.latency_p50_ms": 300,
            "patchbay.latency_p95_ms": 900,
            "gen_ai.usage.input_tokens": 7,
            "gen_ai.usage.output_tokens": 5,
            "patchbay.usage.active_ms": 600,
            "patchbay.cost_usd": 0.005,
            "patchbay.prices": "2026-11",
            "patchbay.recording.state": "off",
        }.items()
    )


def test_a_call_that_no_model_answered() -> None:
    dials = (
        dial(ready_ms=None, lost_ms=800, error=LegError.TIMEOUT),
        dial(cause=DialCause.LOST, attempt=1, begin_ms=900, ready_ms=None, lost_ms=1_300, error=LegError.REFUSED),
    )
    setup, first, second, call = all_spans([call_document(dials=dials)])
    assert (ms(setup), setup.error, setup.attributes[names.ERROR_TYPE]) == ((-40, 1_300), True, "refused")
    assert (ms(first), first.attributes[names.ERROR_TYPE]) == ((0, 800), "timeout")
    assert (ms(second), second.error, call.error) == ((900, 1_300), True, False)


def test_a_dial_that_the_calls_end_cut_off_and_one_lost_after_it_was_ready() -> None:
    cut = dial(ready_ms=None, target=ModelTarget("local/offline"))
    setup, span, _ = all_spans([call_document(dials=(cut,))])
    assert (ms(setup), ms(span), span.error) == ((-40, 10_000), (0, 10_000), False)
    assert names.SERVER_ADDRESS not in span.attributes
    _, span, _ = all_spans([call_document(dials=(dial(lost_ms=700, error=LegError.CLOSED),))])
    assert not span.error


def test_a_record_of_an_older_patchbay_has_no_dials_and_no_cost() -> None:
    document: dict[str, Any] = dict(call_document())
    for name in ("dials", "setup", "prices"):
        del document[name]
    document["summary"] = {
        name: value
        for name, value in document["summary"].items()
        if name not in ("cost_nano", "transcriptions", "outside")
    }
    setup, call = all_spans([document])
    assert ms(setup) == (0, 0)
    assert names.COST_USD not in call.attributes


@pytest.mark.parametrize(
    ("header", "links"),
    [
        ("00-" + "a" * 32 + "-" + "b" * 16 + "-01", [("a" * 32, "b" * 16)]),
        ("01-" + "a" * 32 + "-" + "b" * 16 + "-01-more", [("a" * 32, "b" * 16)]),
        ("00-" + "a" * 32 + "-" + "b" * 16 + "-01-more", []),
        ("ff-" + "a" * 32 + "-" + "b" * 16 + "-01", []),
        ("00-" + "0" * 32 + "-" + "b" * 16 + "-01", []),
        ("00-" + "a" * 32 + "-" + "0" * 16 + "-01", []),
        ("call me at +4930", []),
        ("", []),
    ],
)
def test_the_callers_own_trace_is_linked(header: str, links: list[tuple[str, str]]) -> None:
    setup, *_ = all_spans([call_document(setup=SetupFacts(traceparent=header))])
    assert [(link.trace_id.hex(), link.span_id.hex()) for link in setup.links] == links


def test_sums_that_no_model_reported_are_left_out() -> None:
    (call,) = named(all_spans([call_document(summary={"cost_nano": None})]), names.CALL)
    assert names.INPUT_TOKENS not in call.attributes
    assert names.COST_USD not in call.attributes
    assert CallSummary().usage == TokenUsage()


def test_percentiles_are_values_that_were_measured() -> None:
    assert [percentile([5, 1, 3], percent) for percent in (1, 50, 95, 100)] == [1, 3, 5, 5]


def test_the_ids_of_the_calls_spans() -> None:
    setup, first, call = all_spans([call_document()])
    assert [span.span_id for span in (setup, first, call)] == [
        ids.span_id("sess_1", None, "setup"),
        ids.span_id("sess_1", None, "dial", 0),
        ids.span_id("sess_1", None, "call"),
    ]
