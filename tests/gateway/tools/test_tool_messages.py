"""A server's messages become messages that the SDK accepts, with what is known about each request."""

from __future__ import annotations

import json
import logging
from typing import Any

import orjson
import pytest

from gateway.tools.json_reading import Unreadable
from gateway.tools.messages import Fate, Message, MessageReader, failure

CALL: dict[str, Any] = {"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": {"name": "book"}}


def reader(request: dict[str, Any] = CALL) -> MessageReader:
    box = MessageReader("peer", 1000)
    assert box.note_sent(request) == request["id"]
    return box


def read(raw: object, request: dict[str, Any] = CALL, only: int | None = None) -> list[dict[str, Any]]:
    text = raw if isinstance(raw, bytes) else json.dumps(raw).encode()
    return [orjson.loads(message.payload) for message in reader(request).read(text, only)]


def answer(result: object, **more: object) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": 3, "result": result, **more}


def text_of(message: dict[str, Any]) -> str:
    return str(message["result"]["content"][0]["text"])


@pytest.mark.parametrize("identity", [3, "3", 3.0])
def test_an_answer_finds_its_request_by_any_form_of_the_id(identity: object) -> None:
    (message,) = read({"id": identity, "result": {"content": [{"type": "text", "text": "Yes."}]}})
    assert (message["id"], message["jsonrpc"], text_of(message)) == (3, "2.0", "Yes.")


def test_a_lone_surrogate_loses_no_answer() -> None:
    (message,) = read(b'{"jsonrpc":"2.0","id":3,"result":{"content":[{"type":"text","text":"Hi \\ud83d"}]}}')
    assert text_of(message) == "Hi \ufffd"


@pytest.mark.parametrize("result", [None, [1], 7, "x", True, {}])
def test_a_result_of_any_type_is_a_result(result: object) -> None:
    (message,) = read(answer(result))
    assert isinstance(text_of(message), str)
    assert message["result"]["isError"] is False


def test_an_answer_under_another_id_is_given_to_the_only_request() -> None:
    stray = {"jsonrpc": "2.0", "id": 9, "result": {"content": []}}
    assert read(stray) == []
    (message,) = read(stray, only=3)
    assert message["id"] == 3


def test_an_error_keeps_its_code_and_loses_its_data() -> None:
    error = {"code": -32602, "message": "No such day\ud83d", "data": {"fate": "gone", "secret": 1}}
    (message,) = read({"jsonrpc": "2.0", "id": 3, "error": error})
    assert message["error"] == {"code": -32602, "message": "No such day\ufffd", "data": {"fate": "refused"}}
    (message,) = read({"jsonrpc": "2.0", "id": None, "error": "broken"}, only=3)
    assert (message["id"], message["error"]["message"]) == (3, "broken")
    (message,) = read({"jsonrpc": "2.0", "id": 3, "error": None, "result": {"content": []}})
    assert "result" in message


def test_an_unsupported_version_error_keeps_the_supported_versions() -> None:
    error = {"code": -32022, "message": "no", "data": {"supported": ["2025-06-18"]}}
    (message,) = read({"id": 3, "error": error})
    assert message["error"]["data"]["supported"] == ["2025-06-18"]


@pytest.mark.parametrize(
    "sent", [[], [1, None, "x"], 7, None, "x", {}, {"method": "notifications/progress", "params": {}}]
)
def test_an_invalid_message_is_skipped(sent: object) -> None:
    assert read(sent) == []


def test_a_batch_is_read_message_by_message() -> None:
    ask = {"jsonrpc": "2.0", "id": "s1", "method": "ping", "params": None}
    messages = read([ask, None, answer({"content": []})])
    assert [message.get("method", "answer") for message in messages] == ["ping", "answer"]
    with pytest.raises(Unreadable):
        read([ask] * 101)


def test_the_beginning_of_an_unreadable_message_names_its_request() -> None:
    box = reader()
    assert box.request_of(b'{"jsonrpc":"2.0","id":3,"result":{"con') == 3
    assert box.request_of(b'{"jsonrpc":"2.0", "id" : "3", "result":{') == 3
    assert box.request_of(b'{"jsonrpc":"2.0","id":4,"result":{') is None
    assert box.request_of(b"Welcome to id 3") is None


