"""What is added to spans for single readers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.telemetry.span_check import all_spans
from support.telemetry.telemetry_records import agent, call_document, caller, document_of, response, tool, turn_of

from gateway.telemetry.spans import names
from gateway.telemetry.spans.dialects import for_azure, for_langfuse, for_otlp, operation, usage_details
from gateway.telemetry.spans.policy import Shape, TelemetryPolicy
from gateway.telemetry.spans.span import Kind, Span
from gateway.telemetry.spans.usage import in_dollars, usage_attributes
from sessions.agent import TelemetryContent
from sessions.record import Turn
from sessions.usage import TokenUsage

POLICY = TelemetryPolicy(content=TelemetryContent.TEXT, environment="test", release="1.2")
USED = TokenUsage(
    input_text=40,
    input_audio=60,
    input_image=5,
    input_cached=30,
    output_text=10,
    output_audio=50,
    cached_text=20,
    cached_audio=10,
    output_reasoning=4,
)
TURN = turn_of(
    3, entries=[caller("Hello?"), agent("Yes."), tool()], responses=[response(usage=USED, cost_nano=1_230_000)]
)


def spans(turn: Turn = TURN, **policy: Any) -> dict[str, Span]:
    """The spans of a call with this turn, by their kind."""
    documents = [call_document(summary={"usage": USED, "cost_nano": 9}), document_of(turn)]
    return {operation(span): span for span in all_spans(documents, replace(POLICY, **policy))}


def langfuse(span: Span) -> dict[str, Any]:
    found = for_langfuse(span, POLICY).attributes
    return {name: value for name, value in found.items() if name.startswith("langfuse.")}


# ---- Langfuse


def test_langfuse_gets_a_turn_as_an_agent_with_its_words() -> None:
    root = spans()[names.INVOKE_AGENT]
    found = langfuse(root)
    assert orjson.loads(found.pop("langfuse.observation.input"))[0]["role"] == "user"
    assert orjson.loads(found.pop("langfuse.observation.output"))[0]["role"] == "assistant"
    assert found == {
        "langfuse.observation.type": "agent",
        "langfuse.trace.name": "turn 3 · harbour",
        "langfuse.trace.tags": ["harbour", "realtime", "openai/gpt-realtime"],
        "langfuse.environment": "test",
        "langfuse.release": "1.2",
    }


def test_langfuse_gets_a_response_as_a_generation_whose_use_adds_up() -> None:
    found = langfuse(spans()[names.INFERENCE])
    assert found["langfuse.observation.type"] == "generation"
    assert found["langfuse.observation.model.name"] == "gpt-realtime-2026"
    assert orjson.loads(found["langfuse.observation.usage_details"]) == {
        "input": 20,
        "input_audio": 50,
        "input_image": 5,
        "input_cached": 20,
        "input_cached_audio": 10,
        "output": 6,
        "output_audio": 50,
        "output_reasoning": 4,
    }
    assert found["langfuse.observation.cost_details"] == '{"total":0.00123}'
    assert found["langfuse.observation.completion_start_time"] == "2025-12-01T14:40:02.650Z"
    assert "langfuse.trace.name" not in found


def test_langfuse_gets_a_tools_words_and_no_usage_but_that_of_generations() -> None:
    found = spans()
    tools = langfuse(found[names.EXECUTE_TOOL])
    assert tools["langfuse.observation.type"] == "tool"
    assert (tools["langfuse.observation.input"], tools["langfuse.observation.output"]) == (
        '{"people":2}',
        '{"table":4}',
    )
    call = for_langfuse(found[names.CALL], POLICY)
    assert not [name for name in call.attributes if name.startswith("gen_ai.usage.")]
    assert call.attributes[names.READERS_SESSION_ID] == "sess_1"
    assert langfuse(found[names.CALL])["langfuse.observation.type"] == "span"
    assert langfuse(found[names.SETUP])["langfuse.trace.name"] == "call · harbour"


@pytest.mark.parametrize(
    ("turn", "kind", "level"),
    [
        (TURN, names.INVOKE_AGENT, None),
        (turn_of(interrupted=True), names.INVOKE_AGENT, "WARNING"),
        (turn_of(outcome="failed", interrupted=True), names.INVOKE_AGENT, "ERROR"),
        (turn_of(interrupted=True, entries=[agent("x", heard_ms=5)]), names.PLAYBACK, "WARNING"),
        (turn_of(entries=[tool(end_ms=9_000)]), names.EXECUTE_TOOL, "WARNING"),
        (turn_of(entries=[tool(error="timeout")]), names.EXECUTE_TOOL, "ERROR"),
    ],
)
def test_langfuse_gets_a_level_where_something_went_wrong(turn: Turn, kind: str, level: str | None) -> None:
    assert langfuse(spans(turn)[kind]).get("langfuse.observation.level") == level


def test_langfuse_gets_short_ascii_ids_of_sessions() -> None:
    (root, *_) = all_spans([{**call_document(turns=0), "session_id": "sé" * 200}])
    found = for_langfuse(root, TelemetryPolicy()).attributes
    assert len(str(found[names.READERS_SESSION_ID])) == 64
    assert names.LANGFUSE_ENVIRONMENT not in found


@given(st.builds(TokenUsage, *[st.integers(0, 50)] * 10))
def test_parts_of_use_never_contain_each_other(usage: TokenUsage) -> None:
    attributes = usage_attributes(usage)
    parts = usage_details(attributes)
    assert all(count > 0 for count in parts.values())
    given_input = sum(count for name, count in parts.items() if name.startswith("input"))
    assert given_input == attributes[names.INPUT_TOKENS]
    assert sum(parts.values()) - given_input == attributes[names.OUTPUT_TOKENS]


def test_cached_input_of_an_unknown_kind_is_text_first() -> None:
    usage = TokenUsage(input_text=10, input_audio=20, input_image=5, input_cached=33)
    assert usage_details(usage_attributes(usage)) == {"input_image": 2, "input_cached": 13, "input_cached_audio": 20}


@pytest.mark.parametrize(("nano", "written"), [(0, "0"), (1, "0.000000001"), (1_500_000_000, "1.5"), (10**12, "1000")])
def test_nano_dollars_are_written_in_full(nano: int, written: str) -> None:
    assert in_dollars(nano / 1e9) == written


def test_what_was_not_reported_is_not_sent_to_langfuse() -> None:
    found = langfuse(
        spans(turn_of(responses=[response(usage=None, cost_nano=None, first_sound_ms=None)]))[names.INFERENCE]
    )
    assert found.keys() == {
        "langfuse.observation.type",
        "langfuse.observation.model.name",
        "langfuse.environment",
        "langfuse.release",
        "langfuse.observation.input",
        "langfuse.observation.output",
    }


# ---- OTLP and Azure Monitor


def test_otlp_gets_kinds_audio_counts_and_the_words_of_a_turn() -> None:
    found = {kind: for_otlp(span).attributes for kind, span in spans().items()}
    kinds = {kind: attributes["openinference.span.kind"] for kind, attributes in found.items()}
    assert kinds == {
        "patchbay.setup": "CHAIN",
        "patchbay.dial": "CHAIN",
        "patchbay.call": "CHAIN",
        "invoke_agent": "AGENT",
        "user_speech": "CHAIN",
        "realtime_inference": "LLM",
        "execute_tool": "TOOL",
        "patchbay.playback": "CHAIN",
    }
    inference, root = found[names.INFERENCE], found[names.INVOKE_AGENT]
    assert inference["llm.token_count.prompt_details.audio"] == 60
    assert inference["llm.token_count.completion_details.audio"] == 50
    assert (root["input.value"], root["output.value"]) == ("Hello?", "Yes.")
    assert "input.value" not in for_otlp(spans(content=TelemetryContent.NONE)[names.INVOKE_AGENT]).attributes


def test_azure_gets_turns_as_requests_and_the_models_system() -> None:
    for shape in Shape:
        found = {kind: for_azure(span) for kind, span in spans(shape=shape).items()}
        requests = {kind for kind, span in found.items() if span.kind is Kind.SERVER}
        assert requests == {"patchbay.setup", "invoke_agent"}
        assert found[names.INFERENCE].attributes["gen_ai.system"] == "openai"
        assert found[names.INFERENCE].kind is Kind.CLIENT
        assert "gen_ai.system" not in found[names.INVOKE_AGENT].attributes
        assert found[names.CALL].attributes["session.id"] == "sess_1"
