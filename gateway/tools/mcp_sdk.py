"""Opens connections with the MCP SDK. Only `McpPool.start` imports this module, because the SDK takes half a second.

Turns the SDK's connections, results and errors into those of `gateway/tools/connection.py`.
Source: the packages `mcp` and `mcp_types` 2.3.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, cast

import anyio
import anyio.lowlevel
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp.client.subscriptions import ListenNotSupportedError, SubscriptionLost
from mcp.server.mcpserver import MCPServer
from mcp_types import (
    CONNECTION_CLOSED,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    REQUEST_TIMEOUT,
    CallToolResult,
    RequestParamsMeta,
    TextContent,
    Tool,
)
from pydantic import ValidationError

from gateway.tools.answers import read_result
from gateway.tools.config import HttpServer, InProcessServer, McpServer, StdioServer
from gateway.tools.connection import TRACEPARENT, AnswerBounds, ConnectionGone, McpTool, NeverRan
from gateway.tools.contract import ToolResult, cut
from gateway.tools.link import NOT_DONE, UNKNOWN
from gateway.tools.mcp_http import McpHttp, tls_for
from gateway.tools.mcp_stdio import Program, running
from gateway.tools.messages import MAX_DESCRIPTION_BYTES, MAX_TOOLS, Fate, MessageReader
from sessions.errors import ToolFailed
from sessions.ports import JsonObject
from sessions.setup import ToolSpec

log = logging.getLogger(__name__)

MAX_PAGES = 20
MAX_EVENT_BYTES = 4 << 20  # events are bounded before they reach the SDK
RELISTEN_S = 1.0

# These stream errors of anyio mean that the connection ended during a send.
_GONE = (anyio.ClosedResourceError, anyio.BrokenResourceError, anyio.EndOfStream)
# The SDK raises these for an answer that violates its schema, or that keeps asking questions back.
_ODD_ANSWERS = (ValidationError, RuntimeError)
_LATER = ("httpcore2", "h11", "truststore", "encodings.idna", "anyio.streams.stapled", "anyio.streams.tls")
_NEVER_BEGUN = frozenset({PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS})


def quiet() -> None:
    """Silence the SDK's loggers: they log whole messages with callers' words. Links log what matters."""
    for name in ("mcp", "client", "httpx2", "httpcore"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def load_the_rest() -> None:
    """Import what the first connection would import on the loop, which takes 40 ms or more. Call it in a thread."""
    for name in _LATER:
        with suppress(ImportError):
            importlib.import_module(name)
    anyio.run(anyio.lowlevel.checkpoint)  # loads anyio's asyncio backend


class SdkConnection:
    """One open SDK client, with the interface that a link uses."""

    def __init__(self, client: Client, peer: Peer, bounds: AnswerBounds) -> None:
        self._client = client
        self._peer = peer
        self._bounds = bounds

    async def list_tools(self) -> tuple[McpTool, ...]:
        """All tools, from every page, up to `MAX_TOOLS`. Raises ConnectionGone, NeverRan or ToolFailed."""
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
            raise self._without_list(error) from error
        except _GONE as error:
            raise ConnectionGone from error
        except _ODD_ANSWERS as error:
            raise ToolFailed("its list of tools cannot be read", kind="protocol_error") from error
        return tuple(map(_described, tools[:MAX_TOOLS]))

    async def call(self, tool: str, arguments: JsonObject, deadline_ms: int) -> ToolResult:
        """Call a tool. Its own refusal is a result with `error` set. Raises ConnectionGone, NeverRan or ToolFailed."""
        self._peer.called()
        # The caller's deadline ends this call. The SDK's timeout comes a second later and only cleans up.
        limit_s = deadline_ms / 1000 + 1
        try:
            result = await self._client.call_tool(
                tool, dict(arguments), read_timeout_seconds=limit_s, meta=_trace_context()
            )
        except MCPError as error:
            raise self._failure(error) from error
        except _GONE as error:
            raise ConnectionGone from error
        except _ODD_ANSWERS as error:
            raise ToolFailed(
                f"The service gave an answer that cannot be read. {UNKNOWN}", kind="protocol_error"
            ) from error
        return self._result(result)

    async def listen(self, look_again: Callable[[], None]) -> None:
        """Follow the server's notifications where it sends any, and otherwise only the end of its process."""
        self._peer.on_death(look_again)
        while True:
            try:
                async with self._client.listen(tools_list_changed=True) as news:
                    async for _ in news:
                        look_again()
            except ListenNotSupportedError:
                return
            except MCPError as error:
                if error.code != CONNECTION_CLOSED:
                    return  # the server does not offer subscriptions
            except SubscriptionLost:
                pass
            look_again()
            await asyncio.sleep(RELISTEN_S)

    def _without_list(self, error: MCPError) -> ToolFailed | ConnectionGone | NeverRan:
        """Like `_failure`, with a reason for operators instead of words for a model."""
        why = self._peer.problem or cut(error.message, 400)
        failed = self._failure(error)
        return ToolFailed(why, kind=failed.kind) if isinstance(failed, ToolFailed) else type(failed)(why)

    def _result(self, result: CallToolResult) -> ToolResult:
        error = "tool_execution_error" if result.is_error else None
        if self._peer.reader is not None:  # the message reader has turned the result into one text
            texts = [block.text for block in result.content if isinstance(block, TextContent)]
            return ToolResult("\n".join(texts), error, None)
        given = read_result(result.model_dump(by_alias=True, mode="json", exclude_none=True), self._bounds.result_bytes)
        return ToolResult(given.text, error, None)

    def _failure(self, error: MCPError) -> ToolFailed | ConnectionGone | NeverRan:
        """What is known about a request without a result, from the message reader's fields or the SDK's codes."""
        fields = error.error.data if isinstance(error.error.data, dict) else {}
        match fields.get("fate"):
            case Fate.SESSION_LOST:
                return NeverRan()
            case Fate.GONE:
                return ConnectionGone()
            case Fate.NOT_DONE:
                status = fields.get("status")
                if status is None:  # it could not even be sent
                    return NeverRan()
                return ToolFailed(f"The service turned the request away (HTTP {status}). {NOT_DONE}", kind="http_error")
            case Fate.UNKNOWN:
                status = fields.get("status")
                if status is not None:
                    return ToolFailed(f"The service failed (HTTP {status}). {UNKNOWN}", kind="http_error")
                return ToolFailed(f"The service gave an answer that cannot be read. {UNKNOWN}", kind="protocol_error")
            case None if self._peer.reader is not None or error.code in (CONNECTION_CLOSED, REQUEST_TIMEOUT):
                return _sdk_failure(error.code)
        known = NOT_DONE if error.code in _NEVER_BEGUN else UNKNOWN
        words = cut(error.message, 400).rstrip(" .") or "it gave no reason"
        return ToolFailed(f"The service refused: {words}. {known}", kind="protocol_error")


