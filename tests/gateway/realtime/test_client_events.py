"""Tests for gateway/realtime/client_events.py, with items.py and fields.py."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audio.formats import PCM16_24K, PCMU_8K
from gateway.realtime import client_events
from gateway.realtime.client_events import MAX_APPEND_BYTES, decode_append, read_client_event
from gateway.realtime.fields import MAX_TEXT_CHARS
from gateway.realtime.reading import MAX_PARTS
from sessions.errors import WireError

PNG = "data:image/png;base64,AAAA"


def read(type: str, **fields: Any) -> client_events.ClientEvent:
    return read_client_event(orjson.dumps({"type": type, **fields}), PCM16_24K)


def problem(text: bytes) -> WireError:
    with pytest.raises(WireError) as caught:
        read_client_event(text, PCM16_24K)
    return caught.value


def user(*content: Any) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": list(content)}


@pytest.mark.parametrize(
    ("type", "fields", "expected"),
    [
        ("session.update", {"session": {"type": "realtime"}}, {"session": {"type": "realtime"}}),
        ("input_audio_buffer.append", {"audio": "AAAA", "more": 1}, None),
        ("input_audio_buffer.append", {"audio": "AAA="}, {"payload": b"\0\0"}),
        ("input_audio_buffer.commit", {}, {}),
        ("input_audio_buffer.clear", {}, {}),
        ("output_audio_buffer.clear", {}, {}),
        ("conversation.item.create", {"item": user()}, {"item": user(), "previous_item_id": None}),
        (
            "conversation.item.create",
            {"item": user(), "previous_item_id": "root"},
            {"item": user(), "previous_item_id": "root"},
        ),
        ("conversation.item.retrieve", {"item_id": "a"}, {"item_id": "a"}),
        (
            "conversation.item.truncate",
            {"item_id": "a", "content_index": 0, "audio_end_ms": 5},
            {"item_id": "a", "content_index": 0, "audio_end_ms": 5},
        ),
        ("conversation.item.delete", {"item_id": "a"}, {"item_id": "a"}),
        ("response.create", {}, {"response": {}}),
        ("response.create", {"response": None}, {"response": {}}),
        ("response.create", {"response": {"metadata": {}}}, {"response": {"metadata": {}}}),
        ("response.cancel", {}, {"response_id": None}),
        ("response.cancel", {"response_id": "r"}, {"response_id": "r"}),
        ("tomorrow.event", {"x": 1}, {"type": "tomorrow.event"}),
    ],
)
def test_each_event_is_read(type: str, fields: dict[str, Any], expected: dict[str, Any] | None) -> None:
    if expected is None:
        assert problem(orjson.dumps({"type": type, **fields})).param == "audio"
        return
    event = read(type, **fields, event_id="mine")
    assert event.event_id == "mine"
    assert event.parsed == {"type": type, "event_id": "mine", **fields}
    assert {key: getattr(event, key) for key in expected} == expected


@pytest.mark.parametrize(
    ("text", "code", "param"),
    [
        (b"", "invalid_json", None),
        (b"{", "invalid_json", None),
        (b'{"type":"\xff"}', "invalid_json", None),
        (b'{"a":' * 5000, "invalid_json", None),
        (b"[1]", "invalid_event", None),
        (b"{}", "invalid_event", "type"),
        (b'{"type":1}', "invalid_event", "type"),
        (b'{"type":"response.cancel","event_id":7}', "invalid_type", "event_id"),
        (b'{"type":"session.update"}', "missing_required_parameter", "session"),
        (b'{"type":"session.update","session":[]}', "invalid_type", "session"),
        (b'{"type":"input_audio_buffer.append"}', "missing_required_parameter", "audio"),
        (b'{"type":"input_audio_buffer.append","audio":null}', "invalid_type", "audio"),
        (b'{"type":"input_audio_buffer.append","audio":"A"}', "invalid_value", "audio"),
        (b'{"type":"conversation.item.retrieve","item_id":""}', "invalid_value", "item_id"),
        (b'{"type":"conversation.item.truncate","item_id":"a"}', "missing_required_parameter", "content_index"),
        (
            b'{"type":"conversation.item.truncate","item_id":"a","content_index":0,"audio_end_ms":-1}',
            "invalid_value",
            "audio_end_ms",
        ),
        (
            b'{"type":"conversation.item.truncate","item_id":"a","content_index":0,"audio_end_ms":1.5}',
            "invalid_type",
            "audio_end_ms",
        ),
        (b'{"type":"response.create","response":1}', "invalid_type", "response"),
        (b'{"type":"response.cancel","response_id":1}', "invalid_type", "response_id"),
    ],
)
def test_an_error_names_the_problem_and_the_field(text: bytes, code: str, param: str | None) -> None:
    error = problem(text)
    assert (error.code, error.param) == (code, param)


def test_the_events_id_is_in_its_error() -> None:
    for text in (b'{"event_id":"e"}', b'{"type":"session.update","event_id":"e"}'):
        assert problem(text).event_id == "e"


def test_a_message_that_cannot_be_serialised_again_is_refused() -> None:
    deep: Any = {}
    for _ in range(70):
        deep = {"a": [deep]}
    text = orjson.dumps({"type": "session.update", "event_id": "e", "session": deep})
    error = problem(text)
    assert (error.code, error.event_id) == ("invalid_event", "e")


def test_too_much_sound_at_once_is_refused() -> None:
    with pytest.raises(WireError):
        decode_append(b"A" * (MAX_APPEND_BYTES + 4), PCMU_8K)
    assert len(decode_append(b"A" * 4, PCMU_8K)) == 3


@pytest.mark.parametrize(
    "item",
    [
        user({"type": "input_text", "text": "x"}, {"type": "input_image", "image_url": PNG, "detail": "low"}),
        user({"type": "input_audio", "audio": "AAA=", "transcript": None}),
        user({"type": "input_image", "image_url": PNG.replace("png", "jpeg"), "detail": None}),
        {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "x"}], "id": None},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "x"}], "status": None},
        {"type": "message", "role": "assistant", "content": [{"type": "output_audio", "transcript": "x"}]},
        {"type": "function_call", "name": "f", "arguments": "{}", "id": "a", "call_id": "b", "status": "completed"},
        {"type": "function_call_output", "call_id": "b", "output": ""},
        {"type": "mcp_approval_response", "approval_request_id": "r", "approve": False},
        {"type": "mcp_approval_request", "server_label": "s", "name": "n", "arguments": "{}"},
        {"type": "mcp_call", "server_label": "s", "name": "n", "arguments": "{}"},
        {"type": "mcp_list_tools", "server_label": "s", "tools": []},
    ],
)
def test_items_of_every_type_are_accepted(item: dict[str, Any]) -> None:
    event = read("conversation.item.create", item=item)
    assert isinstance(event, client_events.ItemCreate)
    assert event.item == item


@pytest.mark.parametrize(
    ("item", "param"),
    [
        ({}, "item.type"),
        ({"type": "song"}, "item.type"),
        ({"type": "message"}, "item.role"),
        ({"type": "message", "role": "tool"}, "item.role"),
        ({"type": "message", "role": "user"}, "item.content"),
        ({"type": "message", "role": "user", "content": "x"}, "item.content"),
        (user("x"), "item.content[0]"),
        (user({"type": "input_text", "text": "x"}, {"type": "text", "text": "x"}), "item.content[1].type"),
        (user({"type": "input_text"}), "item.content[0].text"),
        (user({"type": "input_text", "text": None}), "item.content[0].text"),
        (user({"type": "input_audio", "audio": "AAAA"}), "item.content[0].audio"),
        (user({"type": "input_audio", "audio": "AAA=", "transcript": 1}), "item.content[0].transcript"),
        (user({"type": "input_image", "image_url": "https://example.org/a.png"}), "item.content[0].image_url"),
        (user({"type": "input_image", "image_url": PNG + "?"}), "item.content[0].image_url"),
        (user({"type": "input_image", "image_url": PNG, "detail": "huge"}), "item.content[0].detail"),
        ({**user(), "role": "system", "content": [{"type": "input_audio"}]}, "item.content[0].type"),
        ({**user(), "role": "assistant", "content": [{"type": "audio"}]}, "item.content[0].type"),
        ({**user(), "role": "assistant", "content": [{"type": "output_audio"}]}, "item.content[0].transcript"),
        ({**user(), "id": 1}, "item.id"),
        ({**user(), "id": "x" * 257}, "item.id"),
        ({**user(), "status": "odd"}, "item.status"),
        ({"type": "function_call", "name": "f"}, "item.arguments"),
        ({"type": "function_call_output", "call_id": "c", "output": {}}, "item.output"),
        ({"type": "mcp_approval_response", "approval_request_id": "r", "approve": "yes"}, "item.approve"),
        ({"type": "mcp_list_tools", "server_label": "s", "tools": {}}, "item.tools"),
    ],
)
def test_the_error_for_an_invalid_item_names_its_field(item: dict[str, Any], param: str) -> None:
    text = orjson.dumps({"type": "conversation.item.create", "item": item, "event_id": "e"})
    error = problem(text)
    assert (error.param, error.event_id) == (param, "e")


json_values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.text(max_size=5), st.floats(allow_nan=False)
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=8,
)
NAMES = ["item", "session", "audio", "item_id", "response", "event_id", "type", "content", "role", "previous_item_id"]
TYPES = [*client_events.READERS, "message", "user", "function_call", "input_text"]


@settings(deadline=None)
@given(
    st.one_of(
        st.binary(max_size=40),
        st.dictionaries(
            st.sampled_from(NAMES),
            st.one_of(
                st.sampled_from(TYPES),
                json_values,
                st.dictionaries(st.sampled_from(NAMES), st.one_of(st.sampled_from(TYPES), json_values), max_size=5),
            ),
            max_size=6,
        ).map(orjson.dumps),
    )
)
def test_any_message_is_read_or_refused(text: bytes) -> None:
    try:
        event = read_client_event(text, PCM16_24K)
    except WireError:
        return
    assert orjson.loads(orjson.dumps(event.parsed)) == orjson.loads(text)


def test_sound_is_decoded() -> None:
    sound = bytes(range(256))
    event = read("input_audio_buffer.append", audio=base64.b64encode(sound).decode())
    assert isinstance(event, client_events.AudioAppend)
    assert event.payload == sound


@pytest.mark.parametrize(
    ("text", "param"),
    [
        (b'{"type":"session.update","session":{},"type":"input_audio_buffer.clear"}', "type"),
        (b'{"type":"conversation.item.create","item":{"type":"message","role":"system","role":"user"}}', "role"),
        (b'{"type":"input_audio_buffer.append","audio":"AAAA","audio":"AAAAAAAA"}', "audio"),
    ],
)
def test_a_duplicate_key_is_refused(text: bytes, param: str) -> None:
    # Bytes that are passed on unchanged must not mean one thing to the gateway and another to the model.
    with pytest.raises(WireError) as problem:
        read_client_event(text, PCM16_24K)
    assert (problem.value.code, problem.value.param) == ("invalid_event", param)


def test_an_event_id_that_is_too_long_is_not_echoed() -> None:
    with pytest.raises(WireError) as problem:
        read_client_event(b'{"type":"response.cancel","event_id":"' + b"x" * 1000 + b'"}', PCM16_24K)
    assert (problem.value.param, problem.value.event_id) == ("event_id", None)


def test_a_message_with_too_many_parts_is_refused_before_it_is_parsed() -> None:
    for odd in (b"{},", b"0,", b'"k":1,', b"[],"):
        text = b'{"type":"session.update","session":{"type":"realtime","x":[' + odd * (MAX_PARTS + 1) + b"0]}}"
        assert problem(text).code == "invalid_event"
    tools = [
        {"type": "function", "name": f"tool_{n}", "parameters": {"type": "object", "properties": {"a": {}}}}
        for n in range(128)
    ]
    read("session.update", session={"type": "realtime", "tools": tools})


def test_the_error_for_a_text_that_is_too_long_names_its_field() -> None:
    long = "x" * (MAX_TEXT_CHARS + 1)
    for item, path in (
        (user({"type": "input_text", "text": long}), "item.content[0].text"),
        ({"type": "function_call_output", "call_id": "c", "output": long}, "item.output"),
    ):
        refused = problem(orjson.dumps({"type": "conversation.item.create", "item": item}))
        assert (refused.code, refused.param) == ("string_above_max_length", path)
    picture = "data:image/png;base64," + "AAAA" * MAX_TEXT_CHARS
    read("conversation.item.create", item=user({"type": "input_image", "image_url": picture}))
