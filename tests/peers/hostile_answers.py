"""A hostile MCP server's answers to a tool call: whole messages, for both transports. Needs no package."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

TOOL = {
    "description": "Misbehave.",
    "inputSchema": {"type": "object", "properties": {}},
    "outputSchema": {"type": "object", "properties": {"note": {"type": "string"}}},
}
WORDS = "Booked as number 7."

# How a tool call may end where its answer cannot be read. An answer without an id belongs to no call, so the deadline
# ends that.
UNREAD = ("protocol_error", "timeout", "tool_execution_error", "http_error")
READ = (None,)
EITHER = (None, *UNREAD)


def message(call_id: Any, **fields: Any) -> bytes:
    """A JSON-RPC message with this id."""
    return json.dumps({"jsonrpc": "2.0", "id": call_id, **fields}).encode()


def result(call_id: Any, text: Any = WORDS, **fields: Any) -> bytes:
    """A result with this text."""
    return message(call_id, result={"content": [{"type": "text", "text": text}], **fields})


def raw_result(call_id: Any, facts: bytes) -> bytes:
    """A result whose structured content is written as given."""
    return result(call_id, structuredContent={"note": "FACTS"}).replace(b'"FACTS"', facts)


def nested(depth: int) -> bytes:
    """Nested lists."""
    return b"[" * depth + b"]" * depth


def many_parts() -> bytes:
    """12 MB of JSON in 400,000 parts."""
    return b"[" + b",".join([b'{"a":1,"b":"aaaaaaaaaaaaa"}'] * 400_000) + b"]"


def progress(count: int) -> bytes:
    """`count` notifications that were not requested."""
    note = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": 1, "progress": 1}}
    return b"\n".join([json.dumps(note).encode()] * count)


def ask_back(method: str, **params: Any) -> Callable[[Any], bytes]:
    """A request from the server, then the result."""

    def answer(call_id: Any) -> bytes:
        question = {"jsonrpc": "2.0", "id": "mine", "method": method, "params": params}
        return json.dumps(question).encode() + b"\n" + result(call_id)

    return answer


Entry = tuple[Callable[[Any], bytes], tuple["str | None", ...], "str | None"]

# Kind: the answer (each line is a message), how the call may end, and a part of what the model reads. An answer that
# has arrived is passed on, whatever its form; so is the only body of an HTTP answer, whatever its id.
ANSWERS: dict[str, Entry] = {
    "null": (lambda call_id: b"null", UNREAD, None),
    "a list": (lambda call_id: b"[]", UNREAD, None),
    "a list with the answer": (lambda call_id: b"[" + result(call_id) + b"]", EITHER, None),
    "a number": (lambda call_id: b"7", UNREAD, None),
    "a text": (lambda call_id: b'"fine"', UNREAD, None),
    "an empty object": (lambda call_id: b"{}", EITHER, None),
    "no JSON": (lambda call_id: b"\x00\xff\xfe{{{", UNREAD, None),
    "no UTF-8": (lambda call_id: result(call_id).replace(b"Booked", b"Boo\xffked"), EITHER, None),
    "half an emoji": (lambda call_id: result(call_id, "\ud83d " + WORDS), READ, "Booked"),
    "half an emoji in facts": (lambda call_id: result(call_id, structuredContent={"note": "\ud83d"}), READ, "Booked"),
    "half an emoji as a key": (lambda call_id: result(call_id, structuredContent={"\ud83d": "x"}), READ, "Booked"),
    "no result": (lambda call_id: message(call_id), READ, None),
    "result null": (lambda call_id: message(call_id, result=None), READ, None),
    "result a list": (lambda call_id: message(call_id, result=[1]), READ, None),
    "result a number": (lambda call_id: message(call_id, result=7), READ, None),
    "result a text": (lambda call_id: message(call_id, result=WORDS), READ, None),
    "result empty": (lambda call_id: message(call_id, result={}), EITHER, None),
    "content null": (lambda call_id: message(call_id, result={"content": None}), EITHER, None),
    "content a number": (lambda call_id: message(call_id, result={"content": 7}), READ, None),
    "content of null": (lambda call_id: message(call_id, result={"content": [None]}), EITHER, None),
    "content of an unknown kind": (
        lambda call_id: message(call_id, result={"content": [{"type": "smell"}]}),
        EITHER,
        None,
    ),
    "text null": (lambda call_id: result(call_id, None), EITHER, None),
    "text a number": (lambda call_id: result(call_id, 7), EITHER, None),
    "text an object": (lambda call_id: result(call_id, {"a": 1}), EITHER, None),
    "facts against their schema": (lambda call_id: result(call_id, structuredContent={"note": None}), READ, WORDS),
    "facts missing": (lambda call_id: result(call_id), READ, WORDS),
    "facts a list": (lambda call_id: result(call_id, structuredContent=[1]), EITHER, None),
    "facts a number": (lambda call_id: result(call_id, structuredContent=7), EITHER, None),
    "facts NaN": (lambda call_id: raw_result(call_id, b"NaN"), EITHER, None),
    "facts past any number": (lambda call_id: raw_result(call_id, b"1e999"), EITHER, None),
    "facts of 5000 digits": (lambda call_id: raw_result(call_id, b"9" * 5000), EITHER, None),
    "facts 200 lists deep": (lambda call_id: raw_result(call_id, nested(200)), EITHER, None),
    "facts 100000 lists deep": (lambda call_id: raw_result(call_id, nested(100_000)), EITHER, None),
    "facts in 400000 parts": (lambda call_id: raw_result(call_id, many_parts()), EITHER, None),
    "12 MB of words": (lambda call_id: result(call_id, "word " * 2_400_000), EITHER, None),
    "isError a text": (lambda call_id: result(call_id, isError="yes"), EITHER, None),
    "isError null": (lambda call_id: result(call_id, isError=None), EITHER, None),
    "error null": (lambda call_id: message(call_id, error=None), READ, None),
    "error a list": (lambda call_id: message(call_id, error=[]), UNREAD, None),
    "error a text": (lambda call_id: message(call_id, error="no"), UNREAD, None),
    "error without code": (lambda call_id: message(call_id, error={"message": "no"}), UNREAD, None),
    "error with a code past any number": (
        lambda call_id: message(call_id, error={"code": 10**400, "message": "no"}),
        UNREAD,
        None,
    ),
    "error with half an emoji": (
        lambda call_id: message(call_id, error={"code": 1, "message": "\ud83d"}),
        UNREAD,
        None,
    ),
    "error with 4 MB": (
        lambda call_id: message(call_id, error={"code": 1, "message": "no " * 1_300_000}),
        UNREAD,
        None,
    ),
    "result and error": (
        lambda call_id: result(call_id)[:-1] + b', "error": {"code": 1, "message": "no"}}',
        EITHER,
        None,
    ),
    "another's id": (lambda call_id: result(999_999), EITHER, None),
    "id null": (lambda call_id: result(None), EITHER, None),
    "id a list": (lambda call_id: result([call_id]), EITHER, None),
    "id an object": (lambda call_id: result({"id": call_id}), EITHER, None),
    "id as a text": (lambda call_id: result(str(call_id)), EITHER, None),
    "id as a fraction": (lambda call_id: result(float(call_id)), EITHER, None),
    "another version": (lambda call_id: result(call_id).replace(b'"2.0"', b'"1.0"'), EITHER, None),
    "asks for words": (ask_back("sampling/createMessage", messages=None, maxTokens="many"), EITHER, None),
    "asks the caller": (ask_back("elicitation/create", message=None), EITHER, None),
    "asks for nothing known": (ask_back("do/it", much=[None]), EITHER, None),
    "a flood of progress": (lambda call_id: progress(20_000) + b"\n" + result(call_id), EITHER, None),
    "cancels the call": (
        lambda call_id: (
            json.dumps(
                {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": call_id}}
            ).encode()
            + b"\n"
            + result(call_id)
        ),
        EITHER,
        None,
    ),
    "twice": (lambda call_id: result(call_id) + b"\n" + result(call_id, "Again."), READ, WORDS),
    "fine": (lambda call_id: result(call_id, structuredContent={"note": "fine"}), READ, WORDS),
}


def grouped(prefix: str, tools: dict[str, str], calm: set[str], alone: set[str], groups: int) -> dict[str, list[str]]:
    """Servers by name with their tools: one for the calm kinds, one for each that is alone, some for the rest."""
    servers: dict[str, list[str]] = {}
    for number, (tool, kind) in enumerate(tools.items()):
        group = f"{number}" if kind in alone else "calm" if kind in calm else f"rest{number % groups}"
        servers.setdefault(f"{prefix}_{group}", []).append(tool)
    return servers


def greet(request: dict[str, Any], tools: list[str]) -> bytes | None:
    """The answer to any message that is not a tool call; None where it needs no answer."""
    if "id" not in request:
        return None
    match request.get("method"):
        case "initialize":
            version = request["params"]["protocolVersion"]
            info = {"protocolVersion": version, "capabilities": {"tools": {}}}
            return message(request["id"], result={**info, "serverInfo": {"name": "hostile", "version": "1"}})
        case "tools/list":
            return message(request["id"], result={"tools": [{**TOOL, "name": tool} for tool in tools]})
        case "ping":
            return message(request["id"], result={})
        case _:
            return message(request["id"], error={"code": -32601, "message": "no such method"})
