"""Keeps one MCP server connected, and calls its tools so that a caller always gets an answer in time.

The SDK's client cannot be trusted with a caller's task: a lost HTTP connection cancels the task that opened the client,
it never reconnects, and a broken peer can leave it hanging. So each connection lives in a task of its own, each call in
another, none of them in a group that somebody shares, and callers only wait for those, never inside them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from functools import partial

from gateway.clock import loop_s
from gateway.guard import Boundary, ForeignTasks, innermost, place_of
from gateway.tools.connection import Attempt, Connection, ConnectionGone, Live, McpTool, NeverRan, checked_tools
from gateway.tools.contract import ToolResult
from sessions.errors import ToolFailed
from sessions.ports import JsonObject

log = logging.getLogger(__name__)

UNKNOWN = "It may or may not have been done."
NOT_DONE = "It was not done."


@dataclass(frozen=True, slots=True)
class LinkTimes:
    """How patient a link is."""

    connect_ms: int = 60_000  # to start a server, greet it, and list its tools
    progress_ms: int = 10_000  # between log lines that say that a server is still being connected
    goodbye_ms: int = 7_000  # to close a connection; a child process has 6.5 s
    linger_ms: int = 60_000  # that calls in flight may go on when their connection takes no new ones
    wait_ms: int = 3_000  # that a call waits for a server that is being connected
    wait_dead_ms: int = 500  # the same, for a server that refused several times in a row
    first_retry_ms: int = 200
    last_retry_ms: int = 30_000  # a call that needs the server does not wait for this
    hurried_retry_ms: int = 2_000  # but for this, where the last attempt failed as well
    refresh_ms: int = 60_000  # between looks at the list of tools, which also find a dead peer
    list_ms: int = 15_000  # for such a look
    settle_ms: int = 500  # between a hint and the look that it causes: hints come in crowds


PATIENT_FAILURES = 3  # so many failures in a row, and a server counts as dead


class Link:
    """One MCP server, kept connected for as long as `run` runs."""

    def __init__(
        self,
        label: str,
        dial: Callable[[], AbstractAsyncContextManager[Connection]],
        times: LinkTimes,
        *,
        starts: bool = False,
    ) -> None:
        """`starts`: the dial starts a program, and a call waits for that for as long as its own deadline allows."""
        self._label = label
        self._dial = dial
        self._times = times
        self._starts = starts
        self._live: Live | None = None
        self._news = asyncio.Event()  # set, and replaced, when an attempt has gone well or not
        self._settled = asyncio.Event()
        self._wanted = asyncio.Event()  # a caller waits, or we close: do not sleep
        self._closed = asyncio.Event()
        self._failures = 0
        self._proven = False  # the connection has been of use
        self._dialling = False
        self._newest: Attempt | None = None
        self._attempts: dict[Attempt, asyncio.Task[None]] = {}
        self._tasks = ForeignTasks()
        self.tools: dict[str, McpTool] = {}
        self.problem: str | None = "not connected yet"

    async def settled(self) -> None:
        """Wait until the first attempt to connect has ended, well or not, or was waited for long enough."""
        await self._settled.wait()

    def waited_enough(self) -> None:
        """Let nobody wait for the first attempt any more."""
        self._settled.set()

    def close(self) -> None:
        """Let `run` end: calls in flight are dropped, the server is told goodbye."""
        self._closed.set()
        self._wanted.set()
        for attempt in self._attempts:
            attempt.give_up(drop=True)

    async def run(self) -> None:
        """Connect, and connect again after each loss, until `close`. When cancelled, it closes first."""
        retry_ms = self._times.first_retry_ms
        try:
            while not self._closed.is_set():
                await self._one_connection()
                least_ms = min(retry_ms, self._times.hurried_retry_ms)
                if self._proven:
                    self._proven = False
                    retry_ms, least_ms = self._times.first_retry_ms, 0
                await self._pause(least_ms, retry_ms)
                retry_ms = min(retry_ms * 2, self._times.last_retry_ms)
        finally:
            self.close()
            await self._ended(set(self._attempts.values()))

    async def call(self, tool: str, arguments: JsonObject, deadline_ms: int) -> ToolResult:
        """Call a tool and answer by the deadline; once more if it did not run, or if repeating does no harm.

        Raises ToolFailed with what is known: done, not done, or neither. Cancelling this returns at once.
        """
        until_s = loop_s() + deadline_ms / 1000
        for last in (False, True):
            live = await self._connected(until_s)
            outcome: object = None
            try:
                async with asyncio.timeout_at(until_s):
                    outcome = await live.call(tool, arguments, deadline_ms)
            except TimeoutError:
                raise ToolFailed(self._told("The service did not answer in time.", tool), kind="timeout") from None
            match outcome:
                case ToolResult(text=str()):
                    self._proven = True
                    return outcome
                case ToolFailed():
                    raise outcome
                case NeverRan():
                    self._lose(live, "the server does not know the connection any more")
                    if last:
                        raise ToolFailed(f"The service cannot be reached at the moment. {NOT_DONE}", kind="http_error")
                case ConnectionGone() | asyncio.CancelledError():
                    self._lose(live, "the connection was lost")
                    if last or not self._repeatable(tool):
                        raise ToolFailed(
                            self._told("The connection was lost before there was an answer.", tool),
                            kind="protocol_error",
                        )
                case _:
                    _log_odd(self._label, tool, outcome)
                    raise ToolFailed(
                        self._told("The service gave an answer that cannot be read.", tool),
                        kind="protocol_error",
                    )
        raise AssertionError("a second try returns or raises")

    def _repeatable(self, tool: str) -> bool:
        known = self.tools.get(tool)
        return known is not None and known.repeatable

    def _told(self, words: str, tool: str) -> str:
        """The words, and that the outcome is unknown where that matters."""
        return words if self._repeatable(tool) else f"{words} {UNKNOWN}"

    async def _connected(self, until_s: float) -> Live:
        patient = self._failures < PATIENT_FAILURES
        wait_s = (self._times.wait_ms if patient else self._times.wait_dead_ms) / 1000
        soon_s = min(until_s, loop_s() + wait_s)
        while self._live is None:
            starting = patient and self._starts and self._dialling
            limit_s = until_s if starting else soon_s
            if loop_s() >= limit_s or self._closed.is_set():
                what = "is still starting" if starting else "cannot be reached at the moment"
                kind = "timeout" if limit_s == until_s else "http_error"
                raise ToolFailed(f"The service {what}. {NOT_DONE}", kind=kind)
            self._wanted.set()
            news = self._news
            with suppress(TimeoutError):
                async with asyncio.timeout_at(limit_s):
                    await news.wait()
        return self._live

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    def _lose(self, live: Live, why: str, *, drop: bool = False) -> None:
        """Take no new calls to a connection, and end it once its calls have ended; a newer one is left alone."""
        if self._live is live:
            self._live = None
            self.problem = why
        live.attempt.give_up(drop=drop)

    async def _pause(self, least_ms: int, longest_ms: int) -> None:
        """Wait before the next attempt: not so long when a caller waits, but always for `least_ms`."""
        for event, wait_ms in ((self._closed, least_ms), (self._wanted, max(longest_ms - least_ms, 0))):
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_ms / 1000):
                    await event.wait()

    # ---- one connection

    async def _one_connection(self) -> None:
        """Open a connection and stay until it takes no more calls; what is left of it ends in the background."""
        self._wanted.clear()
        attempt = self._newest = Attempt()
        task = self._attempts[attempt] = self._tasks.start(self._serve(attempt), partial(self._broke, attempt))
        task.add_done_callback(lambda task: self._attempts.pop(attempt, None))
        try:
            self._dialling = True
            await self._dialled(task, attempt)
            self._dialling = False
            self._settled.set()
            self._tell()
            if attempt.ready.done():
                await asyncio.wait({task, attempt.end}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._dialling = False
            # A program is gone before it is started again; calls over HTTP go on beside a new connection.
            drop = self._starts or not attempt.ready.done() or self._closed.is_set()
            attempt.give_up(drop=drop)
            if not attempt.ready.done():
                task.cancel()
            if drop:
                await self._ended({task})

    async def _dialled(self, task: asyncio.Task[None], attempt: Attempt) -> None:
        """Wait until it is connected or has failed, and say in the log when it takes long."""
        begin_s = loop_s()
        limit_s = begin_s + self._times.connect_ms / 1000
        over: set[asyncio.Future[None]] = {task, attempt.ready, attempt.end}
        while not any(one.done() for one in over) and (left_s := limit_s - loop_s()) > 0:
            pause_s = min(left_s, self._times.progress_ms / 1000)
            done, _ = await asyncio.wait(over, timeout=pause_s, return_when=asyncio.FIRST_COMPLETED)
            if not done and loop_s() < limit_s:
                fields = {"server": self._label, "waited_ms": round(1000 * (loop_s() - begin_s))}
                log.info("mcp server is still being connected", extra=fields)
        if not any(one.done() for one in over):
            self._failed("it did not answer in time")
        elif task.done() and task.cancelled() and not attempt.ready.done():
            self._failed("the connection was lost while it was being opened")

    async def _ended(self, tasks: set[asyncio.Task[None]]) -> None:
        """Wait until connections are closed; one that will not close is left behind."""
        if tasks:
            await asyncio.wait(tasks, timeout=self._times.goodbye_ms / 1000)
        for task in tasks:
            if not task.done():
                log.error("mcp connection would not close and was left behind", extra={"server": self._label})
                task.cancel()

    async def _serve(self, attempt: Attempt) -> None:
        """One connection's whole life. Whatever breaks it goes to `_broke`, and the next connection is tried."""
        async with self._dial() as connection:
            tools = checked_tools(await connection.list_tools())
            if attempt.end.done():
                return
            live = Live(connection, attempt)
            self._arrived(live, tools)
            try:
                live.jobs.start(connection.listen(live.look_again.set), partial(_log_deaf, self._label))
                live.jobs.start(self._keep_fresh(live), partial(self._stopped, live))
                await asyncio.wait({attempt.end})
                await live.idle(self._times.linger_ms)
            finally:
                self._lose(live, "the connection was lost")
                await live.jobs.close(0)

    async def _keep_fresh(self, live: Live) -> None:
        """List the tools again on a hint, and now and then without one; a peer that cannot do that is lost."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._times.refresh_ms / 1000):
                    await live.look_again.wait()
                    await asyncio.sleep(self._times.settle_ms / 1000)
            live.look_again.clear()
            async with asyncio.timeout(self._times.list_ms / 1000):
                tools = checked_tools(await live.connection.list_tools())
            if self._live is live:
                self._proven = True
                self.tools = tools

    def _stopped(self, live: Live, fault: BaseException) -> None:
        """A look at the list of tools failed. Calls go on where only the session is gone."""
        why = fault.message if isinstance(fault, ToolFailed) else "it stopped answering"
        self._lose(live, why, drop=not isinstance(fault, NeverRan))

    def _arrived(self, live: Live, tools: dict[str, McpTool]) -> None:
        self._live = live
        self._failures = 0
        self.problem = None
        self.tools = tools
        live.attempt.ready.set_result(None)
        self._tell()
        log.info("mcp server connected", extra={"server": self._label, "tools": len(tools)})

    def _broke(self, attempt: Attempt, fault: BaseException) -> None:
        if attempt is self._newest and self._live is None:  # else it is one of which only the end is left
            self._failed(_reason(fault, private=attempt.ready.done()))

    def _failed(self, why: str) -> None:
        self._failures += 1
        news = why != self.problem or self._failures <= PATIENT_FAILURES
        self.problem = why
        if news and not self._closed.is_set():
            log.warning("mcp server not connected", extra={"server": self._label, "reason": why})


def _log_odd(label: str, tool: str, outcome: object) -> None:
    fields: dict[str, object] = {"server": label, "tool": tool, "kind": type(outcome).__name__}
    if isinstance(outcome, BaseException):
        fields |= {"kind": type(innermost(outcome)).__name__, "place": place_of(outcome)}
    log.error("mcp call broke", extra=fields)


def _log_deaf(label: str, fault: BaseException) -> None:
    """A server's news are heard no more; its list of tools is still looked at now and then."""
    log.info("mcp server cannot be listened to", extra={"server": label, "kind": type(innermost(fault)).__name__})


def _reason(fault: BaseException, *, private: bool) -> str:
    """The innermost reason, for operators. Once calls have run, only its kind: the rest may hold callers' words."""
    fault = innermost(fault)
    if isinstance(fault, ToolFailed):
        return fault.message
    if isinstance(fault, ConnectionGone | NeverRan):
        return str(fault) or "the connection was lost"
    kind = type(fault).__name__
    words = ""
    if not private:
        with Boundary(lambda broken: None):  # even `str` may be a stranger's
            words = str(fault)[:200]
    return f"{kind}: {words}" if words else kind
