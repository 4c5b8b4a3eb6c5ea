"""The spans of a turn: the root with its events, and what is within it."""

from __future__ import annotations

from typing import Any

import pytest
from support.telemetry.span_check import all_spans, named
from support.telemetry.telemetry_records import (
    STARTED_S,
    agent,
    call_document,
    caller,
    dial,
    document_of,
    response,
    tool,
    turn_of,
)

from gateway.telemetry.spans import ids, names
from gateway.telemetry.spans.policy import Shape, TelemetryPolicy
from gateway.telemetry.spans.span import Kind, Span
from sessions.accounts import DialCause, LegError, ModelTarget, ResponseOrigin, SpeechStretch
from sessions.agent import TelemetryContent
from sessions.problems import ModelProblem
from sessions.record import Heard, Turn
from sessions.usage import TokenUsage

BEGIN_NS = int(STARTED_S * 1000) * 1_000_000


def spans_of(turn: Turn, policy: TelemetryPolicy | None = None, **call: Any) -> list[Span]:
    """The spans of one turn of a call."""
    documents = [call_document(**call), document_of(turn)]
    return [span for span in all_spans(documents, policy) if span.trace_id != ids.call_trace("sess_1")]


def root_of(turn: Turn, **call: Any) -> Span:
    (root,) = named(spans_of(turn, **call), names.INVOKE_AGENT)
    return root


def ms(span: Span) -> tuple[int, int]:
    """When a span begins and ends, in ms of the call."""
    return (span.begin_ns - BEGIN_NS) // 1_000_000, (span.end_ns - BEGIN_NS) // 1_000_000


def test_a_plain_turn_has_its_root_speech_inference_and_playback() -> None:
    root, speech, inference, playback = spans_of(turn_of())
    assert (root.name, root.kind, root.parent_id, root.span_id) == (
        "invoke_agent harbour",
        Kind.INTERNAL,
        None,
        ids.turn_span("sess_1", 0),
    )
    assert [ms(span) for span in (root, speech, inference, playback)] == [
        (1_000, 4_000),
        (1_000, 1_900),
        (1_950, 3_600),
        (2_400, 3_600),
    ]
    assert all(span.parent_id == root.span_id for span in (speech, inference, playback))
    assert [(link.trace_id, link.span_id) for link in root.links] == [
        (ids.call_trace("sess_1"), ids.setup_span("sess_1"))
    ]
    assert root.attributes == {
        "patchbay.session.id": "sess_1",
        "session.id": "sess_1",
        "gen_ai.conversation.id": "sess_1",
        "gen_ai.agent.name": "harbour",
        "gen_ai.agent.version": "1",
        "patchbay.tenant": "default",
        "patchbay.protocol": "realtime",
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.invocation.end_reason": "completed",
        "patchbay.turn": 0,
        "patchbay.sent_ms": 1_200,
        "patchbay.heard_ms": 1_200,
        "patchbay.cost_usd": 0.0,
        "patchbay.latency_ms": 500,
        "patchbay.heard": "marked",
    }
    common = {**root.attributes, "gen_ai.operation.name": "realtime_inference"}
    own = {name: value for name, value in inference.attributes.items() if common.get(name) != value}
    assert (inference.name, inference.kind) == ("realtime_inference gpt-realtime", Kind.CLIENT)
    assert own == {
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-realtime",
        "gen_ai.response.model": "gpt-realtime-2026",
        "gen_ai.response.id": "resp_1",
        "gen_ai.realtime_session.id": "sess_m",
        "gen_ai.response.finish_reasons": ["completed"],
        "gen_ai.output.type": "speech",
        "gen_ai.response.time_to_first_chunk": 0.45,
        "patchbay.origin": "client",
        "patchbay.cost_usd": 0.001234567,
        "server.address": "api.openai.com",
        "server.port": 443,
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 60,
        "gen_ai.usage.text.input_tokens": 40,
        "gen_ai.usage.audio.input_tokens": 60,
        "gen_ai.usage.text.output_tokens": 10,
        "gen_ai.usage.audio.output_tokens": 50,
        "gen_ai.usage.cache_read.input_tokens": 30,
    }
    assert inference.first_sound_ns == BEGIN_NS + 2_400_000_000