LIST: dict[str, Any] = {"jsonrpc": "2.0", "id": 3, "method": "tools/list"}


def tools(offered: object, **more: object) -> list[dict[str, Any]]:
    (message,) = read(answer({"tools": offered, **more}), LIST)
    found: list[dict[str, Any]] = message["result"]["tools"]
    return found


@pytest.mark.parametrize("offered", [None, 7, {}, [None, 7, {}, {"name": 3}, {"name": ""}]])
def test_an_invalid_tool_is_left_out(offered: object) -> None:
    assert tools(offered) == []


@pytest.mark.parametrize(
    ("schema", "sound"),
    [
        (None, {"type": "object", "properties": {}}),
        ([], {"type": "object", "properties": {}}),
        ({}, {"type": "object"}),
        ({"type": "string"}, {"type": "object"}),
        ({"properties": [], "required": "a", "$schema": 1}, {"type": "object"}),
        (
            {"type": "object", "properties": {"a": {}, "b": 1}, "required": ["a", 1]},
            {"type": "object", "properties": {"a": {}}, "required": ["a"]},
        ),
    ],
)
def test_a_faulty_schema_affects_no_other_tool(schema: object, sound: object) -> None:
    first, second = tools([{"name": "odd", "inputSchema": schema}, {"name": "b", "inputSchema": {"type": "object"}}])
    assert (first["inputSchema"], second["name"]) == (sound, "b")


def test_a_tool_keeps_only_the_fields_that_are_used() -> None:
    (tool,) = tools(
        [
            {
                "name": "a",
                "title": 7,
                "description": "x" * 5000,
                "inputSchema": {"type": "object"},
                "outputSchema": {"type": "object"},
                "annotations": {"readOnlyHint": True, "idempotentHint": "yes", "other": 1},
                "icons": [{}],
            }
        ]
    )
    assert set(tool) == {"name", "description", "inputSchema", "annotations"}
    assert tool["annotations"] == {"readOnlyHint": True}
    assert len(tool["description"]) < 4200


def test_a_list_is_bounded() -> None:
    assert len(tools([{"name": f"t{number}"} for number in range(1000)])) == 256
    big = {"type": "object", "properties": {str(number): {"type": "string"} for number in range(2000)}}
    assert 0 < len(tools([{"name": f"t{number}", "inputSchema": big} for number in range(100)])) < 10


def test_a_server_fault_is_logged_once_and_without_its_words(caplog: pytest.LogCaptureFixture) -> None:
    box = reader({"jsonrpc": "2.0", "id": 4, "method": "tools/list"})
    box.note_sent(CALL)
    schema = {"type": "object", "properties": {"note": {"type": "string"}}}
    tool = {"name": "book", "inputSchema": {"type": "object"}, "outputSchema": schema}
    box.read(json.dumps({"id": 4, "result": {"tools": [tool]}}).encode())
    raw = json.dumps(answer({"content": [], "structuredContent": {"note": None, "who": "Ada"}})).encode()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            box.read(raw)
    fields = [record.__dict__ for record in caplog.records]
    assert [(one["about"], one["what"]) for one in fields] == [
        ("book", "structuredContent.note is null, but its outputSchema says string")
    ]
    assert "Ada" not in str(fields)


def test_an_initialize_result_may_lack_unimportant_fields() -> None:
    greet = {"jsonrpc": "2.0", "id": 3, "method": "initialize"}
    (message,) = read(answer({"protocolVersion": "2025-06-18", "capabilities": None}), greet)
    assert message["result"]["serverInfo"] == {"name": "", "version": ""}
    (message,) = read(answer([1]), greet)
    assert message["result"] == {}


def test_a_failure_says_what_is_known() -> None:
    message = failure(3, Fate.NOT_DONE, "the server answered HTTP 401", status=401)
    assert message == Message(message.payload, 3)
    assert orjson.loads(message.payload)["error"]["data"] == {"fate": "not_done", "status": 401}
