"""What a hostile MCP server answers to a tool call: whole messages, for both transports. Needs no package."""

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

# How a tool call may end where its answer cannot be read. Without its id an answer is nobody's: the deadline ends it.
UNREAD = ("protocol_error", "timeout", "tool_execution_error", "http_error")
READ = (None,)
EITHER = (None, *UNREAD)


def message(asked: Any, **fields: Any) -> bytes:
    """A JSON-RPC message to this request."""
    return json.dumps({"jsonrpc": "2.0", "id": asked, **fields}).encode()


def result(asked: Any, text: Any = WORDS, **fields: Any) -> bytes:
    """A result with this text."""
    return message(asked, result={"content": [{"type": "text", "text": text}], **fields})


def raw_result(asked: Any, facts: bytes) -> bytes:
    """A result whose structured content is written as it stands."""
    return result(asked, structuredContent={"note": "FACTS"}).replace(b'"FACTS"', facts)


def nested(depth: int) -> bytes:
    """Lists in one another."""
    return b"[" * depth + b"]" * depth


def many_parts() -> bytes:
    """12 MB of JSON in 400,000 parts."""
    return b"[" + b",".join([b'{"a":1,"b":"aaaaaaaaaaaaa"}'] * 400_000) + b"]"


def progress(count: int) -> bytes:
    """So many notifications that nobody asked for."""
    note = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": 1, "progress": 1}}
    return b"\n".join([json.dumps(note).encode()] * count)


def ask_back(method: str, **params: Any) -> Callable[[Any], bytes]:
    """A request of the server's own, then the result."""

    def answer(asked: Any) -> bytes:
        request = {"jsonrpc": "2.0", "id": "mine", "method": method, "params": params}
        return json.dumps(request).encode() + b"\n" + result(asked)

    return answer


Entry = tuple[Callable[[Any], bytes], tuple["str | None", ...], "str | None"]

