"""Tests for gateway/models/realtime/codec.py: the call's commands as messages."""

from __future__ import annotations

import orjson
import pytest
from support.calls.model_messages import frame, message, new_codec, request, sent, setup

from audio.formats import PCM16_24K, AudioFrame
from gateway.models.realtime.codec import not_understood
from sessions.commands import (
    AddItem,
    AddToolOutput,
    CancelResponse,
    ClearSound,
    CommitSound,
    Configure,
    DeleteItem,
    ModelCommand,
    PassToModel,
    RequestResponse,
    Seed,
    SendAudio,
    TruncateItem,
)
from sessions.past import PastMessage, PastToolCall
from sessions.ports import JsonObject
from sessions.problems import ModelProblem
from sessions.values import ResponseRequest, Wire


def carrying(wire: Wire | None) -> list[ModelCommand]:
    """A command of each kind that may carry a client's message."""
    request = ResponseRequest("ask", False, None, None, wire)
    return [
        CommitSound(wire),
        ClearSound(wire),
        AddItem(PastMessage("i", "user", "Hi."), "e1", wire),
        DeleteItem("i", "e2", wire),
        AddToolOutput("c", "x", wire),
        CancelResponse(None, wire),
        TruncateItem("i", 5, wire),
        RequestResponse(request),
    ]


def test_sound_goes_on_as_the_message_that_it_came_in() -> None:
    codec = new_codec()
    for text in (
        b'{"type":"input_audio_buffer.append","audio":"AAAA"}',
        b'{"event_id":"x","audio":"AAAA","type":"input_audio_buffer.append"}',
    ):
        assert codec.encode(SendAudio(frame(0), text)) == (text,)


@pytest.mark.parametrize("wire", [None, b'{"event":"media","media":{"payload":"AAAA"}}'])
def test_sound_of_another_dialect_is_written_anew(wire: bytes | None) -> None:
    made = sent(new_codec(), SendAudio(AudioFrame(b"\x01\x02", PCM16_24K, 0), wire))
    assert made == [{"type": "input_audio_buffer.append", "audio": "AQI="}]


def test_the_session_goes_out_without_what_the_service_does_not_take() -> None:
    codec = new_codec(voids=frozenset({"tracing"}), semantic_vad=False)
    detection: JsonObject = {"type": "semantic_vad", "eagerness": "low", "interrupt_response": False}
    session: JsonObject = {"model": "gpt-x", "tracing": None, "audio": {"input": {"turn_detection": detection}}}
    made = sent(codec, Configure(setup(session)))[0]
    assert made["type"] == "session.update"
    assert made["event_id"].startswith("pb_")
    assert made["session"] == {
        "type": "realtime",
        "audio": {"input": {"turn_detection": {"type": "server_vad", "interrupt_response": False}}},
    }


def test_a_request_carries_the_name_by_which_a_refusal_is_known() -> None:
    codec = new_codec()
    body: JsonObject = {"type": "response.create", "response": {"metadata": {"k": "v"}}}
    named: JsonObject = {**body, "event_id": "pb_ask"}
    text = orjson.dumps(named)
    assert codec.encode(request(wire=Wire("realtime", text, named))) == (text,)
    assert sent(codec, request(wire=Wire("realtime", orjson.dumps(body), body))) == [named]
    assert sent(codec, request(metadata={"k": "v"}, out_of_band=True)) == [
        {**named, "response": {"metadata": {"k": "v"}, "conversation": "none"}}
    ]


def test_given_text_is_spoken_as_the_model_can() -> None:
    told = sent(new_codec(), request(say="Hello."))[0]["response"]
    assert told["instructions"].endswith("Hello.")
    assert told["tool_choice"] == "none"
    given_text = sent(new_codec(speaks_given_text=True), request(say="Hello."))[0]["response"]
    assert given_text["pre_generated_assistant_message"]["content"] == [{"type": "text", "text": "Hello."}]


def test_what_the_client_wrote_goes_on_as_it_is() -> None:
    wire = Wire("realtime", b'{"type":"x","event_id":"ask"}', {"type": "x", "event_id": "ask"})
    codec = new_codec()
    for command in carrying(wire):
        assert codec.encode(command) == (wire.text,)
        assert not_understood(command) is None
    assert codec.encode(PassToModel(wire)) == (wire.text,)
    assert not_understood(PassToModel(wire)) is None


