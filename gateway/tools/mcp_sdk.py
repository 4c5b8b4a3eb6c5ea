"""The only module that imports the MCP SDK (half a second): `McpPool.start` imports it, nothing else does.

Turns the SDK's connections, results and errors into those of `gateway/tools/link.py`.
Source: the packages `mcp` and `mcp_types` 2.3.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, cast

import anyio
import httpx2
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.client.subscriptions import ListenNotSupportedError, SubscriptionLost
from mcp.server.mcpserver import MCPServer
from mcp_types import (
    CONNECTION_CLOSED,
    INTERNAL_ERROR,
    INVALID_REQUEST,
    REQUEST_TIMEOUT,
    CallToolResult,
    ContentBlock,
    EmbeddedResource,
    TextContent,
    TextResourceContents,
    Tool,
)
from pydantic import ValidationError

from gateway.tools.config import HttpServer, InProcessServer, McpServer, StdioServer
from gateway.tools.contract import ToolResult, cut
from gateway.tools.link import ConnectionGone, McpTool
from sessions.errors import ToolFailed
from sessions.ports import JsonObject
from sessions.setup import ToolSpec

log = logging.getLogger(__name__)

MAX_PAGES = 20
MAX_TOOLS = 256
MAX_DESCRIPTION_BYTES = 4096
MAX_START_LINES = 50
MAX_LINE_BYTES = 400
MAX_EVENT_BYTES = 4 << 20
RELISTEN_S = 1.0

# anyio's stream errors are what a send meets when the connection goes away under it.
_GONE = (anyio.ClosedResourceError, anyio.BrokenResourceError, anyio.EndOfStream, httpx2.TransportError)
_ODD_ANSWERS = (ValidationError, RuntimeError)  # an answer that breaks its own schema, or asks questions back for ever


def quiet() -> None:
    """Silence what the SDK logs: whole messages, with callers' words in them. Links log what matters."""
    for name in ("mcp.client", "mcp.shared", "client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.getLogger("httpx2").setLevel(logging.WARNING)


class SdkConnection:
    """One open SDK client, as a link sees it."""

    def __init__(self, client: Client, max_result_bytes: int, peer: _Peer) -> None:
        self._client = client
        self._max_result_bytes = max_result_bytes
        self._peer = peer

    async def list_tools(self) -> tuple[McpTool, ...]:
        """All tools, every page, up to `MAX_TOOLS`."""
        tools: list[Tool] = []
        cursor: str | None = None
        try:
            for _ in range(MAX_PAGES):
                page = await self._client.list_tools(cursor=cursor, cache_mode="refresh")
                tools += page.tools
                cursor = page.next_cursor
                if cursor is None or len(tools) >= MAX_TOOLS:
                    break
        except MCPError as error:
            raise self._failure(error) from error
        except _GONE as error:
            raise ConnectionGone from error
        except _ODD_ANSWERS as error:
            raise ToolFailed("The list of tools cannot be read.", kind="protocol_error") from error
        return tuple(map(_described, tools[:MAX_TOOLS]))

    async def call(self, tool: str, arguments: JsonObject, deadline_ms: int) -> ToolResult:
        """Call a tool; a refusal of its own comes back as a result with `error` set."""
        self._peer.called = True
        self._peer.bad_status = 0
        # The caller's deadline cuts this off; the SDK's comes a second later and only ends what was left behind.
        limit_s = deadline_ms / 1000 + 1
        try:
            result = await self._client.call_tool(tool, dict(arguments), read_timeout_seconds=limit_s)
        except MCPError as error:
            raise self._failure(error) from error
        except _GONE as error:
            raise ConnectionGone from error
        except _ODD_ANSWERS as error:
            raise ToolFailed("The service gave an answer that cannot be read.", kind="protocol_error") from error
        return ToolResult(
            output_of(result, self._max_result_bytes), "tool_execution_error" if result.is_error else None, None
        )

    async def listen(self, look_again: Callable[[], None]) -> None:
        """Follow the server's own news, where it has any; otherwise only the end of its process."""
        self._peer.on_death = look_again
        while True:
            try:
                async with self._client.listen(tools_list_changed=True) as news:
                    async for _ in news:
                        look_again()
            except ListenNotSupportedError:
                return
            except MCPError as error:
                if error.code != CONNECTION_CLOSED:
                    return  # it does not offer this
            except SubscriptionLost:
                pass
            look_again()
            await asyncio.sleep(RELISTEN_S)

    def _failure(self, error: MCPError) -> ToolFailed | ConnectionGone:
        if error.code == CONNECTION_CLOSED or (error.code == INVALID_REQUEST and error.message == "Session terminated"):
            return ConnectionGone()
        if error.code == REQUEST_TIMEOUT:
            return ToolFailed("The service did not answer in time.", kind="timeout")
        if error.code == INTERNAL_ERROR and self._peer.bad_status:
            return ToolFailed(f"The service failed (HTTP {self._peer.bad_status}).", kind="http_error")
        return ToolFailed(cut(f"The service refused: {error.message}", 400), kind="protocol_error")


class _Peer:
    """What is known of the far end beside its messages."""

    def __init__(self) -> None:
        self.called = False
        self.bad_status = 0  # the last HTTP status that was an error
        self.on_death: Callable[[], None] = lambda: None

    async def saw(self, response: httpx2.Response) -> None:
        if response.status_code >= 400:
            self.bad_status = response.status_code


@asynccontextmanager
async def dial(server: McpServer, max_result_bytes: int) -> AsyncIterator[SdkConnection]:
    """Connect to a server. Raises whatever the SDK raises, mostly in exception groups."""
    peer = _Peer()
    async with AsyncExitStack() as stack:
        match server:
            case InProcessServer(server=target):
                client = Client(cast(MCPServer[Any], target))
            case HttpServer(url=url, headers=headers):
                # No read limit: a slow tool is cut off by its caller's deadline, an event stream is silent for long.
                http = httpx2.AsyncClient(
                    headers=dict(headers),
                    timeout=httpx2.Timeout(10, read=None),
                    event_hooks={"response": [peer.saw]},
                )
                await stack.enter_async_context(http)
                client = Client(streamable_http_client(url, http_client=http, max_sse_event_size=MAX_EVENT_BYTES))
            case StdioServer():
                client = Client(_stdio(server, peer))
        try:
            await stack.enter_async_context(client)
        except* MCPError as errors:
            # The SDK hides the status of a refused connection; 401 is what an operator needs to read.
            if peer.bad_status:
                raise ToolFailed(f"the server answered HTTP {peer.bad_status}", kind="http_error") from errors
            raise
        yield SdkConnection(client, max_result_bytes, peer)


@asynccontextmanager
async def _stdio(server: StdioServer, peer: _Peer) -> AsyncIterator[Any]:
    """The SDK's stdio transport, with the child's stderr read by us: its end is the first sign of the child's."""
    reading, writing = os.pipe()
    errlog = os.fdopen(writing, "w")
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: _Stderr(server.label, peer), os.fdopen(reading, "rb", buffering=0)
    )
    parameters = StdioServerParameters(
        command=server.command, args=list(server.args), env=dict(server.env), cwd=server.cwd
    )
    try:
        async with stdio_client(parameters, errlog=errlog) as streams:
            errlog.close()  # now the child holds the only end that writes
            yield streams
    finally:
        errlog.close()
        transport.close()


