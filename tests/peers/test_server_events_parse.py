"""Every event that the protocol's server half can write is accepted by the `openai` package's own types, strictly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pybase64
import pytest

from audio.formats import PCM16_24K, PCMA_8K, PCMU_8K
from gateway.realtime import items, response_events, server_events
from gateway.realtime.response_events import Place
from sessions.errors import WireError
from sessions.usage import TokenUsage

pytestmark = pytest.mark.openai_sdk
openai_types = pytest.importorskip("openai.types.realtime", reason="pip install openai")

PLACE = Place("resp_1", "item_1", 0)
ITEMS: list[Any] = [
    items.user_audio("item_1"),
    items.user_audio("item_1", "hello"),
    items.user_text("item_1", "hello"),
    items.assistant_empty("item_1"),
    items.assistant_audio("item_1", "hello", "incomplete"),
    items.assistant_text("item_1", "hello"),
    items.function_call("item_1", "call_1", "find", "{}", "in_progress"),
    items.function_output("item_1", "call_1", "yes"),
    items.mcp_call("item_1", "bookings", "find", "{}"),
    items.mcp_call("item_1", "bookings", "find", "{}", error=items.tool_error("no")),
    {"id": "item_1", "type": "mcp_list_tools", "server_label": "s", "tools": [{"name": "a", "input_schema": {}}]},
    {"id": "item_1", "type": "mcp_approval_request", "server_label": "s", "name": "a", "arguments": "{}"},
    {"id": "item_1", "type": "mcp_approval_response", "approval_request_id": "r", "approve": True},
    {"id": "i", "type": "message", "role": "system", "content": [{"type": "input_text", "text": "x"}]},
    {
        "id": "i",
        "type": "message",
        "role": "user",
        "content": [{"type": "input_image", "image_url": "data:image/png;base64,"}],
    },
]
CASES: list[tuple[Any, ...]] = [
    ("in_progress", "conv_1", False, PCM16_24K, "alloy", "inf", None, None, None),
    (
        "completed",
        None,
        True,
        PCMU_8K,
        {"id": "voice_1"},
        100,
        {"a": "b"},
        response_events.status_details("completed"),
        response_events.usage_object(TokenUsage(1, 2, 3, 4, 5, 6)),
    ),
    (
        "cancelled",
        "conv_1",
        False,
        PCMA_8K,
        "alloy",
        "inf",
        {},
        response_events.status_details("cancelled", "turn_detected"),
        None,
    ),
    (
        "failed",
        "conv_1",
        False,
        PCMA_8K,
        "alloy",
        "inf",
        {},
        response_events.status_details("failed", error=response_events.failure("oops", "It broke.")),
        None,
    ),
]
RESPONSES = [
    response_events.response_object(
        "resp_1",
        status=status,
        conversation_id=conversation,
        text_only=text_only,
        format=format,
        voice=voice,
        max_output_tokens=limit,
        metadata=metadata,
        output=ITEMS,
        details=details,
        usage=usage,
    )
    for status, conversation, text_only, format, voice, limit, metadata, details, usage in CASES
]

EVENTS = [
    server_events.error("event_1", "No.", code=None),
    server_events.error_for("event_1", WireError("No.", code="invalid_value", param="session.type", event_id="e")),
    server_events.speech_started("event_1", "item_1", 0),
    server_events.speech_stopped("event_1", "item_1", 20),
    server_events.committed("event_1", "item_1", None),
    server_events.committed("event_1", "item_1", "item_0"),
    server_events.cleared("event_1"),
    server_events.timeout_triggered("event_1", "item_1", 0, 10),
    *[server_events.item_added("event_1", item, None) for item in ITEMS],
    *[server_events.item_done("event_1", item, "item_0") for item in ITEMS],
    *[server_events.item_retrieved("event_1", item) for item in ITEMS],
    server_events.item_truncated("event_1", "item_1", 0, 100),
    server_events.item_deleted("event_1", "item_1"),
    server_events.transcription_delta("event_1", "item_1", "he"),
    server_events.transcription_completed("event_1", "item_1", "hello", 1.5),
    server_events.transcription_failed("event_1", "item_1", "audio_unintelligible", "Nothing was understood."),
    *[server_events.mcp_list_tools("event_1", state, "item_1") for state in ("in_progress", "completed", "failed")],
    server_events.rate_limits("e", [{"name": "tokens", "limit": 10, "remaining": 9, "reset_seconds": 1.0}]),
    *[response_events.response_created("event_1", response) for response in RESPONSES],
    *[response_events.response_done("event_1", response) for response in RESPONSES],
    *[response_events.output_item_added("event_1", PLACE, item) for item in ITEMS],
    *[response_events.output_item_done("event_1", PLACE, item) for item in ITEMS],
    response_events.content_part_added("event_1", PLACE, response_events.audio_part()),
    response_events.content_part_done("event_1", PLACE, response_events.text_part("hello")),
    response_events.audio_delta("event_1", PLACE, b"\0\0"),
    response_events.audio_done("event_1", PLACE),
    response_events.transcript_delta("event_1", PLACE, "he"),
    response_events.transcript_done("event_1", PLACE, "hello"),
    response_events.text_delta("event_1", PLACE, "he"),
    response_events.text_done("event_1", PLACE, "hello"),
    response_events.arguments_delta("event_1", PLACE, "call_1", "{"),
    response_events.arguments_done("event_1", PLACE, "call_1", "find", "{}"),
    response_events.mcp_arguments_delta("event_1", PLACE, "{"),
    response_events.mcp_arguments_done("event_1", PLACE, "{}"),
    *[response_events.mcp_call("event_1", state, "item_1", 0) for state in ("in_progress", "completed", "failed")],
]


def parse(text: bytes) -> Any:
    """Read an event as the package's types do in strict mode."""
    from pydantic import TypeAdapter

    global _adapter
    if _adapter is None:
        _adapter = TypeAdapter(openai_types.RealtimeServerEvent)
    return _adapter.validate_python(orjson.loads(text), strict=True)


