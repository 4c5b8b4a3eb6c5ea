"""One connection to an MCP server: the interface that it meets, and the state that is kept while it is open."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

from gateway.guard import Boundary, ForeignTasks
from gateway.tools.contract import ToolResult
from sessions.errors import ToolFailed
from sessions.ports import JsonObject
from sessions.setup import ToolSpec

MAX_RESULT_BYTES = 16 * 1024
MAX_ANSWER_BYTES = 1 << 20


class ConnectionGone(Exception):
    """The connection was lost, and it is not known whether the request was carried out."""


class NeverRan(Exception):
    """The connection, or the server's session for it, no longer exists, and the request was not carried out."""


# The W3C header of the tool call that runs in this task, for the server. The tasks that carry a call out inherit it.
TRACEPARENT: ContextVar[str | None] = ContextVar("traceparent", default=None)


@dataclass(frozen=True, slots=True)
class McpTool:
    """A tool as its server describes it. `repeatable`: calling it twice has the same effect as calling it once."""

    spec: ToolSpec
    repeatable: bool


@dataclass(frozen=True, slots=True)
class AnswerBounds:
    """How many bytes a server may answer at once, and how many bytes of a result a model is given."""

    answer_bytes: int = MAX_ANSWER_BYTES
    result_bytes: int = MAX_RESULT_BYTES


class Connection(Protocol):
    """One open connection to an MCP server."""

    async def list_tools(self) -> tuple[McpTool, ...]:
        """All tools, from every page. Raises ConnectionGone, NeverRan or ToolFailed."""
        ...

    async def call(self, tool: str, arguments: JsonObject, deadline_ms: int) -> ToolResult:
        """Call a tool; `deadline_ms` is only a hint to stop trying. Raises ConnectionGone, NeverRan or ToolFailed."""
        ...

    async def listen(self, look_again: Callable[[], None]) -> None:
        """Call `look_again` whenever the tools may have changed or the peer may have died. May return early."""
        ...


class Attempt:
    """The state of one attempt at a connection, shared by its task and those who wait for it."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[None] = loop.create_future()  # the list of tools is known
        self.end: asyncio.Future[None] = loop.create_future()  # the connection is lost, or no longer wanted
        self.dropped: asyncio.Future[None] = loop.create_future()  # the calls that still run on it are dropped as well

    def give_up(self, *, drop: bool) -> None:
        """End the attempt; a repeated call does nothing. `drop` also drops the calls that still run on it."""
        for future in (self.end, self.dropped) if drop else (self.end,):
            if not future.done():
                future.set_result(None)


class OpenConnection:
    """An open connection and the jobs that run on it."""

    def __init__(self, connection: Connection, attempt: Attempt) -> None:
        self.connection = connection
        self.attempt = attempt
        self.look_again = asyncio.Event()
        self.jobs = ForeignTasks()
        self._calls = 0
        self._last_calls = False

    async def call(self, tool: str, arguments: JsonObject, deadline_ms: int) -> object:
        """Return what the connection returned or raised. A cancelled caller continues at once."""
        found: list[BaseException] = []
        self._calls += 1
        waiting = True
        try:
            with Boundary(found.append):
                outcome = await self.jobs.result(self.connection.call(tool, arguments, deadline_ms))
                waiting = False
                return outcome
            waiting = False
            return found[0]
        finally:
            if waiting:
                self.look_again.set()  # a healthy peer would have answered by now
            self._calls -= 1
            if self._last_calls and not self._calls:
                self.attempt.give_up(drop=True)

    async def idle(self, linger_ms: int) -> None:
        """Wait until no call runs any more, for at most `linger_ms`, or until the calls are dropped."""
        self._last_calls = True
        if self._calls:
            await asyncio.wait({self.attempt.dropped}, timeout=linger_ms / 1000)


def checked_tools(tools: object) -> dict[str, McpTool]:
    """The tools by name. Raises ToolFailed where the connection returned something else than a tuple of tools."""
    if not isinstance(tools, tuple) or not all(isinstance(tool, McpTool) for tool in tools):
        raise ToolFailed("its list of tools cannot be read", kind="protocol_error")
    return {tool.spec.name: tool for tool in tools}
