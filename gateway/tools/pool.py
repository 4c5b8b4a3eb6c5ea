"""All MCP servers of this process, each kept connected once and shared by every call."""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial
from typing import TypeAlias

from gateway.tools.config import McpServer
from gateway.tools.contract import ToolResult
from gateway.tools.link import Connection, Link, LinkTimes
from sessions.errors import ToolFailed
from sessions.ports import JsonObject
from sessions.setup import ToolSpec

MAX_RESULT_BYTES = 16 * 1024
_SDK = "gateway.tools.mcp_sdk"

Dial: TypeAlias = Callable[[McpServer, int], AbstractAsyncContextManager[Connection]]


class McpPool:
    """The servers of `mcp.json`. A dead or slow one costs the tool calls that need it, and nothing else."""

    def __init__(
        self,
        servers: Mapping[str, McpServer],
        *,
        times: LinkTimes | None = None,
        max_result_bytes: int = MAX_RESULT_BYTES,
        dial: Dial | None = None,
    ) -> None:
        """`dial` opens a connection; None: the MCP SDK does, and is imported by `start`."""
        self._dial = dial
        self._max_result_bytes = max_result_bytes
        times = times or LinkTimes()
        self._links = {label: Link(label, partial(self._open, server), times) for label, server in servers.items()}

    @property
    def servers(self) -> frozenset[str]:
        """The labels of all servers."""
        return frozenset(self._links)

    async def start(self) -> None:
        """Load the MCP SDK, if there is a server to use it for: half a second, in a thread. Once more does nothing."""
        if self._dial is None and self._links:
            if _SDK not in sys.modules:
                await asyncio.to_thread(importlib.import_module, _SDK)
            sdk = sys.modules[_SDK]
            sdk.quiet()
            self._dial = sdk.dial

    async def run(self) -> None:
        """Keep every server connected until `close`; when cancelled, say goodbye to them first."""
        await self.start()
        async with asyncio.TaskGroup() as tasks:
            for label, link in self._links.items():
                tasks.create_task(link.run(), name=f"mcp link {label}")

    def close(self) -> None:
        """Let `run` end: calls in flight are dropped, started servers are stopped."""
        for link in self._links.values():
            link.close()

    async def settled(self, wait_ms: int) -> dict[str, str]:
        """Wait until each server was tried once, at most so long; says which ones are not connected, and why."""
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_ms / 1000):
                for link in self._links.values():
                    await link.settled()
        return {label: link.problem for label, link in self._links.items() if link.problem is not None}

    def problem(self, server: str) -> str | None:
        """Why a server is not connected, for operators; None if it is."""
        link = self._links.get(server)
        return link.problem if link is not None else "it is not in the MCP configuration"

    def tools(self, server: str) -> tuple[ToolSpec, ...]:
        """A server's tools, as last listed; none if it never was."""
        link = self._links.get(server)
        return tuple(tool.spec for tool in link.tools.values()) if link is not None else ()

    async def call(self, server: str, tool: str, arguments: JsonObject, deadline_ms: int) -> ToolResult:
        """Call a tool and answer within `deadline_ms`, whatever the server does.

        A refusal by the tool itself is a result with `error` set. Raises ToolFailed for the rest: no answer in time
        (`timeout`), no connection (`http_error`), a lost one or a broken answer (`protocol_error`).
        """
        link = self._links.get(server)
        if link is None:
            raise ToolFailed(f"There is no tool server {server}.", kind="unknown_tool")
        try:
            async with asyncio.timeout(deadline_ms / 1000):
                return await link.call(tool, arguments, deadline_ms)
        except TimeoutError:
            raise ToolFailed("The service did not answer in time.", kind="timeout") from None

    def _open(self, server: McpServer) -> AbstractAsyncContextManager[Connection]:
        assert self._dial is not None  # `run` has awaited `start`
        return self._dial(server, self._max_result_bytes)