class _Stderr(asyncio.Protocol):
    """Logs what a server prints while it starts; once it has been called, its lines may hold callers' words."""

    def __init__(self, label: str, peer: _Peer) -> None:
        self._label = label
        self._peer = peer
        self._rest = b""
        self._lines = 0

    def data_received(self, received: bytes) -> None:
        *lines, rest = (self._rest + received).split(b"\n")
        self._rest = rest[:MAX_LINE_BYTES]
        for line in lines:
            self._lines += 1
            if self._lines <= MAX_START_LINES and not self._peer.called:
                text = line[:MAX_LINE_BYTES].decode(errors="replace").strip()
                log.info("mcp server wrote to stderr", extra={"server": self._label, "line": text})

    def connection_lost(self, exc: Exception | None) -> None:
        log.info("mcp server closed stderr", extra={"server": self._label, "lines": self._lines})
        self._peer.on_death()


def output_of(result: CallToolResult, max_bytes: int) -> str:
    """What the model is given: the result's words, or, where it has facts too, both in one JSON object.

    The words stand there as `sentence`, or as `error` when the tool refused; words that only repeat the facts are left
    out. Where both together are too long, the words alone stay. Contents that are not text are named, not shown.
    """
    words = "\n".join(map(_words, result.content))
    facts = result.structured_content
    if facts is None:
        return cut(_json({"error": words}) if result.is_error else words, max_bytes)
    repeated = _repeats(words, facts)
    if repeated and facts.keys() == {"result"} and not result.is_error:  # the SDK's wrapping of a bare value
        return cut(words, max_bytes)
    told = {} if not words or repeated else {"error" if result.is_error else "sentence": words}
    both = _json({**told, **facts})
    return cut(words if words and len(both.encode()) > max_bytes else both, max_bytes)


def _words(content: ContentBlock) -> str:
    if isinstance(content, TextContent):
        return content.text
    if isinstance(content, EmbeddedResource) and isinstance(content.resource, TextResourceContents):
        return content.resource.text
    return f"[{content.type} left out]"


def _repeats(words: str, facts: dict[str, Any]) -> bool:
    if words == facts.get("result"):
        return True
    try:
        said = json.loads(words)
    except (ValueError, RecursionError):
        return False
    return said == facts or (facts.keys() == {"result"} and said == facts["result"])


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _described(tool: Tool) -> McpTool:
    hints = tool.annotations
    repeatable = hints is not None and bool(hints.read_only_hint or hints.idempotent_hint)
    description = cut(tool.description or tool.title or "", MAX_DESCRIPTION_BYTES)
    return McpTool(ToolSpec(tool.name, description, tool.input_schema), repeatable)
