"""One connection to an MCP server: what it must offer, and what is kept about one while it is open."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
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
    """The connection was lost; whether the request was carried out is not known."""


class NeverRan(Exception):
    """The connection, or the session that the server keeps for it, is no more, and the request was not carried out."""


@dataclass(frozen=True, slots=True)
class McpTool:
    """A tool as its server describes it. `repeatable`: doing it twice does no more than doing it once."""

    spec: ToolSpec
    repeatable: bool


@dataclass(frozen=True, slots=True)
class AnswerBounds:
    """How much a server may answer at once, and how much of it a model is given."""

    answer_bytes: int = MAX_ANSWER_BYTES
    result_bytes: int = MAX_RESULT_BYTES


class Connection(Protocol):
    """One open connection to an MCP server."""

    async def list_tools(self) -> tuple[McpTool, ...]:
        """All tools, every page. Raises ConnectionGone, NeverRan or ToolFailed."""
        ...

    async def call(self, tool: str, arguments: JsonObject, deadline_ms: int) -> ToolResult:
        """Call a tool. Raises ConnectionGone, NeverRan or ToolFailed; `deadline_ms` is only a hint to stop trying."""
        ...

    async def listen(self, look_again: Callable[[], None]) -> None:
        """Call `look_again` whenever the tools may have changed or the peer may have died; may return early."""
        ...


class Attempt:
    """One try at a connection, from the dial to the goodbye, as its task and those who wait for it see it."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[None] = loop.create_future()  # the tools are known
        self.end: asyncio.Future[None] = loop.create_future()  # the connection is lost, or no longer wanted
        self.dropped: asyncio.Future[None] = loop.create_future()  # and so are the calls that still run on it

    def give_up(self, *, drop: bool) -> None:
        """Let it end; once more does nothing. `drop`: with the calls that still run on it."""
        for future in (self.end, self.dropped) if drop else (self.end,):
            if not future.done():
                future.set_result(None)


class Live:
    """An open connection and the jobs that run on it."""

    def __init__(self, connection: Connection, attempt: Attempt) -> None:
        self.connection = connection
        self.attempt = attempt
        self.look_again = asyncio.Event()
        self.jobs = ForeignTasks()
        self._calls = 0
        self._last_calls = False

    async def call(self, tool: str, arguments: JsonObject, deadline_ms: int) -> object:
        """What the connection gave back, or whatever it raised. A caller that is cancelled leaves at once."""
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
                self.look_again.set()  # nobody waits this long for a healthy peer
            self._calls -= 1
            if self._last_calls and not self._calls:
                self.attempt.give_up(drop=True)

    async def idle(self, linger_ms: int) -> None:
        """Wait until no call runs any more, for so long, or until they are dropped."""
        self._last_calls = True
        if self._calls:
            await asyncio.wait({self.attempt.dropped}, timeout=linger_ms / 1000)


def checked_tools(tools: object) -> dict[str, McpTool]:
    """The tools by name. Raises ToolFailed where a connection gave something else."""
    if not isinstance(tools, tuple) or not all(isinstance(tool, McpTool) for tool in tools):
        raise ToolFailed("its list of tools cannot be read", kind="protocol_error")
    return {tool.spec.name: tool for tool in tools}
