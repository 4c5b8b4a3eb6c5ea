"""A hostile MCP server over stdio, and its part of the sweep's table.

    python hostile_stdio.py NAME

is the server of that name: it greets as it should (or not), has a tool for each of its kinds, and misbehaves in the
kind's way when that is called.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # as a program

from peers.hostile_answers import ANSWERS, READ, UNREAD, WORDS, greet, grouped, message, result

PART = "MCP over stdio"


def write(payload: bytes) -> None:
    """To the gateway, all of it."""
    while payload:
        payload = payload[os.write(1, payload) :]


def _endless_line(asked: Any) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        write(b"x" * 65536)


def _endless_lines(asked: Any) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        write(b'{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}}\n' * 100)


def _noise(asked: Any) -> None:
    write(b"Warning: {not JSON}\n\n\r\n\x00\n" + result(asked) + b"\n")


def _in_two(asked: Any) -> None:
    whole = result(asked, "Bäcker 🥐 " + WORDS)
    for at in range(0, len(whole), 7):
        write(whole[at : at + 7])
    write(b"\n")


def _half_a_line(asked: Any) -> None:
    write(result(asked)[:20])
    os._exit(0)


def _close_stdin(asked: Any) -> None:
    os.close(0)
    time.sleep(30)


def _close_stdout(asked: Any) -> None:
    os.close(1)
    time.sleep(30)


def _flood_stderr(asked: Any) -> None:
    for _ in range(200):
        os.write(2, b"words " * 10_000)
    os.write(2, b"\xff\n\x00")
    write(result(asked) + b"\n")


def _kill_itself(asked: Any) -> None:
    os.kill(os.getpid(), 9)


def _leave_a_child(asked: Any) -> None:
    """The server ends, and a child of its own keeps the streams open."""
    if os.fork():
        os._exit(0)
    time.sleep(15)
    os._exit(0)


# Kind: what it does, how the call may end, a part of what the model reads.
MANNERS: dict[str, tuple[Callable[[Any], None], tuple[str | None, ...], str | None]] = {
    "dies": (lambda asked: os._exit(1), UNREAD, None),
    "is killed": (_kill_itself, UNREAD, None),
    "dies in mid line": (_half_a_line, UNREAD, None),
    "dies and leaves a child": (_leave_a_child, UNREAD, None),
    "hangs": (lambda asked: time.sleep(60), UNREAD, None),
    "closes stdin": (_close_stdin, UNREAD, None),
    "closes stdout": (_close_stdout, UNREAD, None),
    "writes an endless line": (_endless_line, UNREAD, None),
    "writes lines without end": (_endless_lines, UNREAD, None),
    "writes garbage first": (_noise, READ, WORDS),
    "writes in small pieces": (_in_two, READ, WORDS),
    "floods stderr": (_flood_stderr, READ, WORDS),
}
# Kind: what it answers to a request before any tool call. The agent does without its tool.
GREETINGS: dict[str, Callable[[dict[str, Any]], bytes | None]] = {
    "greets with null": lambda asked: b"null",
    "greets with a list": lambda asked: message(asked.get("id"), result=[]),
    "greets with an odd version": lambda asked: message(asked.get("id"), result={"protocolVersion": 7}),
    "greets with nothing": lambda asked: None,
    "lists null": lambda asked: _only_list(asked, None),
    "lists a number": lambda asked: _only_list(asked, {"tools": 7}),
    "lists null tools": lambda asked: _only_list(asked, {"tools": [None]}),
    "lists a tool without schema": lambda asked: _only_list(asked, {"tools": [{"name": "x"}]}),
    "lists a tool of an odd name": lambda asked: _only_list(
        asked, {"tools": [{"name": "\ud83d" * 200, "inputSchema": {"type": "object"}}]}
    ),
    "lists a tool without properties": lambda asked: _only_list(
        asked, {"tools": [{"name": "bare", "inputSchema": {"type": "object"}}]}
    ),
    "lists without end": lambda asked: _only_list(asked, {"tools": [], "nextCursor": "more"}),
}


def _only_list(asked: dict[str, Any], listed: Any) -> bytes | None:
    if asked.get("method") != "tools/list":
        return greet(asked, [])
    return message(asked["id"], result=listed)


KINDS: dict[str, tuple[tuple[str | None, ...], str | None]] = {
    **{kind: entry[1:] for kind, entry in ANSWERS.items()},
    **{kind: entry[1:] for kind, entry in MANNERS.items()},
    **dict.fromkeys(GREETINGS, ((*UNREAD, "unknown_tool"), None)),
}
TOOLS = {f"stdio_{number}": kind for number, kind in enumerate(KINDS)}
# What must be read stands together, what breaks its server alone.
SERVERS = grouped("s", TOOLS, {kind for kind in KINDS if KINDS[kind][0] == READ}, {*MANNERS, *GREETINGS}, 8)


def main(name: str) -> None:
    """Serve until stdin ends."""
    tools = SERVERS[name]
    greeting = GREETINGS.get(TOOLS[tools[0]])
    for line in sys.stdin.buffer:
        asked = json.loads(line)
        if greeting is not None:
            answer = greeting(asked) if "id" in asked else None
        elif asked.get("method") != "tools/call":
            answer = greet(asked, tools)
        elif (kind := TOOLS[asked["params"]["name"]]) in MANNERS:
            MANNERS[kind][0](asked["id"])
            continue
        else:
            answer = ANSWERS[kind][0](asked["id"])
        if answer is not None:
            write(answer + b"\n")


if __name__ == "__main__":
    main(sys.argv[1])
