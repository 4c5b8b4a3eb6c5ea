"""The pool with servers that violate their protocol: what is known goes to the model, and nothing else is affected."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.logs import set_up_logging
from gateway.tools.config import HttpServer, McpServer, StdioServer
from gateway.tools.link import LinkTimes
from gateway.tools.mcp_sdk import quiet
from gateway.tools.pool import McpPool
from sessions.errors import ToolFailed

pytestmark = [pytest.mark.sockets, pytest.mark.timed]
ODD = Path(__file__).parent / "odd_mcp.py"
TIMES = LinkTimes(connect_ms=8000, wait_ms=5000, first_retry_ms=50, settle_ms=20)
TRANSPORTS = ("stdio", "json", "sse")

Body = Callable[[McpPool], Coroutine[Any, Any, Any]]


def result(text: str) -> str:
    """The raw answer to a call with this text as its result."""
    return '{"jsonrpc":"2.0","id":"ID","result":' + text + "}"


@asynccontextmanager
async def odd_server(folder: Path, script: dict[str, Any], transport: str) -> AsyncIterator[McpServer]:
    if transport == "sse":
        sent = {name: {"body": one, "sse": True} if isinstance(one, str) else one for name, one in script.items()}
        script = sent
    path = folder / "script.json"
    path.write_text(json.dumps(script))
    if transport == "stdio":
        yield StdioServer("odd", sys.executable, (str(ODD), "stdio", str(path)), {}, folder)
        return
    process = subprocess.Popen([sys.executable, str(ODD), "http", str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        port = int(await asyncio.to_thread(process.stdout.readline))
        yield HttpServer("odd", f"http://127.0.0.1:{port}/mcp", {"Authorization": "Bearer s3cr3t-token"})
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def beside(folder: Path, script: dict[str, Any], transport: str, body: Body, max_answer_bytes: int = 1 << 20) -> Any:
    """What `body` returns, run beside a running pool of the odd server."""

    async def main() -> Any:
        async with asyncio.timeout(60), odd_server(folder, script, transport) as server:
            pool = McpPool({"odd": server}, times=TIMES, max_answer_bytes=max_answer_bytes)
            async with asyncio.TaskGroup() as tasks:
                await pool.start()
                tasks.create_task(pool.run())
                try:
                    assert await pool.settled(10_000) == {}
                    return await body(pool)
                finally:
                    pool.close()

    return asyncio.run(main())


async def read_by_model(pool: McpPool, tool: str, deadline_ms: int = 10_000) -> str:
    """What the model reads, or how the call failed."""
    try:
        return (await pool.call("odd", tool, {}, deadline_ms)).text
    except ToolFailed as failed:
        return f"{failed.kind}: {failed.message}"


YES = result('{"content":[{"type":"text","text":"Yes"}]}')
NOT_DONE = "It was not done."
UNKNOWN = "It may or may not have been done."
UNREADABLE = f"protocol_error: The service gave an answer that cannot be read. {UNKNOWN}"
LOST = f"protocol_error: The connection was lost before there was an answer. {UNKNOWN}"


def text(words: str, more: str = "") -> str:
    """The raw answer to a call: its text, and more fields of its result."""
    return result('{"content":[{"type":"text","text":"' + words + '"}]' + more + "}")


def error(code: int, words: str) -> str:
    """The raw answer to a call: an error."""
    return f'{{"jsonrpc":"2.0","id":"ID","error":{{"code":{code},"message":"{words}"}}}}'


ODD_ANSWERS = {
    "emoji": (text("Hi \\ud83d"), "Hi \ufffd"),
    "null_result": (result("null"), "The service has answered, without any words."),
    "list_result": (result("[1]"), '{"result": [1]}'),
    "no_content": (result('{"structuredContent":{"a":1}}'), '{"a": 1}'),
    "poem": (result('{"content":[{"type":"poem","text":"Roses"}]}'), "Roses"),
    "facts": (text("Yes", ',"structuredContent":[1]'), '{"sentence": "Yes", "result": [1]}'),
    "refused": (text("No", ',"structuredContent":{"free":1},"isError":true'), '{"error": "No", "free": 1}'),
    "cut_short": ('{"jsonrpc":"2.0","id":"ID","result":{"content":', UNREADABLE),
    "other_version": ('{"id":"ID","result":{"content":[{"type":"text","text":"Yes"}]}}', "Yes"),
    "wrong_params": (error(-32602, "no day"), f"protocol_error: The service refused: no day. {NOT_DONE}"),
    "broken": (error(-32603, "boom"), f"protocol_error: The service refused: boom. {UNKNOWN}"),
    "error_text": (
        '{"jsonrpc":"2.0","id":"ID","error":"boom"}',
        f"protocol_error: The service refused: boom. {UNKNOWN}",
    ),
    "too_large": (text("MANY(x;1100000)"), UNREADABLE),
    "many_parts": (text("Done.", ',"structuredContent":{"a":[MANY([],;300000)0]}'), "Done."),
    "long": (text("MANY(x;30000)"), "x" * 16384 + "\n[Cut: the result has 30000 bytes, 16384 are shown.]"),
    "nested": (text("Done.", ',"a":MANY([;20000)'), UNREADABLE),
}


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_an_odd_answer_is_read_as_far_as_possible_and_at_once(tmp_path: Path, transport: str) -> None:
    async def body(pool: McpPool) -> dict[str, str]:
        begin = time.monotonic()
        found = {name: await read_by_model(pool, name) for name in ODD_ANSWERS}
        assert time.monotonic() - begin < 10  # no call waited for its deadline
        assert json.loads(await read_by_model(pool, "counts"))["initialize"] == 1
        return found

    script = {name: raw for name, (raw, _) in ODD_ANSWERS.items()}
    assert beside(tmp_path, script, transport, body) == {name: text for name, (_, text) in ODD_ANSWERS.items()}


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_content_against_the_servers_own_schema_is_passed_on_and_logged(
    tmp_path: Path, transport: str, caplog: pytest.LogCaptureFixture
) -> None:
    booked = result('{"content":[{"type":"text","text":"Booked as number 7."}],"structuredContent":{"note":null}}')
    schema = {"outputSchema": {"type": "object", "properties": {"note": {"type": "string"}}, "required": ["note"]}}

    async def body(pool: McpPool) -> str:
        return await read_by_model(pool, "book")

    assert beside(tmp_path, {"book": booked, "/tool": schema}, transport, body) == (
        '{"sentence": "Booked as number 7.", "note": null}'
    )
    assert "structuredContent.note is null, but its outputSchema says string" in str(
        [record.__dict__ for record in caplog.records]
    )
    assert "jsonschema" not in {name.partition(".")[0] for name in _loaded_by_calls()}


def _loaded_by_calls() -> set[str]:
    """What a fresh process has loaded after a call to a tool with an output schema."""
    program = """