def test_a_model_in_this_process_that_began_by_itself() -> None:
    use = response(asked_ms=None, usage=None, cost_nano=None, leg=5)
    _, _, inference, _ = spans_of(turn_of(responses=[use]), model="local/offline")
    assert (inference.kind, ms(inference)) == (Kind.INTERNAL, (2_000, 3_600))
    attributes = inference.attributes
    assert attributes["gen_ai.provider.name"] == "patchbay.local"
    absent = (names.FIRST_CHUNK_S, names.SERVER_ADDRESS, names.COST_USD, names.INPUT_TOKENS, names.RESPONSE_MODEL)
    assert not [name for name in absent if name in attributes]


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ("azure/x", "azure.ai.openai"),
        ("voice-live/x", "azure.ai.voice_live"),
        ("scripted/x", "patchbay.scripted"),
        ("openai/x", "openai"),
    ],
)
def test_providers_have_the_conventions_names(model: str, provider: str) -> None:
    found = spans_of(turn_of(), dials=(dial(target=ModelTarget(model)),))
    assert named(found, names.INFERENCE)[0].attributes[names.PROVIDER] == provider


def test_a_root_holds_what_is_heard_and_what_runs_after_the_turns_end() -> None:
    assert ms(root_of(turn_of(entries=[agent("x", begin_ms=3_500)]))) == (1_000, 4_700)
    late = turn_of(entries=[tool(begin_ms=3_900, end_ms=7_000)], speech=[SpeechStretch(900, None)])
    assert ms(root_of(late)) == (900, 7_000)
    (span,) = named(spans_of(late), names.EXECUTE_TOOL)
    assert span.attributes[names.TOOL_LATE] is True


def test_a_turn_that_the_call_cut_off_ends_with_the_call() -> None:
    turn = turn_of(end_ms=None, outcome=None, responses=[response(end_ms=None, outcome=None, reason=None)])
    root, _, inference, _ = spans_of(turn)
    assert (ms(root), ms(inference)) == ((1_000, 10_000), (1_950, 10_000))
    assert root.attributes[names.INVOCATION_END_REASON] == "session_closed"
    assert names.FINISH_REASONS not in inference.attributes


@pytest.mark.parametrize(
    ("turn", "turns", "reason"),
    [
        (turn_of(interrupted=True), 1, "interrupted"),
        (turn_of(outcome="cancelled"), 2, "interrupted"),
        (turn_of(outcome="cancelled"), 1, "session_closed"),
        (turn_of(entries=[agent("x", heard_ms=100)]), 1, "session_closed"),
        (turn_of(entries=[agent("x", heard_ms=100)]), 2, "completed"),
        (turn_of(outcome=None), 2, "completed"),
    ],
)
def test_how_an_invocation_has_ended(turn: Turn, turns: int, reason: str) -> None:
    assert root_of(turn, turns=turns).attributes[names.INVOCATION_END_REASON] == reason


