"""The sweep's cases of MCP servers, over stdio and streamable HTTP, and the fake for HTTP."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Awaitable, Callable
from typing import Any

from peers import hostile_stdio
from peers.hostile_answers import ANSWERS, EITHER, READ, UNREAD, WORDS, greet, grouped, result
from peers.hostile_calls import talk
from peers.hostile_table import Case, Says
from peers.hostile_wire import LATE_S, Request, Wire, Writer, bomb, drip, events, opened, pour, whole

PART = "MCP over HTTP"
DEADLINE_S = 2.0
SSE = "text/event-stream"
FORGOTTEN = b'{"jsonrpc":"2.0","id":"server-error","error":{"code":-32600,"message":"Session not found"}}'

Manner = Callable[[Writer, Any], Awaitable[None]]


def _status(status: str, body: bytes = b"no", kind: str = "text/plain", *heads: str) -> Manner:
    async def answer(writer: Writer, call_id: Any) -> None:
        writer.write(whole(body, kind, status, *heads))

    return answer


def _bytes(make: Callable[[Any], bytes]) -> Manner:
    async def answer(writer: Writer, call_id: Any) -> None:
        writer.write(make(call_id))

    return answer


async def _drip(writer: Writer, call_id: Any) -> None:
    await drip(writer, whole(result(call_id)), 0.05)


async def _drip_events(writer: Writer, call_id: Any) -> None:
    writer.write(opened(SSE))
    await drip(writer, events(result(call_id)), 0.05)


async def _endless_body(writer: Writer, call_id: Any) -> None:
    writer.write(opened("application/json"))
    await pour(writer, b" " * 65536)


async def _endless_event(writer: Writer, call_id: Any) -> None:
    writer.write(opened(SSE) + b"data: ")
    await pour(writer, b"x" * 65536)


async def _endless_comments(writer: Writer, call_id: Any) -> None:
    writer.write(opened(SSE))
    await pour(writer, b": still here\n\n" * 1000)


async def _endless_head(writer: Writer, call_id: Any) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    await pour(writer, b"X-More: " + b"x" * 1000 + b"\r\n")


async def _silent(writer: Writer, call_id: Any) -> None:
    await asyncio.sleep(LATE_S)


async def _silent_events(writer: Writer, call_id: Any) -> None:
    writer.write(opened(SSE))
    await asyncio.sleep(LATE_S)


MANNERS: dict[str, tuple[Manner, tuple[str | None, ...], str | None]] = {
    "400": (_status("400 Bad Request"), UNREAD, None),
    "401": (_status("401 Unauthorized", b"no", "text/plain", "WWW-Authenticate: Bearer"), UNREAD, None),
    "403": (_status("403 Forbidden"), UNREAD, None),
    "404": (_status("404 Not Found"), UNREAD, None),
    "404 for its session": (_status("404 Not Found", FORGOTTEN, "application/json"), UNREAD, None),
    "405": (_status("405 Method Not Allowed"), UNREAD, None),
    "410": (_status("410 Gone"), UNREAD, None),
    "429": (_status("429 Too Many Requests", b"", "", "Retry-After: 100000000000000000000"), UNREAD, None),
    "500": (_status("500 Oops", b"<html>"), UNREAD, None),
    "502 with JSON null": (_status("502 Bad Gateway", b"null", "application/json"), UNREAD, None),
    "503": (_status("503 Busy", b""), UNREAD, None),
    "500 with 12 MB": (_status("500 Oops", b"x" * 12_000_000), UNREAD, None),
    "status 999": (_status("999 What"), UNREAD, None),
    "status 200 without a body": (_status("200 OK", b"", "application/json"), UNREAD, None),
    "202": (_status("202 Accepted", b"", ""), UNREAD, None),
    "204": (_bytes(lambda call_id: b"HTTP/1.1 204 No Content\r\n\r\n"), UNREAD, None),
    "a redirect to itself": (_status("307 There", b"", "", "Location: /mcp/again"), UNREAD, None),
    "a redirect to a file": (_status("302 There", b"", "", "Location: file:///etc/hostname"), UNREAD, None),
    "HTML": (_bytes(lambda call_id: whole(b"<html>", "text/html")), UNREAD, None),
    "JSON that is called HTML": (_bytes(lambda call_id: whole(result(call_id), "text/html")), EITHER, None),
    "JSON without a type": (_bytes(lambda call_id: whole(result(call_id), "")), EITHER, None),
    "no HTTP": (_bytes(lambda call_id: b"SSH-2.0-OpenSSH\r\n"), UNREAD, None),
    "a cut before the head": (_bytes(lambda call_id: b""), UNREAD, None),
    "a cut in the head": (_bytes(lambda call_id: b"HTTP/1.1 200"), UNREAD, None),
    "a cut in the body": (_bytes(lambda call_id: whole(result(call_id))[:-5]), UNREAD, None),
    "a length past any number": (
        _bytes(lambda call_id: b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9" + b"9" * 400),
        UNREAD,
        None,
    ),
    "chunks of nonsense": (
        _bytes(lambda call_id: opened("application/json", "Transfer-Encoding: chunked") + b"zz\r\n{}\r\n"),
        UNREAD,
        None,
    ),
    "no gzip": (
        _bytes(lambda call_id: whole(result(call_id), "application/json", "200 OK", "Content-Encoding: gzip")),
        UNREAD,
        None,
    ),
    "a gzip bomb": (
        _bytes(lambda call_id: whole(bomb(), "application/json", "200 OK", "Content-Encoding: gzip")),
        UNREAD,
        None,
    ),
    "gzip": (
        _bytes(
            lambda call_id: whole(
                gzip.compress(result(call_id)), "application/json", "200 OK", "Content-Encoding: gzip"
            )
        ),
        READ,
        WORDS,
    ),
    "a slow body": (_drip, UNREAD, None),
    "slow events": (_drip_events, UNREAD, None),
    "an endless body": (_endless_body, UNREAD, None),
    "an endless event": (_endless_event, UNREAD, None),
    "endless comments": (_endless_comments, UNREAD, None),
    "an endless head": (_endless_head, UNREAD, None),
    "silence": (_silent, UNREAD, None),
    "silence after the head": (_silent_events, UNREAD, None),
    "events that end without an answer": (_bytes(lambda call_id: opened(SSE) + b": bye\n\n"), UNREAD, None),
    "events that end in mid event": (
        _bytes(lambda call_id: opened(SSE) + events(result(call_id))[:-20]),
        UNREAD,
        None,
    ),
    "events that ask for an odd pause": (
        _bytes(lambda call_id: opened(SSE) + b"id: 1\nretry: 99999999999999999999999\ndata:\n\n"),
        UNREAD,
        None,
    ),
    "events that are no UTF-8": (_bytes(lambda call_id: opened(SSE) + b"data: \xff\xfe\n\n"), UNREAD, None),
    "an event with a NUL in its id": (
        _bytes(lambda call_id: opened(SSE) + b"id: \x00\n" + events(result(call_id))),
        EITHER,
        None,
    ),
}

SEVERAL = {kind for kind, entry in ANSWERS.items() if b"\n" in entry[0](1)}  # not one JSON body
KINDS: dict[str, tuple[tuple[str | None, ...], str | None]] = {
    **{f"{kind}, JSON": entry[1:] for kind, entry in ANSWERS.items() if kind not in SEVERAL},
    **{f"{kind}, events": entry[1:] for kind, entry in ANSWERS.items()},
    **{kind: entry[1:] for kind, entry in MANNERS.items()},
}
TOOLS = {f"http_{number}": kind for number, kind in enumerate(KINDS)}
SERVERS = grouped("h", TOOLS, {kind for kind in KINDS if KINDS[kind][0] == READ}, set(), 10)


class HttpFake:
    """All hostile servers over HTTP, each under its own path: /mcp/NAME."""

    def __init__(self) -> None:
        self.wire = Wire(self._answer)

    async def _answer(self, request: Request, writer: Writer) -> None:
        name = request.path.rpartition("/")[2]
        if request.method != "POST" or name not in SERVERS:
            writer.write(whole(b"no", "text/plain", "405 Method Not Allowed"))
            return
        message = json.loads(request.body)
        if message.get("method") != "tools/call":
            answer = greet(message, SERVERS[name])
            heads = ("Mcp-Session-Id: a-session",) if message.get("method") == "initialize" else ()
            writer.write(
                whole(b"", "", "202 Accepted")
                if answer is None
                else whole(answer, "application/json", "200 OK", *heads)
            )
        elif (kind := TOOLS[message["params"]["name"]]) in MANNERS:
            await MANNERS[kind][0](writer, message["id"])
        else:
            kind, _, how = kind.rpartition(", ")
            body = ANSWERS[kind][0](message["id"])
            writer.write(whole(body) if how == "JSON" else opened(SSE) + events(body))


def _cases(part: str, agent: str, tools: dict[str, str], kinds: dict[str, Any]) -> list[Case]:
    return [
        Case(
            part,
            kind,
            talk(agent, f"do {tool};"),
            Says(tool=kinds[kind][0], output=kinds[kind][1], output_not="validation error", said="Told."),
        )
        for tool, kind in tools.items()
    ]


CASES = [
    *_cases(hostile_stdio.PART, "stdio", hostile_stdio.TOOLS, hostile_stdio.KINDS),
    *_cases(PART, "http", TOOLS, KINDS),
]