@pytest.mark.parametrize("wire", [None, Wire("other", b"{}", {})])
def test_what_has_no_message_of_this_dialect_is_written_from_its_fields(wire: Wire | None) -> None:
    codec = new_codec()
    told = [message for command in carrying(wire) for message in sent(codec, command)]
    item = {"id": "i", "type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi."}]}
    output = {"id": "pb_3", "type": "function_call_output", "call_id": "c", "output": "x"}
    assert told == [
        {"type": "input_audio_buffer.commit", "event_id": "pb_1"},
        {"type": "input_audio_buffer.clear", "event_id": "pb_2"},
        {"type": "conversation.item.create", "event_id": "e1", "item": item},
        {"type": "conversation.item.delete", "event_id": "e2", "item_id": "i"},
        {"type": "conversation.item.create", "event_id": "pb_4", "item": output},
        {"type": "response.cancel", "event_id": "pb_5"},
        {
            "type": "conversation.item.truncate",
            "event_id": "pb_6",
            "item_id": "i",
            "content_index": 0,
            "audio_end_ms": 5,
        },
        {"type": "response.create", "event_id": "ask", "response": {}},
    ]


def test_of_a_function_call_only_the_call_is_added() -> None:
    call = PastToolCall("i", "c", "find", "{}", None)
    (told,) = sent(new_codec(), AddItem(call, "e", None))
    assert told["item"] == {"id": "i", "type": "function_call", "call_id": "c", "name": "find", "arguments": "{}"}


def test_a_message_of_another_dialect_is_refused() -> None:
    foreign = PassToModel(Wire("other", b"{}", {}))
    assert new_codec().encode(foreign) == ()
    refusal = not_understood(foreign)
    assert refusal is not None
    assert refusal.problem == ModelProblem("foreign_message", None)


def test_what_the_gateway_makes_has_its_own_ids() -> None:
    codec = new_codec()
    assert sent(codec, CancelResponse("r", None)) == [
        {"type": "response.cancel", "event_id": "pb_1", "response_id": "r"}
    ]
    assert sent(codec, TruncateItem("i", 5, None))[0] == {
        "type": "conversation.item.truncate",
        "event_id": "pb_2",
        "item_id": "i",
        "content_index": 0,
        "audio_end_ms": 5,
    }
    output = sent(codec, AddToolOutput("c", "done", None))[0]
    assert output["item"] == {"id": "pb_3", "type": "function_call_output", "call_id": "c", "output": "done"}
    assert output["event_id"] == "pb_4"


def test_a_fresh_session_is_told_the_past_under_the_same_ids_and_the_client_is_not() -> None:
    codec = new_codec()
    past = (
        PastMessage("item_a", "user", "Hello"),
        PastMessage("item_b", "assistant", "Hi"),
        PastToolCall("item_c", "call_1", "f", "{}", "done"),
        PastMessage("x" * 40, "user", "More"),
    )
    items = [one["item"] for one in sent(codec, Seed(past))]
    assert [item["id"] for item in items[:3]] == ["item_a", "item_b", "item_c"]
    assert all(item["id"].startswith("pb_") for item in items[3:])
    assert [item["content"][0]["type"] for item in items if item["type"] == "message"] == [
        "input_text",
        "output_text",
        "input_text",
    ]
    assert items[3]["call_id"] == "call_1"
    for kind in ("conversation.item.added", "conversation.item.done"):
        assert codec.decode(message(kind, item={"id": "item_a", "type": "message"})) is None
    assert sent(codec, Seed((PastMessage("item_d", "user", "Hello?"),), frozenset({"item_d"}))) != []
    for kind in ("conversation.item.added", "conversation.item.done"):
        assert codec.decode(message(kind, item={"id": "item_d", "type": "message"})) is not None
    # Hidden by its id, on the client's side: what stands behind it must not name it.
    assert codec.decode(message("conversation.item.added", item=items[4])) is not None


def test_no_half_of_an_emoji_keeps_the_model_from_being_told() -> None:
    codec = new_codec()
    (output,) = sent(codec, AddToolOutput("c", "a \ud83d", None))
    assert output["item"]["output"] == "a \ufffd"
    told = sent(codec, Seed((PastMessage("i", "user", "\ude00"), PastToolCall("k", "c", "f", '{"\ud83d"}', "\ud83d"))))
    assert [one["item"].get("output") for one in told] == [None, None, "\ufffd"]
    assert sent(codec, Configure(setup({"instructions": "\ud83d", "\ud83d": ["\ude00"]})))[0]["session"] == {
        "type": "realtime",
        "instructions": "\ufffd",
        "\ufffd": ["\ufffd"],
    }
    assert sent(codec, request(say="Hi \ud83d"))[0]["response"]["instructions"].endswith("Hi \ufffd")
