"""A hostile MCP server over stdio, and its part of the sweep's table.

    python hostile_stdio.py NAME

runs the server of that name: it completes the handshake (or not), has a tool for each of its kinds, and misbehaves in
the kind's way when that tool is called.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for when this file runs as a program

from peers.hostile_answers import ANSWERS, READ, UNREAD, WORDS, greet, grouped, message, result

PART = "MCP over stdio"


def write(payload: bytes) -> None:
    """Write all of it to the gateway."""
    while payload:
        payload = payload[os.write(1, payload) :]


def _endless_line(call_id: Any) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        write(b"x" * 65536)


def _endless_lines(call_id: Any) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        write(b'{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}}\n' * 100)


def _noise(call_id: Any) -> None:
    write(b"Warning: {not JSON}\n\n\r\n\x00\n" + result(call_id) + b"\n")


def _in_two(call_id: Any) -> None:
    whole = result(call_id, "Bäcker 🥐 " + WORDS)
    for at in range(0, len(whole), 7):
        write(whole[at : at + 7])
    write(b"\n")


def _half_a_line(call_id: Any) -> None:
    write(result(call_id)[:20])
    os._exit(0)


def _close_stdin(call_id: Any) -> None:
    os.close(0)
    time.sleep(30)


def _close_stdout(call_id: Any) -> None:
    os.close(1)
    time.sleep(30)


def _flood_stderr(call_id: Any) -> None:
    for _ in range(200):
        os.write(2, b"words " * 10_000)
    os.write(2, b"\xff\n\x00")
    write(result(call_id) + b"\n")


def _kill_itself(call_id: Any) -> None:
    os.kill(os.getpid(), 9)


def _leave_a_child(call_id: Any) -> None:
    """The server ends, but a child process of it keeps the streams open."""
    if os.fork():
        os._exit(0)
    time.sleep(15)
    os._exit(0)


# Kind: what it does, how the call may end, a part of what the model reads.
MANNERS: dict[str, tuple[Callable[[Any], None], tuple[str | None, ...], str | None]] = {
    "dies": (lambda call_id: os._exit(1), UNREAD, None),
    "is killed": (_kill_itself, UNREAD, None),
    "dies in mid line": (_half_a_line, UNREAD, None),
    "dies and leaves a child": (_leave_a_child, UNREAD, None),
    "hangs": (lambda call_id: time.sleep(60), UNREAD, None),
    "closes stdin": (_close_stdin, UNREAD, None),
    "closes stdout": (_close_stdout, UNREAD, None),
    "writes an endless line": (_endless_line, UNREAD, None),
    "writes lines without end": (_endless_lines, UNREAD, None),
    "writes garbage first": (_noise, READ, WORDS),
    "writes in small pieces": (_in_two, READ, WORDS),
    "floods stderr": (_flood_stderr, READ, WORDS),
}
# Kind: what it answers to a request before any tool call. The agent then has no tool.
GREETINGS: dict[str, Callable[[dict[str, Any]], bytes | None]] = {
    "greets with null": lambda request: b"null",
    "greets with a list": lambda request: message(request.get("id"), result=[]),
    "greets with an odd version": lambda request: message(request.get("id"), result={"protocolVersion": 7}),
    "greets with nothing": lambda request: None,
    "lists null": lambda request: _only_list(request, None),
    "lists a number": lambda request: _only_list(request, {"tools": 7}),
    "lists null tools": lambda request: _only_list(request, {"tools": [None]}),
    "lists a tool without schema": lambda request: _only_list(request, {"tools": [{"name": "x"}]}),
    "lists a tool of an odd name": lambda request: _only_list(
        request, {"tools": [{"name": "\ud83d" * 200, "inputSchema": {"type": "object"}}]}
    ),
    "lists a tool without properties": lambda request: _only_list(
        request, {"tools": [{"name": "bare", "inputSchema": {"type": "object"}}]}
    ),
    "lists without end": lambda request: _only_list(request, {"tools": [], "nextCursor": "more"}),
}


def _only_list(request: dict[str, Any], listed: Any) -> bytes | None:
    if request.get("method") != "tools/list":
        return greet(request, [])
    return message(request["id"], result=listed)


KINDS: dict[str, tuple[tuple[str | None, ...], str | None]] = {
    **{kind: entry[1:] for kind, entry in ANSWERS.items()},
    **{kind: entry[1:] for kind, entry in MANNERS.items()},
    **dict.fromkeys(GREETINGS, ((*UNREAD, "unknown_tool"), None)),
}
TOOLS = {f"stdio_{number}": kind for number, kind in enumerate(KINDS)}
# Kinds that can be read share a server; kinds that break their server have one each.
SERVERS = grouped("s", TOOLS, {kind for kind in KINDS if KINDS[kind][0] == READ}, {*MANNERS, *GREETINGS}, 8)


def main(name: str) -> None:
    """Serve until stdin ends."""
    tools = SERVERS[name]
    greeting = GREETINGS.get(TOOLS[tools[0]])
    for line in sys.stdin.buffer:
        request = json.loads(line)
        if greeting is not None:
            answer = greeting(request) if "id" in request else None
        elif request.get("method") != "tools/call":
            answer = greet(request, tools)
        elif (kind := TOOLS[request["params"]["name"]]) in MANNERS:
            MANNERS[kind][0](request["id"])
            continue
        else:
            answer = ANSWERS[kind][0](request["id"])
        if answer is not None:
            write(answer + b"\n")


if __name__ == "__main__":
    main(sys.argv[1])
