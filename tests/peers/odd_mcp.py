"""An MCP server that violates its protocol as its script says, over standard streams or HTTP, without the SDK.

    python odd_mcp.py stdio SCRIPT          a JSON file: what to answer, by the name of the tool
    python odd_mcp.py http SCRIPT           the same, at a free port of 127.0.0.1, which is printed first

A tool's entry is the raw text of its answer, in which ID stands for the call's id. For HTTP it may be an object:
`status`, `headers`, `body`, and `sse` for a body that is sent as an event. `times` says how often such an object is
used before `then` is. Every POST of a method is counted; the tool `counts` returns the counts.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

COUNTS: Counter[str] = Counter()
SCRIPT: dict[str, Any] = {}


def first_answer(request: dict[str, Any], name: str | None) -> Any:
    """The scripted answer of a tool, or of a method."""
    entry = SCRIPT.get(name or request["method"])
    while isinstance(entry, dict) and "times" in entry:
        if entry["times"] > 0:
            entry["times"] -= 1
            return {key: value for key, value in entry.items() if key not in ("times", "then")}
        entry = entry["then"]
    return entry


def plain(request: dict[str, Any], result: Any) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result})


def answer(request: dict[str, Any]) -> Any:
    """What to send: a text, or an object for HTTP."""
    method = request["method"]
    name = request["params"]["name"] if method == "tools/call" else None
    COUNTS[name or method] += 1
    scripted = first_answer(request, name)
    if scripted is not None:
        return scripted
    match method, name:
        case "initialize", _:
            about = {"name": "odd", "version": "1"}
            greeting = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": about}
            return plain(request, greeting)
        case "tools/list", _:
            names = [name for name in SCRIPT if "/" not in name] + ["counts"]
            tools = [{"name": name, "inputSchema": {"type": "object"}, **SCRIPT.get("/tool", {})} for name in names]
            return plain(request, {"tools": tools})
        case _, "counts":
            return plain(request, {"content": [{"type": "text", "text": json.dumps(COUNTS)}]})
    error = {"code": -32601, "message": "no such method"}
    return json.dumps({"jsonrpc": "2.0", "id": request["id"], "error": error})


def grown(text: str, request: dict[str, Any]) -> str:
    """Expand MANY(x,n) in a script into n times x, which keeps scripts short."""
    text = text.replace('"ID"', json.dumps(request.get("id")))
    while "MANY(" in text:
        before, _, rest = text.partition("MANY(")
        unit, _, rest = rest.partition(";")
        count, _, rest = rest.partition(")")
        text = before + unit * int(count) + rest
    return text


def over_stdio() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        if "id" in request and "method" in request:
            given = answer(request)
            if given == "ENDLESS":
                while True:
                    sys.stdout.write("x" * 65536)
            sys.stdout.write(grown(given, request).replace("NEWLINE", "\n") + "\n")
            sys.stdout.flush()


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            names = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in head.split("\r\n")[1:]}
            body = await reader.readexactly(int(names.get("content-length", 0)))
            if not head.startswith("POST"):
                writer.write(b"HTTP/1.1 405 No\r\nContent-Length: 0\r\n\r\n")
                continue
            request = json.loads(body)
            if "id" not in request:
                writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
                continue
            given = answer(request)
            given = given if isinstance(given, dict) else {"body": given}
            if given.get("close"):
                return
            text = grown(given.get("body", ""), request)
            kind = "text/event-stream" if given.get("sse") else "application/json"
            text = f"event: message\r\ndata: {text}\r\n\r\n" if given.get("sse") else text
            text = text.replace("NEWLINE", "\ndata: \n\ndata: ")
            headers = {"Content-Type": kind, **given.get("headers", {})}
            if request["method"] == "initialize":
                headers["Mcp-Session-Id"] = "s3cr3t-session"
            payload = text.encode("utf-8", "surrogatepass")
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            status = given.get("status", 200)
            writer.write(f"HTTP/1.1 {status} X\r\n{lines}Content-Length: {len(payload)}\r\n\r\n".encode() + payload)
            await writer.drain()
            if given.get("delay_s"):
                await asyncio.sleep(given["delay_s"])
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def over_http() -> None:
    server = await asyncio.start_server(_serve, "127.0.0.1", 0, limit=1 << 20)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    SCRIPT.update(json.loads(Path(sys.argv[2]).read_text()))
    if sys.argv[1] == "stdio":
        over_stdio()
    else:
        asyncio.run(over_http())