def _sdk_failure(code: int) -> ToolFailed | ConnectionGone:
    """Translate the SDK's own error codes. Its words are for the SDK's users and are not passed on."""
    if code == CONNECTION_CLOSED:
        return ConnectionGone()
    if code == REQUEST_TIMEOUT:
        return ToolFailed(f"The service did not answer in time. {UNKNOWN}", kind="timeout")
    if code == INVALID_REQUEST:  # a redirect to another server
        return ToolFailed(f"The service cannot be used at the moment. {NOT_DONE}", kind="http_error")
    return ToolFailed(f"The service gave an answer that cannot be read. {UNKNOWN}", kind="protocol_error")


class Peer:
    """State of the far end beside its answers. Without a message reader it is a server object in this process."""

    def __init__(
        self, reader: MessageReader | None = None, *, http: McpHttp | None = None, program: Program | None = None
    ) -> None:
        self.reader = reader
        self._http = http
        self._program = program

    @property
    def problem(self) -> str | None:
        """What went wrong last, for operators, where more is known than the SDK says."""
        if self._program is not None:
            return self._program.problem
        return self._http.problem if self._http is not None else None

    async def settle(self) -> None:
        """Wait a moment for a program's exit code."""
        if self._program is not None:
            await self._program.settle()

    def called(self) -> None:
        """Note that a tool is called."""
        if self._program is not None:
            self._program.called = True

    def on_death(self, tell: Callable[[], None]) -> None:
        """Call `tell` when the server's program seems to have ended."""
        if self._program is not None:
            self._program.on_death = tell


@asynccontextmanager
async def dial(server: McpServer, bounds: AnswerBounds) -> AsyncIterator[SdkConnection]:
    """Connect to a server. Raises whatever the SDK raises, mostly in exception groups."""
    async with AsyncExitStack() as stack:
        reader = MessageReader(server.label, bounds.result_bytes)
        match server:
            case InProcessServer(server=target):
                client, peer = Client(cast(MCPServer[Any], target)), Peer()
            case HttpServer(url=url):
                http = await stack.enter_async_context(McpHttp(server, reader, bounds.answer_bytes, await tls_for(url)))
                transport = streamable_http_client(url, http_client=http, max_sse_event_size=MAX_EVENT_BYTES)
                client, peer = Client(transport), Peer(reader, http=http)
            case StdioServer():
                program = await stack.enter_async_context(running(server, reader, bounds.answer_bytes))
                client, peer = Client(_streams(program)), Peer(reader, program=program)
        try:
            await stack.enter_async_context(client)
        except* MCPError as errors:
            await peer.settle()
            # The SDK hides why a connection was refused, which an operator needs to read.
            if peer.problem is not None:
                raise ToolFailed(peer.problem, kind="http_error") from errors
            raise
        # The SDK's check takes 0.1 s or more of the loop, and can only discard a result that has arrived.
        client.session.validate_tool_result = _unchecked  # type: ignore[method-assign]
        yield SdkConnection(client, peer, bounds)


async def _unchecked(name: str, result: CallToolResult) -> None:
    """Check nothing: results have been read before the SDK sees them."""


@asynccontextmanager
async def _streams(program: Program) -> AsyncIterator[Any]:
    yield program.inbox, program.outbox


def _trace_context() -> RequestParamsMeta | None:
    """The `_meta` of a request, with which the server continues the trace of the tool call (SEP-414)."""
    header = TRACEPARENT.get()
    return None if header is None else cast("RequestParamsMeta", {"traceparent": header})


def _described(tool: Tool) -> McpTool:
    hints = tool.annotations
    repeatable = hints is not None and bool(hints.read_only_hint or hints.idempotent_hint)
    description = cut(tool.description or tool.title or "", MAX_DESCRIPTION_BYTES)
    return McpTool(ToolSpec(tool.name, description, tool.input_schema), repeatable)
