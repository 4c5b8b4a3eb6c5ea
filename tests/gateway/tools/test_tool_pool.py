"""The pool with MCP servers in this process: no sockets, no threads."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
import pytest
from mcp.server.mcpserver import Context, MCPServer
from mcp_types import CallToolResult, ImageContent, TextContent, ToolAnnotations
from pydantic import BaseModel

from gateway.tools.config import InProcessServer, McpServer
from gateway.tools.connection import AnswerBounds, Connection, McpTool
from gateway.tools.contract import ToolResult
from gateway.tools.link import LinkTimes
from gateway.tools.pool import McpPool
from mcp_servers.bookings.server import build_server
from mcp_servers.bookings.store import BookingStore
from sessions.errors import ToolFailed
from sessions.ports import Json, JsonObject
from sessions.setup import ToolSpec

TIMES = LinkTimes(connect_ms=2000, goodbye_ms=200, first_retry_ms=1, settle_ms=1)
NOW = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)


@pytest.fixture
def bookings() -> Iterator[MCPServer[Any]]:
    store = BookingStore(":memory:")
    yield build_server(store, lambda: NOW)
    store.close()


class Point(BaseModel):
    """Structured content."""

    x: int


def odd_server() -> MCPServer[Any]:
    """Tools that return every kind of result."""
    server: MCPServer[Any] = MCPServer("odd", log_level="CRITICAL")

    async def words() -> str:
        return "just words"

    async def point() -> Point:
        return Point(x=1)

    async def count() -> int:
        return 3

    async def digits() -> str:
        return "15"

    async def both() -> Annotated[CallToolResult, Point]:
        return CallToolResult(content=[TextContent(text="It is one.")], structured_content={"x": 1})

    async def picture() -> CallToolResult:
        image = ImageContent(data="", mime_type="image/png")
        return CallToolResult(content=[TextContent(text="Look:"), image])

    async def refuse() -> CallToolResult:
        return CallToolResult(content=[TextContent(text="Not today.")], is_error=True)

    async def crash() -> str:
        raise KeyError("secret")

    async def huge(size: int) -> CallToolResult:
        return CallToolResult(content=[TextContent(text="ä" * size)])

    async def hang() -> str:
        await asyncio.Event().wait()
        return ""

    async def grow(ctx: Context[Any, Any]) -> str:
        server.add_tool(words, name="words2")
        await ctx.notify_tools_changed()
        return "grown"

    for tool in (words, point, count, digits, both, picture, refuse, crash, huge, hang, grow):
        server.add_tool(tool, annotations=ToolAnnotations(read_only_hint=True))
    return server


def with_pool(servers: Mapping[str, object], body: Callable[[McpPool], Coroutine[Any, Any, Any]]) -> Any:
    """What `body` returns, run beside a running pool of these server objects."""

    async def main() -> Any:
        pool = McpPool(
            {label: InProcessServer(label, server) for label, server in servers.items()},
            times=TIMES,
            max_result_bytes=1000,
        )
        async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
            await pool.start()
            tasks.create_task(pool.run())
            try:
                assert await pool.settled(4000) == {}
                return await body(pool)
            finally:
                pool.close()

    return asyncio.run(main())


def output(tool: str, **arguments: Any) -> ToolResult:
    async def body(pool: McpPool) -> ToolResult:
        return await pool.call("odd", tool, arguments, 2000)

    result = with_pool({"odd": odd_server()}, body)
    assert isinstance(result, ToolResult)
    return result


def test_a_booking_is_made_through_the_pool(bookings: MCPServer[Any]) -> None:
    async def body(pool: McpPool) -> tuple[list[str], ToolResult, ToolResult]:
        wanted: dict[str, Json] = {"date": "friday", "time": "7 pm", "party_size": 8, "name": "Ada"}
        threads = threading.active_count()
        first = await pool.call("bookings", "book_table", wanted, 2000)
        second = await pool.call("bookings", "book_table", {**wanted, "name": "Bob"}, 2000)
        assert threading.active_count() == threads
        return [tool.name for tool in pool.tools("bookings")], first, second

    names, first, second = with_pool({"bookings": bookings}, body)
    assert names == ["find_tables", "book_table", "list_bookings", "cancel_booking"]
    assert first.error is None
    facts = orjson.loads(first.text)
    assert facts["sentence"] == "Booked: Ada, 8 guests, Friday, 20 November at 7 pm. The booking number is 1."
    assert facts["booking_id"] == 1
    assert second.error == "tool_execution_error"
    refusal = orjson.loads(second.text)
    assert refusal["error"].startswith("We have no table for 8 on Friday, 20 November at 7 pm.")
    assert refusal["alternatives"] == ["17:00", "17:30", "20:30"]


@pytest.mark.parametrize(
    ("tool", "text", "error"),
    [
        ("words", "just words", None),
        ("point", '{"x": 1}', None),
        ("count", "3", None),
        ("digits", "15", None),
        ("both", '{"sentence": "It is one.", "x": 1}', None),
        ("picture", "Look:\n[image left out]", None),
        ("refuse", '{"error": "Not today."}', "tool_execution_error"),
        ("crash", '{"error": "Error executing tool crash"}', "tool_execution_error"),
    ],
)
def test_a_result_becomes_the_models_text(tool: str, text: str, error: str | None) -> None:
    assert output(tool) == ToolResult(text, error, None)


def test_a_long_result_is_cut_between_characters_and_says_so() -> None:
    text = output("huge", size=2001).text
    assert text == "ä" * 500 + "\n[Cut: the result has 4002 bytes, 1000 are shown.]"


def test_unknown_tools_and_wrong_arguments_are_refused_by_the_server() -> None:
    unknown = output("nothing")
    assert unknown.error == "tool_execution_error"
    wrong = output("huge", size="many")
    assert wrong.error == "tool_execution_error"
    assert "valid integer" in wrong.text


def test_a_slow_tool_is_abandoned_at_its_deadline_and_the_next_call_works() -> None:
    async def body(pool: McpPool) -> str:
        with pytest.raises(ToolFailed) as late:
            await pool.call("odd", "hang", {}, 20)
        assert late.value.kind == "timeout"
        return (await pool.call("odd", "point", {}, 2000)).text

    assert with_pool({"odd": odd_server()}, body) == '{"x": 1}'


def test_new_tools_are_listed_when_the_server_announces_them() -> None:
    async def body(pool: McpPool) -> bool:
        await pool.call("odd", "grow", {}, 2000)
        while "words2" not in {spec.name for spec in pool.tools("odd")}:
            await pool.call("odd", "words", {}, 2000)
        return True

    assert with_pool({"odd": odd_server()}, body)


def test_a_server_that_is_not_configured_has_no_tools() -> None:
    async def body(pool: McpPool) -> None:
        assert pool.tools("crm") == ()
        assert pool.problem("crm") == "it is not in the MCP configuration"
        with pytest.raises(ToolFailed) as unknown:
            await pool.call("crm", "find", {}, 100)
        assert unknown.value.kind == "unknown_tool"

    with_pool({}, body)


def test_no_module_that_start_up_imports_loads_the_sdk() -> None:
    program = (
        "import sys, gateway.tools.pool, gateway.tools.toolbox, gateway.tools.functions, gateway.tools.plugins\n"
        "sys.exit('mcp' in sys.modules or 'mcp_types' in sys.modules or 'httpx2' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


class OddConnection:
    """A server whose every answer is the same odd one."""

    def __init__(self, odd: BaseException | object) -> None:
        self._odd = odd

    async def _give(self) -> Any:
        if isinstance(self._odd, BaseException):
            raise self._odd
        return self._odd

    async def list_tools(self) -> Any:
        return await self._give()

    async def call(self, tool: str, arguments: JsonObject, deadline_ms: int) -> Any:
        return await self._give()

    async def listen(self, look_again: Callable[[], None]) -> None:
        await self._give()


class GoodConnection(OddConnection):
    """A server that works."""

    async def list_tools(self) -> Any:
        return (McpTool(ToolSpec("good", "", {}), False),)

    async def call(self, tool: str, arguments: JsonObject, deadline_ms: int) -> Any:
        return ToolResult("good", None, None)


@pytest.mark.parametrize(
    "odd", [SystemExit(2), RecursionError(), TypeError(), asyncio.CancelledError(), None, [1], 7, {"a": 1}, b"x"]
)
def test_a_server_with_odd_answers_affects_neither_the_pool_nor_other_servers(odd: BaseException | object) -> None:
    @asynccontextmanager
    async def dial(server: McpServer, bounds: AnswerBounds) -> AsyncIterator[Connection]:
        yield OddConnection(odd) if server.label == "odd" else GoodConnection(None)

    async def main() -> None:
        servers = {label: InProcessServer(label, None) for label in ("odd", "good")}
        pool = McpPool(servers, times=TIMES, dial=dial)
        async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
            running = tasks.create_task(pool.run())
            problems = await pool.settled(1000)
            assert set(problems) == {"odd"}
            for _ in range(3):
                with pytest.raises(ToolFailed, match="It was not done"):
                    await pool.call("odd", "any", {}, 50)
                assert (await pool.call("good", "good", {}, 1000)).text == "good"
            assert not running.done()
            pool.close()

    asyncio.run(main())


def test_an_sdk_that_cannot_be_loaded_affects_only_the_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gateway.tools.mcp_sdk", None)

    async def main() -> dict[str, str]:
        pool = McpPool({"any": InProcessServer("any", None)}, times=TIMES)
        async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
            tasks.create_task(pool.run())
            problems = await pool.settled(1000)
            with pytest.raises(ToolFailed, match="It was not done"):
                await pool.call("any", "any", {}, 50)
            pool.close()
        return problems

    assert asyncio.run(main()) == {"any": "the MCP SDK cannot be loaded"}