def test_an_interruption_is_two_events_at_the_last_heard_sample() -> None:
    said = agent("From noon", heard_ms=700, heard=Heard.ESTIMATED)
    turn = turn_of(entries=[caller("x"), said, agent("And", item_id="item_b", begin_ms=3_600, heard_ms=0)])
    turn.interrupted = True
    root, *rest = spans_of(turn)
    assert [(event.name, (event.at_ns - BEGIN_NS) // 1_000_000, event.attributes) for event in root.events] == [
        ("patchbay.interrupted", 3_100, {}),
        ("patchbay.truncated", 3_100, {"patchbay.item_id": "item_a", "patchbay.heard_ms": 700}),
        ("patchbay.truncated", 3_600, {"patchbay.item_id": "item_b", "patchbay.heard_ms": 0}),
    ]
    assert root.attributes[names.HEARD] == "estimated"
    (playback,) = named(rest, names.PLAYBACK)  # what nobody heard was not played
    assert playback.attributes[names.INTERRUPTED] is True


def test_a_lost_model_and_a_used_up_budget_are_events() -> None:
    turn = turn_of(budget_reached=True, responses=[response(origin=ResponseOrigin.BUDGET)])
    root = root_of(turn, dials=(dial(lost_ms=1_500, error=LegError.CLOSED), dial(cause=DialCause.LOST)))
    assert [(event.name, event.attributes) for event in root.events] == [
        ("patchbay.model_lost", {"error.type": "closed"}),
        ("patchbay.budget_reached", {}),
    ]


def test_failures_are_classes_and_never_texts() -> None:
    problem = ModelProblem("insufficient_quota", "quota")
    failed = turn_of(outcome="failed", problem=problem, responses=[response(outcome="failed", reason="failed")])
    root, _, inference, _ = spans_of(failed)
    assert root.error
    assert inference.error
    assert root.attributes[names.ERROR_TYPE] == inference.attributes[names.ERROR_TYPE] == "insufficient_quota"
    said = turn_of(outcome="failed", responses=[response(outcome="failed", reason="He said: no!")])
    _, _, inference, _ = spans_of(said)
    assert inference.attributes[names.ERROR_TYPE] == "other"
    assert inference.attributes[names.FINISH_REASONS] == ["other"]
    assert root_of(turn_of(outcome="failed", responses=[])).attributes[names.ERROR_TYPE] == "failed"
    # The problem of an answer that was given again with success is no error of the turn.
    assert not root_of(turn_of(problem=problem)).error


def test_a_tool_over_mcp() -> None:
    use = tool(name="find\ntable" + "x" * 100, server="bookings", deadline_ms=8_000, error="timeout", output="late!")
    (span,) = named(
        spans_of(turn_of(entries=[use]), TelemetryPolicy(transports={"bookings": "pipe"})), names.EXECUTE_TOOL
    )
    assert span.span_id == ids.tool_span("sess_1", 0, "call_7")
    assert (len(span.name), span.name[:23]) == (len("execute_tool ") + 64, "execute_tool find\ufffdtable")
    own = {name: value for name, value in span.attributes.items() if not name.startswith(("gen_ai.agent", "session"))}
    assert (
        own.items()
        >= {
            "gen_ai.tool.call.id": "call_7",
            "gen_ai.tool.type": "function",
            "patchbay.tool.deadline_ms": 8_000,
            "patchbay.tool.late": False,
            "patchbay.tool.result_bytes": 5,
            "error.type": "timeout",
            "mcp.method.name": "tools/call",
            "network.transport": "pipe",
            "patchbay.mcp.server": "bookings",
        }.items()
    )


def test_a_written_answer_and_an_answer_that_only_calls_a_tool() -> None:
    quiet = TokenUsage(output_text=5)
    uses = [response(usage=quiet), response(response_id="resp_2", usage=None, begin_ms=3_000, asked_ms=3_000)]
    written = agent("Noon.", spoken=False, begin_ms=3_100, sent_ms=0, heard_ms=0, heard=None)
    first, second = named(spans_of(turn_of(entries=[tool(), written], responses=uses)), names.INFERENCE)
    assert names.OUTPUT_TYPE not in first.attributes
    assert second.attributes[names.OUTPUT_TYPE] == "text"


def test_two_responses_of_one_id_have_two_spans() -> None:
    found = named(spans_of(turn_of(responses=[response(), response()])), names.INFERENCE)
    assert len({span.span_id for span in found}) == 2


def test_in_the_shape_call_turns_are_in_the_calls_trace_under_its_root() -> None:
    documents = [call_document(turns=203), *(document_of(turn_of(index)) for index in (0, 199, 200, 201))]
    spans = all_spans(documents, TelemetryPolicy(shape=Shape.CALL))
    setup = ids.setup_span("sess_1")
    first, last, further, after = named(spans, names.INVOKE_AGENT)
    assert {first.trace_id, last.trace_id} == {ids.call_trace("sess_1")}
    assert (first.parent_id, last.parent_id, first.links) == (setup, setup, ())
    assert further.trace_id == after.trace_id == ids.turn_trace("sess_1", 200)
    assert (further.parent_id, after.parent_id) == (None, further.span_id)
    assert [link.span_id for link in further.links] == [setup]


def test_a_tools_name_that_the_model_has_made_up_is_not_sent() -> None:
    made_up = tool(name="call Jane", error="unknown_tool")
    spans = spans_of(turn_of(entries=[agent("Well."), made_up]), TelemetryPolicy(content=TelemetryContent.TEXT))
    (span,) = named(spans, names.EXECUTE_TOOL)
    assert (span.name, span.attributes[names.TOOL_NAME]) == ("execute_tool other", "other")
    assert not any("Jane" in str(each.attributes) for each in spans)
