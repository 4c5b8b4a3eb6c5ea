"""Keeps one MCP server connected, and calls its tools so that a caller always gets an answer in time.

The SDK's client cannot be trusted with a caller's task: a lost HTTP connection cancels the task that opened the client,
it never reconnects, and a broken peer can leave it hanging. So each connection lives in a task of its own, each call in
a task of that connection, and callers only wait for those, never inside them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from typing import Protocol

from gateway.tools.contract import ToolResult
from sessions.errors import ToolFailed
from sessions.ports import JsonObject
from sessions.setup import ToolSpec

log = logging.getLogger(__name__)


class ConnectionGone(Exception):
    """The connection was lost; whether the request was carried out is not known."""


@dataclass(frozen=True, slots=True)
class McpTool:
    """A tool as its server describes it. `repeatable`: doing it twice does no more than doing it once."""

    spec: ToolSpec
    repeatable: bool


class Connection(Protocol):
    """One open connection to an MCP server."""

    async def list_tools(self) -> tuple[McpTool, ...]:
        """All tools, every page. Raises ConnectionGone or ToolFailed."""
        ...

    async def call(self, tool: str, arguments: JsonObject, deadline_ms: int) -> ToolResult:
        """Call a tool. Raises ConnectionGone or ToolFailed; `deadline_ms` is only a hint to stop trying."""
        ...

    async def listen(self, look_again: Callable[[], None]) -> None:
        """Call `look_again` whenever the tools may have changed or the peer may have died; may return early."""
        ...


@dataclass(frozen=True, slots=True)
class LinkTimes:
    """How patient a link is."""

    connect_ms: int = 15_000  # to start a server, greet it, and list its tools
    goodbye_ms: int = 7_000  # to close a connection; the SDK allows a child process 6.5 s
    wait_ms: int = 3_000  # that a call waits for a server that is being connected
    wait_dead_ms: int = 500  # the same, for a server that refused several times in a row
    first_retry_ms: int = 200
    last_retry_ms: int = 30_000  # a call that needs the server does not wait for this
    refresh_ms: int = 60_000  # between looks at the list of tools, which also find a dead peer
    settle_ms: int = 500  # between a hint and the look that it causes: hints come in crowds


PATIENT_FAILURES = 3  # so many failures in a row, and a server counts as dead


class _Attempt:
    """One try at a connection, from the dial to the goodbye, as its task and those who wait for it see it."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[None] = loop.create_future()  # the tools are known
        self.end: asyncio.Future[None] = loop.create_future()  # the connection is lost, or no longer wanted

    def give_up(self) -> None:
        """Let it end; once more does nothing."""
        if not self.end.done():
            self.end.set_result(None)


class _Live:
    """An open connection and the calls that run on it."""

    def __init__(self, connection: Connection, tasks: asyncio.TaskGroup, attempt: _Attempt) -> None:
        self.connection = connection
        self.attempt = attempt
        self.look_again = asyncio.Event()
        self._tasks = tasks
        self._calls: set[asyncio.Task[ToolResult | ToolFailed | None]] = set()

    async def call(self, tool: str, arguments: JsonObject, deadline_ms: int) -> ToolResult | ToolFailed | None:
        """The outcome, None when the connection was lost. A caller that is cancelled leaves at once."""
        coroutine = self._outcome(tool, arguments, deadline_ms)
        try:
            task = self._tasks.create_task(coroutine)
        except RuntimeError:  # the group is closing down this very moment
            coroutine.close()
            return None
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        try:
            await asyncio.wait({task})
        finally:
            if not task.done():
                task.cancel()
                self.look_again.set()  # nobody waits this long for a healthy peer
        return None if task.cancelled() else task.result()

    def drop_calls(self) -> None:
        for task in self._calls:
            task.cancel()

    async def _outcome(self, tool: str, arguments: JsonObject, deadline_ms: int) -> ToolResult | ToolFailed | None:
        try:
            return await self.connection.call(tool, arguments, deadline_ms)
        except ToolFailed as failed:
            return failed
        except ConnectionGone:
            return None


