"""Tests for gateway/models/realtime/decode.py and message.py: what a model's messages mean, and malformed ones."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.calls.model_messages import PLACE, Model, frame, message, new_codec, setup

from sessions.commands import Configure, SendAudio
from sessions.errors import WireError
from sessions.events import (
    AgentAudio,
    AgentItemEnded,
    AgentText,
    CallerTranscribed,
    CallerTurnTaken,
    ItemStarted,
    ItemTaken,
    ModelPassed,
    ModelRefused,
    ResponseStarted,
    SpeechEnded,
    SpeechStarted,
    ToolOutputTaken,
)
from sessions.problems import ModelProblem
from sessions.values import ItemKind, Wire


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            message("input_audio_buffer.speech_started", audio_start_ms=40, item_id="i"),
            lambda wire: SpeechStarted("i", 40, wire),
        ),
        (
            message("input_audio_buffer.speech_stopped", audio_end_ms=90, item_id="i"),
            lambda wire: SpeechEnded("i", 90, wire),
        ),
        (
            message("input_audio_buffer.committed", item_id="i", previous_item_id=None),
            lambda wire: CallerTurnTaken("i", wire),
        ),
        (
            message("conversation.item.input_audio_transcription.delta", item_id="i", delta="Hel"),
            lambda wire: CallerTranscribed("i", "Hel", False, wire),
        ),
        (
            message("conversation.item.input_audio_transcription.completed", item_id="i", transcript="Hello"),
            lambda wire: CallerTranscribed("i", "Hello", True, wire),
        ),
        (
            message(
                "conversation.item.input_audio_transcription.failed", item_id="i", error={"code": "c", "type": "t"}
            ),
            lambda wire: ModelRefused("c", "The model refused a message.", None, wire, ModelProblem("c", "t")),
        ),
        (
            message("conversation.item.added", item={"id": "i", "type": "function_call_output", "call_id": "c"}),
            lambda wire: ToolOutputTaken("c", wire),
        ),
        (
            message("conversation.item.added", item={"id": "i", "type": "message", "role": "assistant"}),
            lambda wire: ItemTaken("i", wire),
        ),
        (
            message("conversation.item.added", item={"id": "i", "type": "function_call", "name": "f"}),
            lambda wire: ItemTaken("i", wire),
        ),
        (message("conversation.item.added", item={"id": "i", "type": "mcp_call"}), ModelPassed),
        (
            message("response.created", response={"id": "r", "conversation_id": "c", "metadata": {"a": "b"}}),
            lambda wire: ResponseStarted("r", False, {"a": "b"}, wire),
        ),
        (
            message("response.output_item.added", response_id="r", item={"id": "i", "type": "message"}),
            lambda wire: ItemStarted("r", "i", ItemKind.MESSAGE, None, None, wire),
        ),
        (
            message(
                "response.output_item.added",
                response_id="r",
                item={"id": "i", "type": "function_call", "name": "f", "call_id": "c"},
            ),
            lambda wire: ItemStarted("r", "i", ItemKind.TOOL_CALL, "f", "c", wire),
        ),
        (
            message("response.output_item.added", response_id="r", item={"id": "i", "type": "mcp_call"}),
            lambda wire: ItemStarted("r", "i", ItemKind.OTHER, None, None, wire),
        ),
        (
            message("response.output_audio_transcript.delta", **PLACE, delta="Hi"),
            lambda wire: AgentText("resp_1", "item_1", "Hi", True, wire),
        ),
        (
            message("response.output_text.delta", **PLACE, delta="Hi"),
            lambda wire: AgentText("resp_1", "item_1", "Hi", False, wire),
        ),
        (message("rate_limits.updated", rate_limits=[]), ModelPassed),
        (message("response.of.the.future", anything=1), ModelPassed),
    ],
)
def test_each_message_becomes_its_event(text: bytes, expected: Any) -> None:
    assert new_codec().decode(text) == expected(Wire("realtime", text, orjson.loads(text)))


@pytest.mark.parametrize(
    ("beta", "now"),
    [
        ("response.audio.delta", "response.output_audio.delta"),
        ("response.audio_transcript.delta", "response.output_audio_transcript.delta"),
        ("response.text.delta", "response.output_text.delta"),
        ("response.audio.done", "response.output_audio.done"),
    ],
)
def test_the_betas_names_are_replaced_by_those_of_the_ga_protocol(beta: str, now: str) -> None:
    event = new_codec().decode(message(beta, **PLACE, delta="AAAA"))
    assert isinstance(event, AgentAudio | AgentText | AgentItemEnded)
    wire = event.wire
    text = wire if isinstance(wire, bytes) else wire.text if wire is not None else b""
    assert orjson.loads(text)["type"] == now


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"no":"type"}',
        b'{"type":7}',
        message("response.created"),
        message("response.created", response={}),
        message("response.done"),
        message("response.output_audio.delta", delta="AAAA"),
        message("response.output_audio_transcript.delta", **PLACE),
        message("response.output_item.done", response_id="r", item={"id": "i", "type": "function_call", "name": "f"}),
        message("input_audio_buffer.speech_started", audio_start_ms=1),
        message("input_audio_buffer.speech_stopped", audio_end_ms=1),
        message("input_audio_buffer.committed"),
        b'{"type":"x","deep":' + b"[" * 300 + b"]" * 300 + b"}",
    ],
)
def test_a_message_of_the_wrong_shape_is_malformed(text: bytes) -> None:
    with pytest.raises(WireError):
        new_codec().decode(text)


def test_a_deeply_nested_message_with_half_a_surrogate_pair_is_malformed() -> None:
    for depth in (100, 2_000, 50_000):
        deep = b"[" * depth + b"]" * depth
        with pytest.raises(WireError):
            new_codec().decode(b'{"type":"x","half":"\\ud83d","deep":' + deep + b"}")


def test_a_message_with_too_many_parts_is_malformed_before_it_is_parsed() -> None:
    with pytest.raises(WireError, match="20000 fields"):
        Model().says("response.weather", winds=[[7]] * 20_001)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
TYPES = [
    "error",
    "session.updated",
    "conversation.item.added",
    "conversation.item.done",
    "conversation.item.created",
    "conversation.item.input_audio_transcription.completed",
    "conversation.item.input_audio_transcription.delta",
    "input_audio_buffer.committed",
    "input_audio_buffer.speech_started",
    "input_audio_buffer.speech_stopped",
    "input_audio_buffer.timeout_triggered",
    "response.audio.delta",
    "response.created",
    "response.done",
    "response.output_audio.delta",
    "response.output_audio_transcript.delta",
    "response.output_audio_transcript.done",
    "response.output_item.added",
    "response.output_item.done",
    "response.output_text.done",
    "unheard.of",
]
KEYS = [
    "item_id", "response_id", "item", "response", "delta", "error", "audio_start_ms", "audio_end_ms", "transcript",
    "text", "session", "output_index", "content_index",
]  # fmt: skip
BODY = st.dictionaries(
    st.sampled_from(["id", "type", "status", "name", "call_id", "arguments", "usage", "metadata", "audio", "code"]),
    JSON | st.sampled_from(["completed", "function_call", "function_call_output", "message", "unknown_parameter"]),
)
MESSAGES = st.builds(
    lambda kind, fields: {"type": kind, **fields},
    st.sampled_from(TYPES),
    st.dictionaries(st.sampled_from(KEYS), JSON | BODY | st.sampled_from(["i", "AAAA"])),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(MESSAGES, max_size=6))
def test_a_message_of_a_known_type_is_malformed_at_worst(messages: list[dict[str, Any]]) -> None:
    codec = new_codec()
    codec.encode(Configure(setup()))
    codec.encode(SendAudio(frame(9000), None))
    for one in messages:
        try:
            text = orjson.dumps(one)
        except TypeError:
            continue  # an integer beyond 64 bits
        with suppress(WireError):
            codec.decode(text)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_random_bytes_are_malformed_at_worst(text: bytes) -> None:
    with suppress(WireError):
        new_codec().decode(text)