import asyncio, sys
from typing import Any
from mcp.server.mcpserver import MCPServer
from gateway.tools.config import InProcessServer
from gateway.tools.pool import McpPool
server: MCPServer[Any] = MCPServer("s", log_level="CRITICAL")
async def count() -> int: return 3
server.add_tool(count)
before = set(sys.modules)
async def main():
    pool = McpPool({"s": InProcessServer("s", server)})
    async with asyncio.TaskGroup() as tasks:
        await pool.start()
        tasks.create_task(pool.run())
        await pool.settled(5000)
        assert (await pool.call("s", "count", {}, 5000)).text == "3"
        pool.close()
asyncio.run(main())
print(*set(sys.modules) - before)
"""
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ODD.parents[2]
    )
    return set(run.stdout.split())


def _many(unit: str, where: str) -> str:
    return result(f'{{"{where}":[MANY({unit},;{1_000_000 // (len(unit) + 1)}){unit}]}}')


LARGE = {
    "lists": _many("[]", "structuredContent"),
    "objects": _many("{}", "structuredContent"),
    "numbers": _many("1", "structuredContent"),
    "contents": _many('{"type":"text","text":""}', "content"),
    "noise": "MANY(xNEWLINE;100000)" + YES,
    "messages": 'MANY({"jsonrpc":"2.0","method":"x"}NEWLINE;20000)' + YES,
}


@pytest.mark.parametrize("transport", ["stdio", "json", "sse"])
@pytest.mark.parametrize("large", LARGE)
def test_large_or_numerous_messages_do_not_hold_the_loop(tmp_path: Path, transport: str, large: str) -> None:
    async def worst_gap_s(pool: McpPool) -> float:
        gaps: list[float] = []

        async def tick() -> None:
            last = time.thread_time()  # of this thread's own work: other programs use this machine, too
            while True:
                await asyncio.sleep(0.005)
                gaps.append(time.thread_time() - last)
                last = time.thread_time()

        ticking = asyncio.create_task(tick())
        await read_by_model(pool, "large")
        ticking.cancel()
        return max(gaps)

    async def body(pool: McpPool) -> float:
        await read_by_model(pool, "counts")
        return min([await worst_gap_s(pool) for _ in range(3)])

    assert beside(tmp_path, {"large": LARGE[large]}, transport, body) < 0.1


def test_the_bound_of_an_answer_can_be_configured(tmp_path: Path) -> None:
    script = {"large": result('{"content":[{"type":"text","text":"MANY(x;5000)"}]}')}

    async def body(pool: McpPool) -> str:
        return await read_by_model(pool, "large")

    for transport in TRANSPORTS:
        assert beside(tmp_path, script, transport, body, max_answer_bytes=4000) == UNREADABLE
        assert beside(tmp_path, script, transport, body, max_answer_bytes=6000) == "x" * 5000


def test_an_endless_line_ends_only_its_connection(tmp_path: Path) -> None:
    async def body(pool: McpPool) -> None:
        begin = time.monotonic()
        assert await read_by_model(pool, "endless") == (LOST)
        assert time.monotonic() - begin < 5
        assert json.loads(await read_by_model(pool, "counts"))["initialize"] == 1  # of a new process

    beside(tmp_path, {"endless": "ENDLESS"}, "stdio", body)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_one_odd_tool_in_a_list_affects_no_other(tmp_path: Path, transport: str) -> None:
    listed = result(
        '{"tools":[null,{"name":"bad","inputSchema":null},{"name":"good","inputSchema":{"type":"object"}}]}'
    )

    async def body(pool: McpPool) -> list[str]:
        return [spec.name for spec in pool.tools("odd")]

    assert beside(tmp_path, {"tools/list": listed}, transport, body) == ["bad", "good"]


# ---- statuses


FORGOTTEN = {
    "status": 404,
    "body": '{"jsonrpc":"2.0","id":"server-error","error":{"code":-32600,"message":"Session not found"}}',
}
NO_SESSION = {"status": 400, "body": '{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"Bad Request"}}'}


@pytest.mark.parametrize("refusal", [FORGOTTEN, NO_SESSION, {"status": 404, "body": "gone"}])
def test_a_call_goes_on_when_the_server_forgot_its_session(
    tmp_path: Path, refusal: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    async def body(pool: McpPool) -> None:
        begin = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            calls = [tasks.create_task(read_by_model(pool, "book")) for _ in range(4)]
        assert [call.result() for call in calls] == ["Yes"] * 4
        assert time.monotonic() - begin < 3
        assert pool.problem("odd") is None
        counts = json.loads(await read_by_model(pool, "counts"))
        assert counts["initialize"] == 2
        assert counts["book"] == 8

    beside(tmp_path, {"book": {**refusal, "times": 4, "then": YES}}, "json", body)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_server_that_never_knows_its_session_is_asked_twice(tmp_path: Path) -> None:
    async def body(pool: McpPool) -> None:
        assert (
            await read_by_model(pool, "book")
            == "http_error: The service cannot be reached at the moment. It was not done."
        )
        counts = json.loads(await read_by_model(pool, "counts"))
        assert (counts["book"], counts["initialize"]) == (2, 3)

    beside(tmp_path, {"book": FORGOTTEN}, "json", body)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"status": 401}, f"http_error: The service turned the request away (HTTP 401). {NOT_DONE}"),
        ({"status": 403}, f"http_error: The service turned the request away (HTTP 403). {NOT_DONE}"),
        ({"status": 429}, f"http_error: The service turned the request away (HTTP 429). {NOT_DONE}"),
        ({"status": 408}, f"http_error: The service failed (HTTP 408). {UNKNOWN}"),
        ({"status": 500}, f"http_error: The service failed (HTTP 500). {UNKNOWN}"),
        (
            {"status": 503, "body": "<html>"},
            f"http_error: The service failed (HTTP 503). {UNKNOWN}",
        ),
        ({"status": 501}, f"http_error: The service turned the request away (HTTP 501). {NOT_DONE}"),
        ({"status": 202}, UNREADABLE),
        ({"status": 204}, UNREADABLE),
        ({"body": "<html>", "headers": {"Content-Type": "text/html"}}, UNREADABLE),
        ({"body": YES, "headers": {"Content-Type": "text/plain"}}, "Yes"),
        (
            {"status": 302, "headers": {"Location": "http://127.0.0.1:1/"}},
            "http_error: The service cannot be used at the moment. It was not done.",
        ),
        (
            {"sse": True, "body": "", "headers": {}},
            LOST,
        ),
        (
            {"close": True},
            LOST,
        ),
        (
            {"status": 400, "body": error(-32602, "no day")},
            f"protocol_error: The service refused: no day. {NOT_DONE}",
        ),
        ({"headers": {"Content-Encoding": "br"}, "body": "x"}, UNREADABLE),
    ],
)
def test_a_status_says_what_is_known_and_affects_no_other_call(
    tmp_path: Path, given: dict[str, Any], expected: str
) -> None:
    async def body(pool: McpPool) -> None:
        assert await read_by_model(pool, "book") == expected
        assert await read_by_model(pool, "fine") == "Yes"
        assert pool.problem("odd") is None

    beside(tmp_path, {"book": given, "fine": YES}, "json", body)


def test_a_server_that_refuses_its_session_from_the_start_is_named_by_its_status(tmp_path: Path) -> None:
    async def main() -> dict[str, str]:
        async with asyncio.timeout(30), odd_server(tmp_path, {"tools/list": FORGOTTEN}, "json") as server:
            pool = McpPool({"odd": server}, times=TIMES)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(pool.run())
                problems = await pool.settled(10_000)
                pool.close()
        return problems

    assert asyncio.run(main()) == {"odd": "the server answered HTTP 404"}


@pytest.mark.parametrize("transport", ["stdio", "json"])
def test_no_secret_of_a_server_is_logged_at_debug_level(
    tmp_path: Path, transport: str, capsys: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    async def body(pool: McpPool) -> None:
        for name in ("httpx2", "httpcore", "mcp", "client", "anyio", "asyncio"):
            logging.getLogger(name).setLevel(logging.DEBUG)  # as a library or a plugin may do
        assert await read_by_model(pool, "book") == "Yes"
        await read_by_model(pool, "cut")

    script = {"book": {**FORGOTTEN, "times": 1, "then": YES} if transport == "json" else YES, "cut": "{marmalade"}
    set_up_logging("debug")
    try:
        beside(tmp_path, script, transport, body)
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        quiet()
    logged = capsys.readouterr().err
    assert "mcp server connected" in logged
    assert not [word for word in ("s3cr3t", "marmalade", "session-id", "Session-Id", "Bearer") if word in logged]
    assert {json.loads(line)["logger"].partition(".")[0] for line in logged.splitlines()} == {"gateway"}