class Link:
    """One MCP server, kept connected for as long as `run` runs."""

    def __init__(
        self, label: str, dial: Callable[[], AbstractAsyncContextManager[Connection]], times: LinkTimes
    ) -> None:
        self._label = label
        self._dial = dial
        self._times = times
        self._live: _Live | None = None
        self._up = asyncio.Event()
        self._settled = asyncio.Event()
        self._wanted = asyncio.Event()  # a caller waits, or we close: do not sleep
        self._closing = False
        self._failures = 0
        self._proven = False  # the connection has been of use
        self._attempt: _Attempt | None = None
        self._left_behind: set[asyncio.Task[None]] = set()
        self.tools: dict[str, McpTool] = {}
        self.problem: str | None = "not connected yet"

    async def settled(self) -> None:
        """Wait until the first attempt to connect has ended, well or not."""
        await self._settled.wait()

    def close(self) -> None:
        """Let `run` end: calls in flight are dropped, the server is told goodbye."""
        self._closing = True
        self._wanted.set()
        if self._attempt is not None:
            self._attempt.give_up()

    async def run(self) -> None:
        """Connect, and connect again after each loss, until `close`. When cancelled, it closes first."""
        retry_ms = self._times.first_retry_ms
        while not self._closing:
            await self._one_connection()
            if self._proven:
                self._proven = False
                retry_ms = self._times.first_retry_ms
            self._wanted.clear()
            if self._closing:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(retry_ms / 1000):
                    await self._wanted.wait()
            retry_ms = min(retry_ms * 2, self._times.last_retry_ms)

    async def call(self, tool: str, arguments: JsonObject, deadline_ms: int) -> ToolResult:
        """Call a tool; once more if the connection was lost and repeating does no harm. Raises ToolFailed.

        The caller keeps its own deadline; cancelling this returns at once, whatever the peer does.
        """
        for last in (False, True):
            live = await self._connected()
            outcome = await live.call(tool, arguments, deadline_ms)
            if isinstance(outcome, ToolFailed):
                raise outcome
            if outcome is not None:
                self._proven = True
                return outcome
            self._lose(live, "the connection was lost")
            known = self.tools.get(tool)
            if last or known is None or not known.repeatable:
                break
        raise ToolFailed(
            "The connection was lost before there was an answer. It may or may not have been done.",
            kind="protocol_error",
        )

    async def _connected(self) -> _Live:
        wait_ms = self._times.wait_ms if self._failures < PATIENT_FAILURES else self._times.wait_dead_ms
        if self._live is None:
            self._wanted.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_ms / 1000):
                    await self._up.wait()
        if self._live is None:
            raise ToolFailed("The service cannot be reached at the moment.", kind="http_error")
        return self._live

    def _lose(self, live: _Live, why: str) -> None:
        """Give up a connection; a newer one is left alone."""
        if self._live is live:
            self._live = None
            self._up.clear()
            self.problem = why
            live.attempt.give_up()

    async def _one_connection(self) -> None:
        """Open a connection and stay until it is over; leave a task that will not end behind."""
        attempt = self._attempt = _Attempt()
        ready, end = attempt.ready, attempt.end
        task = asyncio.create_task(self._serve(attempt), name=f"mcp {self._label}")
        try:
            await asyncio.wait(
                {task, ready, end}, timeout=self._times.connect_ms / 1000, return_when=asyncio.FIRST_COMPLETED
            )
            if not (task.done() or ready.done() or end.done()):
                self._failed("it did not answer in time")
            self._settled.set()
            if ready.done():
                await asyncio.wait({task, end}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            attempt.give_up()
            if not ready.done():
                task.cancel()
            await asyncio.wait({task}, timeout=self._times.goodbye_ms / 1000)
            if not task.done():
                log.error("mcp connection would not close and was left behind", extra={"server": self._label})
                self._left_behind.add(task)
                task.add_done_callback(self._left_behind.discard)
                task.cancel()

    async def _serve(self, attempt: _Attempt) -> None:
        """One connection's whole life. Whatever breaks it ends here, and the next connection is tried."""
        try:
            async with self._dial() as connection:
                tools = await connection.list_tools()
                if attempt.ready.done() or attempt.end.done():
                    return
                async with asyncio.TaskGroup() as tasks:
                    await self._stay(_Live(connection, tasks, attempt), tools, tasks)
        except Exception as error:
            # The supervisor's own catch: an MCP connection can fail with anything, and costs only itself.
            self._failed(_reason(error, private=attempt.ready.done()))

    async def _stay(self, live: _Live, tools: tuple[McpTool, ...], tasks: asyncio.TaskGroup) -> None:
        self._arrived(live, tools)
        live.attempt.ready.set_result(None)
        helpers = (
            tasks.create_task(live.connection.listen(live.look_again.set)),
            tasks.create_task(self._keep_fresh(live)),
        )
        try:
            await asyncio.wait({live.attempt.end})
        finally:
            self._lose(live, "the connection was lost")
            live.drop_calls()
            for helper in helpers:
                helper.cancel()

    async def _keep_fresh(self, live: _Live) -> None:
        """List the tools again on a hint, and now and then without one; a peer that cannot do that is lost."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._times.refresh_ms / 1000):
                    await live.look_again.wait()
                    await asyncio.sleep(self._times.settle_ms / 1000)
            live.look_again.clear()
            try:
                async with asyncio.timeout(self._times.connect_ms / 1000):
                    tools = await live.connection.list_tools()
            except (TimeoutError, ConnectionGone, ToolFailed):
                self._lose(live, "it stopped answering")
                return
            if self._live is live:
                self._proven = True
                self.tools = {tool.spec.name: tool for tool in tools}

    def _arrived(self, live: _Live, tools: tuple[McpTool, ...]) -> None:
        self._live = live
        self._failures = 0
        self.problem = None
        self.tools = {tool.spec.name: tool for tool in tools}
        self._up.set()
        log.info("mcp server connected", extra={"server": self._label, "tools": len(tools)})

    def _failed(self, why: str) -> None:
        self._failures += 1
        news = why != self.problem or self._failures <= PATIENT_FAILURES
        self.problem = why
        if news and not self._closing:
            log.warning("mcp server not connected", extra={"server": self._label, "reason": why})


def _reason(error: BaseException, *, private: bool) -> str:
    """The innermost reason, for operators. Once calls have run, only its kind: the rest may hold callers' words."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return type(error).__name__ if private else f"{type(error).__name__}: {str(error)[:200]}"
