"""All MCP servers of this process, each connected once and shared by every call."""

from __future__ import annotations

import asyncio
import importlib
import logging
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import replace
from functools import partial
from typing import TypeAlias

from gateway.guard import Boundary, ForeignTasks, place_of
from gateway.tools.config import HttpServer, InProcessServer, McpServer, StdioServer
from gateway.tools.connection import MAX_ANSWER_BYTES, MAX_RESULT_BYTES, AnswerBounds, Connection
from gateway.tools.contract import ToolResult
from gateway.tools.link import Link, LinkTimes
from sessions.errors import ToolFailed
from sessions.ports import JsonObject
from sessions.setup import ToolSpec

log = logging.getLogger(__name__)

_SDK = "gateway.tools.mcp_sdk"

Dial: TypeAlias = Callable[[McpServer, AnswerBounds], AbstractAsyncContextManager[Connection]]


class McpPool:
    """The servers of `mcp.json`. A dead or slow one affects only the tool calls that need it."""

    def __init__(
        self,
        servers: Mapping[str, McpServer],
        *,
        times: LinkTimes | None = None,
        max_result_bytes: int = MAX_RESULT_BYTES,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
        dial: Dial | None = None,
    ) -> None:
        """`dial` opens a connection; where it is None, `start` imports the MCP SDK and uses it."""
        self._dial = dial
        self._bounds = AnswerBounds(max_answer_bytes, max_result_bytes)
        self._times = times or LinkTimes()
        self._answer_ms = {label: _answer_ms(server) for label, server in servers.items()}
        self.transports = _transports(servers)  # by server
        self._links = {label: self._link(server) for label, server in servers.items()}
        self._jobs = ForeignTasks()

    @property
    def servers(self) -> frozenset[str]:
        """The labels of all servers."""
        return frozenset(self._links)

    async def start(self) -> None:
        """Import the MCP SDK in a thread (half a second), if there is a server to use it for. May be called again."""
        if self._dial is None and self._links:
            if _SDK not in sys.modules:
                await asyncio.to_thread(_load_sdk)
            sdk = sys.modules[_SDK]
            sdk.quiet()
            self._dial = sdk.dial

    async def run(self) -> None:
        """Keep every server connected until `close`. On cancellation, close the connections first.

        Each server runs in a task outside any task group, so that a fault in one affects neither the others nor the
        caller.
        """
        with Boundary(self._not_loaded):
            await self.start()
        jobs = {self._jobs.start(link.run()) for link in self._links.values()}
        try:
            if jobs:
                await asyncio.wait(jobs)
        finally:
            self.close()
            if jobs:
                await asyncio.wait(jobs, timeout=self._times.goodbye_ms / 1000)

    def close(self) -> None:
        """Let `run` end: running calls are dropped and started programs are stopped."""
        for link in self._links.values():
            link.close()

    async def settled(self, wait_ms: int) -> dict[str, str]:
        """Wait for at most `wait_ms` until each server was tried once. Returns those not connected, with the reason.

        Afterwards nothing waits for the first attempts any more, `tried` included.
        """
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_ms / 1000):
                    await self.tried(self._links)
        finally:
            for link in self._links.values():
                link.waited_enough()
        return {label: link.problem for label, link in self._links.items() if link.problem is not None}

    async def tried(self, servers: Iterable[str]) -> None:
        """Wait until each of these servers was tried once, or `settled` has ended."""
        for server in servers:
            link = self._links.get(server)
            if link is not None:
                await link.settled()

    def problem(self, server: str) -> str | None:
        """Why a server is not connected, for operators; None if it is."""
        link = self._links.get(server)
        return link.problem if link is not None else "it is not in the MCP configuration"

    def connects(self) -> list[tuple[tuple[str, str], int]]:
        """How many attempts to connect there were, by server and outcome."""
        return [((label, how), count) for label, link in self._links.items() for how, count in link.connects.items()]

    def tools(self, server: str) -> tuple[ToolSpec, ...]:
        """A server's tools, as last listed; empty if they never were."""
        link = self._links.get(server)
        return tuple(tool.spec for tool in link.tools.values()) if link is not None else ()

    async def call(self, server: str, tool: str, arguments: JsonObject, deadline_ms: int) -> ToolResult:
        """Call a tool and answer within `deadline_ms`, whatever the server does.

        A refusal by the tool itself is a result with `error` set. Raises ToolFailed otherwise: no answer in time
        (`timeout`), no connection (`http_error`), a lost connection or an unreadable answer (`protocol_error`).
        """
        link = self._links.get(server)
        if link is None:
            raise ToolFailed(f"There is no tool server {server}.", kind="unknown_tool")
        longest_ms = self._answer_ms[server]
        return await link.call(tool, arguments, deadline_ms if longest_ms is None else min(deadline_ms, longest_ms))

    def _not_loaded(self, fault: BaseException) -> None:
        log.error("the MCP SDK cannot be loaded", extra={"kind": type(fault).__name__, "place": place_of(fault)})

    def _link(self, server: McpServer) -> Link:
        times = self._times
        if not isinstance(server, InProcessServer) and server.startup_ms is not None:
            times = replace(times, connect_ms=server.startup_ms)
        return Link(server.label, partial(self._open, server), times, starts=isinstance(server, StdioServer))

    def _open(self, server: McpServer) -> AbstractAsyncContextManager[Connection]:
        if self._dial is None:
            raise ToolFailed("the MCP SDK cannot be loaded", kind="http_error")
        return self._dial(server, self._bounds)


def _load_sdk() -> None:
    importlib.import_module(_SDK).load_the_rest()


def _answer_ms(server: McpServer) -> int | None:
    return None if isinstance(server, InProcessServer) else server.answer_ms


def _transports(servers: Mapping[str, McpServer]) -> dict[str, str]:
    """How each server that is a process of its own is reached, in the words of OpenTelemetry."""
    found = {label: "pipe" for label, server in servers.items() if isinstance(server, StdioServer)}
    return found | {label: "tcp" for label, server in servers.items() if isinstance(server, HttpServer)}