# Kind: the answer (lines are messages of their own), how the call may end, and a part of what the model reads.
# What arrives as the answer is told, whatever its form; so is the one body of an HTTP answer, whatever id it bears.
ANSWERS: dict[str, Entry] = {
    "null": (lambda asked: b"null", UNREAD, None),
    "a list": (lambda asked: b"[]", UNREAD, None),
    "a list with the answer": (lambda asked: b"[" + result(asked) + b"]", EITHER, None),
    "a number": (lambda asked: b"7", UNREAD, None),
    "a text": (lambda asked: b'"fine"', UNREAD, None),
    "an empty object": (lambda asked: b"{}", EITHER, None),
    "no JSON": (lambda asked: b"\x00\xff\xfe{{{", UNREAD, None),
    "no UTF-8": (lambda asked: result(asked).replace(b"Booked", b"Boo\xffked"), EITHER, None),
    "half an emoji": (lambda asked: result(asked, "\ud83d " + WORDS), READ, "Booked"),
    "half an emoji in facts": (lambda asked: result(asked, structuredContent={"note": "\ud83d"}), READ, "Booked"),
    "half an emoji as a key": (lambda asked: result(asked, structuredContent={"\ud83d": "x"}), READ, "Booked"),
    "no result": (lambda asked: message(asked), READ, None),
    "result null": (lambda asked: message(asked, result=None), READ, None),
    "result a list": (lambda asked: message(asked, result=[1]), READ, None),
    "result a number": (lambda asked: message(asked, result=7), READ, None),
    "result a text": (lambda asked: message(asked, result=WORDS), READ, None),
    "result empty": (lambda asked: message(asked, result={}), EITHER, None),
    "content null": (lambda asked: message(asked, result={"content": None}), EITHER, None),
    "content a number": (lambda asked: message(asked, result={"content": 7}), READ, None),
    "content of null": (lambda asked: message(asked, result={"content": [None]}), EITHER, None),
    "content of an unknown kind": (lambda asked: message(asked, result={"content": [{"type": "smell"}]}), EITHER, None),
    "text null": (lambda asked: result(asked, None), EITHER, None),
    "text a number": (lambda asked: result(asked, 7), EITHER, None),
    "text an object": (lambda asked: result(asked, {"a": 1}), EITHER, None),
    "facts against their schema": (lambda asked: result(asked, structuredContent={"note": None}), READ, WORDS),
    "facts missing": (lambda asked: result(asked), READ, WORDS),
    "facts a list": (lambda asked: result(asked, structuredContent=[1]), EITHER, None),
    "facts a number": (lambda asked: result(asked, structuredContent=7), EITHER, None),
    "facts NaN": (lambda asked: raw_result(asked, b"NaN"), EITHER, None),
    "facts past any number": (lambda asked: raw_result(asked, b"1e999"), EITHER, None),
    "facts of 5000 digits": (lambda asked: raw_result(asked, b"9" * 5000), EITHER, None),
    "facts 200 lists deep": (lambda asked: raw_result(asked, nested(200)), EITHER, None),
    "facts 100000 lists deep": (lambda asked: raw_result(asked, nested(100_000)), EITHER, None),
    "facts in 400000 parts": (lambda asked: raw_result(asked, many_parts()), EITHER, None),
    "12 MB of words": (lambda asked: result(asked, "word " * 2_400_000), EITHER, None),
    "isError a text": (lambda asked: result(asked, isError="yes"), EITHER, None),
    "isError null": (lambda asked: result(asked, isError=None), EITHER, None),
    "error null": (lambda asked: message(asked, error=None), READ, None),
    "error a list": (lambda asked: message(asked, error=[]), UNREAD, None),
    "error a text": (lambda asked: message(asked, error="no"), UNREAD, None),
    "error without code": (lambda asked: message(asked, error={"message": "no"}), UNREAD, None),
    "error with a code past any number": (
        lambda asked: message(asked, error={"code": 10**400, "message": "no"}),
        UNREAD,
        None,
    ),
    "error with half an emoji": (lambda asked: message(asked, error={"code": 1, "message": "\ud83d"}), UNREAD, None),
    "error with 4 MB": (lambda asked: message(asked, error={"code": 1, "message": "no " * 1_300_000}), UNREAD, None),
    "result and error": (lambda asked: result(asked)[:-1] + b', "error": {"code": 1, "message": "no"}}', EITHER, None),
    "another's id": (lambda asked: result(999_999), EITHER, None),
    "id null": (lambda asked: result(None), EITHER, None),
    "id a list": (lambda asked: result([asked]), EITHER, None),
    "id an object": (lambda asked: result({"id": asked}), EITHER, None),
    "id as a text": (lambda asked: result(str(asked)), EITHER, None),
    "id as a fraction": (lambda asked: result(float(asked)), EITHER, None),
    "another version": (lambda asked: result(asked).replace(b'"2.0"', b'"1.0"'), EITHER, None),
    "asks for words": (ask_back("sampling/createMessage", messages=None, maxTokens="many"), EITHER, None),
    "asks the caller": (ask_back("elicitation/create", message=None), EITHER, None),
    "asks for nothing known": (ask_back("do/it", much=[None]), EITHER, None),
    "a flood of progress": (lambda asked: progress(20_000) + b"\n" + result(asked), EITHER, None),
    "cancels the call": (
        lambda asked: (
            json.dumps({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": asked}}).encode()
            + b"\n"
            + result(asked)
        ),
        EITHER,
        None,
    ),
    "twice": (lambda asked: result(asked) + b"\n" + result(asked, "Again."), READ, WORDS),
    "fine": (lambda asked: result(asked, structuredContent={"note": "fine"}), READ, WORDS),
}


def grouped(prefix: str, tools: dict[str, str], calm: set[str], alone: set[str], groups: int) -> dict[str, list[str]]:
    """Servers by name, each with its tools: one for the calm kinds, one for each that is alone, some for the rest."""
    servers: dict[str, list[str]] = {}
    for number, (tool, kind) in enumerate(tools.items()):
        group = f"{number}" if kind in alone else "calm" if kind in calm else f"rest{number % groups}"
        servers.setdefault(f"{prefix}_{group}", []).append(tool)
    return servers


def greet(asked: dict[str, Any], tools: list[str]) -> bytes | None:
    """The answer to whatever is no tool call; None: it needs none."""
    if "id" not in asked:
        return None
    match asked.get("method"):
        case "initialize":
            version = asked["params"]["protocolVersion"]
            info = {"protocolVersion": version, "capabilities": {"tools": {}}}
            return message(asked["id"], result={**info, "serverInfo": {"name": "hostile", "version": "1"}})
        case "tools/list":
            return message(asked["id"], result={"tools": [{**TOOL, "name": tool} for tool in tools]})
        case "ping":
            return message(asked["id"], result={})
        case _:
            return message(asked["id"], error={"code": -32601, "message": "no such method"})