_adapter: Any = None


@pytest.mark.parametrize("text", EVENTS, ids=lambda text: orjson.loads(text)["type"])
def test_the_sdk_accepts_every_event_that_can_be_built(text: bytes) -> None:
    written = orjson.loads(text)
    assert type(parse(text)).__name__ != "RealtimeErrorEvent" or written["type"] == "error"
    assert written["event_id"]
    assert parse(text).type == written["type"]


SCRIPT = """
usage: {input_text: 1, input_audio: 2, output_text: 3, output_audio: 4}
turns:
  - {hears: {text: A table please, parts: true}, say: One moment., calls: [{name: find, arguments: {people: 2}}]}
  - {when: {tool: find}, say: There is one., fault: {error: {code: odd, message: Hm.}}}
  - {hears: {text: x, fails: true}, say: It failed., fault: {fail: {code: broken}}}
  - {say: It was cut., fault: {incomplete: 300}}
  - {when: {out_of_band: true}, say: Beside.}
  - {say: a b c d e f g, pace: real}
"""


def test_the_sdk_accepts_a_whole_conversation() -> None:
    from gateway.ids import CountingIds
    from gateway.models.scripted.brain import scripted_server
    from gateway.models.scripted.file import read_script
    from gateway.models.scripted.sound import word

    written: list[bytes] = []
    server = scripted_server(
        read_script(SCRIPT, "s.yaml", Path()), CountingIds(), written.append, lambda: None, now_ms=0, wall_s=0.0
    )

    def send(type: str, **fields: Any) -> list[Any]:
        before = len(written)
        server.receive(orjson.dumps({"type": type, **fields}), 0)
        return [orjson.loads(text) for text in written[before:]]

    def speak() -> list[Any]:
        sound = pybase64.b64encode_as_string(word(300, PCM16_24K) + bytes(48 * 600))
        return send("input_audio_buffer.append", audio=sound)

    server.open(0)
    heard = {"input": {"transcription": {"model": "whisper-1"}}, "output": {"voice": {"id": "voice_1"}}}
    tool = {"type": "function", "name": "find", "description": "Finds.", "parameters": {"type": "object"}}
    send("session.update", session={"type": "realtime", "audio": heard, "tools": [tool]})
    (call,) = [e["item"] for e in speak() if e["type"] == "response.output_item.done" and "call_id" in e["item"]]
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": "yes"}
    send("conversation.item.create", item=output)
    spoken = [e["item_id"] for e in send("response.create") if e["type"] == "response.output_audio.done"]
    speak()
    send("conversation.item.truncate", item_id=spoken[0], content_index=0, audio_end_ms=100)
    send("conversation.item.retrieve", item_id=spoken[0])
    send("conversation.item.delete", item_id=spoken[0])
    send("response.create", response={"metadata": {"a": "b"}})
    send("response.create")
    send("response.create")
    speak()
    send("response.create", response={"output_modalities": ["text"], "conversation": "none"})
    send("input_audio_buffer.clear")
    send("nonsense", event_id="mine")
    seen = {orjson.loads(text)["type"] for text in written}
    assert len(seen) >= 28, sorted(seen)
    for text in written:
        assert parse(text).type == orjson.loads(text)["type"]
