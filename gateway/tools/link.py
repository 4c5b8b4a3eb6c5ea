"""Keeps one MCP server connected, and calls its tools so that every caller gets an answer in time.

The SDK's client must not run in a caller's task: a lost HTTP connection cancels the task that opened the client, the
client never reconnects, and a broken peer can leave it hanging. So each connection runs in a task of its own and each
call in another, none of them in a shared task group, and callers only wait for those tasks.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from functools import partial

from gateway.clock import loop_s
from gateway.guard import Boundary, ForeignTasks, innermost, place_of
from gateway.tools.connection import (
    Attempt,
    Connection,
    ConnectionGone,
    McpTool,
    NeverRan,
    OpenConnection,
    checked_tools,
)
from gateway.tools.contract import ToolResult
from sessions.errors import ToolFailed
from sessions.ports import JsonObject

log = logging.getLogger(__name__)

UNKNOWN = "It may or may not have been done."
NOT_DONE = "It was not done."


@dataclass(frozen=True, slots=True)
class LinkTimes:
    """The timeouts and retry pauses of a link, in ms."""

    # To start a server, initialize the session and list its tools.
    connect_ms: int = 60_000
    # Between log lines that say that a server is still being connected.
    progress_ms: int = 10_000
    # To close a connection; a child process has 6.5 s.
    goodbye_ms: int = 7_000
    # How long running calls may continue on a connection that takes no new calls.
    linger_ms: int = 60_000
    # How long a call waits for a server that is being connected.
    wait_ms: int = 3_000
    # The same, for a server that has refused several times in a row.
    wait_dead_ms: int = 500
    first_retry_ms: int = 200
    # The longest pause between attempts. A call that needs the server shortens it to `hurried_retry_ms` where the last
    # attempt failed as well, and else to nothing.
    last_retry_ms: int = 30_000
    hurried_retry_ms: int = 2_000
    # Between checks of the list of tools, which also detect a dead peer.
    refresh_ms: int = 60_000
    # The timeout of such a check.
    list_ms: int = 15_000
    # Between a hint and the check that it causes, because hints arrive in bursts.
    settle_ms: int = 500


# After this many failures in a row a server counts as dead.
PATIENT_FAILURES = 3


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
        """`starts`: dialling starts a program, and a call waits for it as long as the call's own deadline allows."""
        self._label = label
        self._dial = dial
        self._times = times
        self._starts = starts
        self._live: OpenConnection | None = None
        # Set, and replaced by a new event, when an attempt has succeeded or failed.
        self._attempt_ended = asyncio.Event()
        self._settled = asyncio.Event()
        self._hurry = asyncio.Event()  # a caller waits, or the link closes: do not pause
        self._closed = asyncio.Event()
        self._failures = 0
        self._worked = False  # the connection has served at least one request
        self._dialling = False
        self._newest: Attempt | None = None
        self._attempts: dict[Attempt, asyncio.Task[None]] = {}
        self._tasks = ForeignTasks()
        self.tools: dict[str, McpTool] = {}
        self.connects: Counter[str] = Counter()  # attempts, by outcome: connected, failed
        self.problem: str | None = "not connected yet"

    async def settled(self) -> None:
        """Wait until the first attempt to connect has ended, or until `waited_enough` is called."""
        await self._settled.wait()

    def waited_enough(self) -> None:
        """Let `settled` return although the first attempt has not ended."""
        self._settled.set()

    def close(self) -> None:
        """Let `run` end: running calls are dropped and the connection to the server is closed."""
        self._closed.set()
        self._hurry.set()
        for attempt in self._attempts:
            attempt.give_up(drop=True)

    async def run(self) -> None:
        """Connect, and connect again after each loss, until `close`. On cancellation it closes first."""
        retry_ms = self._times.first_retry_ms
        try:
            while not self._closed.is_set():
                await self._one_connection()
                least_ms = min(retry_ms, self._times.hurried_retry_ms)
                if self._worked:
                    self._worked = False
                    retry_ms, least_ms = self._times.first_retry_ms, 0
                await self._pause(least_ms, retry_ms)
                retry_ms = min(retry_ms * 2, self._times.last_retry_ms)
        finally:
            self.close()
            await self._ended(set(self._attempts.values()))

    async def call(self, tool: str, arguments: JsonObject, deadline_ms: int) -> ToolResult:
        """Call a tool and answer by the deadline. Calls it a second time if it did not run or if it may be repeated.

        Raises ToolFailed, which says whether the work was done, was not done, or may have been done. A cancelled caller
        continues at once.
        """
        until_s = loop_s() + deadline_ms / 1000
        for last in (False, True):
            live = await self._connected(until_s)
            outcome: object = None
            try:
                async with asyncio.timeout_at(until_s):
                    outcome = await live.call(tool, arguments, deadline_ms)
            except TimeoutError:
                raise ToolFailed(
                    _with_outcome("The service did not answer in time.", repeatable=self._repeatable(tool)),
                    kind="timeout",
                ) from None
            match outcome:
                case ToolResult(text=str()):
                    self._worked = True
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
                            _with_outcome(
                                "The connection was lost before there was an answer.", repeatable=self._repeatable(tool)
                            ),
                            kind="protocol_error",
                        )
                case _:
                    _log_unreadable(self._label, tool, outcome)
                    raise ToolFailed(
                        _with_outcome(
                            "The service gave an answer that cannot be read.", repeatable=self._repeatable(tool)
                        ),
                        kind="protocol_error",
                    )
        raise AssertionError("a second try returns or raises")

    def _repeatable(self, tool: str) -> bool:
        known = self.tools.get(tool)
        return known is not None and known.repeatable

    async def _connected(self, until_s: float) -> OpenConnection:
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
            self._hurry.set()
            news = self._attempt_ended
            with suppress(TimeoutError):
                async with asyncio.timeout_at(limit_s):
                    await news.wait()
        return self._live

    def _wake_waiters(self) -> None:
        news, self._attempt_ended = self._attempt_ended, asyncio.Event()
        news.set()

    def _lose(self, live: OpenConnection, why: str, *, drop: bool = False) -> None:
        """Send no new calls to a connection, and end it once its calls have ended. Leaves a newer one alone."""
        if self._live is live:
            self._live = None
            self.problem = why
        live.attempt.give_up(drop=drop)

    async def _pause(self, least_ms: int, longest_ms: int) -> None:
        """Pause before the next attempt: at least `least_ms`, then until a caller waits or `longest_ms` are over."""
        for event, wait_ms in ((self._closed, least_ms), (self._hurry, max(longest_ms - least_ms, 0))):
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_ms / 1000):
                    await event.wait()

    # ---- one connection

    async def _one_connection(self) -> None:
        """Open a connection and wait until it takes no more calls; its remaining calls end in the background."""
        self._hurry.clear()
        attempt = self._newest = Attempt()
        task = self._attempts[attempt] = self._tasks.start(self._serve(attempt), partial(self._on_fault, attempt))
        task.add_done_callback(lambda task: self._attempts.pop(attempt, None))
        try:
            self._dialling = True
            await self._dialled(task, attempt)
            self._dialling = False
            self._settled.set()
            self._wake_waiters()
            if not self._closed.is_set():
                self.connects["connected" if attempt.ready.done() else "failed"] += 1
            if attempt.ready.done():
                await asyncio.wait({task, attempt.end}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._dialling = False
            # A program must have ended before it is started again. Calls over HTTP continue beside a new connection.
            drop = self._starts or not attempt.ready.done() or self._closed.is_set()
            attempt.give_up(drop=drop)
            if not attempt.ready.done():
                task.cancel()
            if drop:
                await self._ended({task})

    async def _dialled(self, task: asyncio.Task[None], attempt: Attempt) -> None:
        """Wait until the attempt has connected or failed, and log when that takes long."""
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
        """Wait until connections are closed. One that does not close is abandoned."""
        if tasks:
            await asyncio.wait(tasks, timeout=self._times.goodbye_ms / 1000)
        for task in tasks:
            if not task.done():
                log.error("mcp connection did not close and was abandoned", extra={"server": self._label})
                task.cancel()

    async def _serve(self, attempt: Attempt) -> None:
        """Run one connection from dialling to closing. A fault goes to `_on_fault`, and `run` tries the next one."""
        async with self._dial() as connection:
            tools = checked_tools(await connection.list_tools())
            if attempt.end.done():
                return
            live = OpenConnection(connection, attempt)
            self._on_connected(live, tools)
            try:
                live.jobs.start(connection.listen(live.look_again.set), partial(_log_not_listening, self._label))
                live.jobs.start(self._keep_fresh(live), partial(self._on_refresh_failed, live))
                await asyncio.wait({attempt.end})
                await live.idle(self._times.linger_ms)
            finally:
                self._lose(live, "the connection was lost")
                await live.jobs.close(0)

    async def _keep_fresh(self, live: OpenConnection) -> None:
        """List the tools again after a hint and at intervals. A peer that cannot answer is treated as lost."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._times.refresh_ms / 1000):
                    await live.look_again.wait()
                    await asyncio.sleep(self._times.settle_ms / 1000)
            live.look_again.clear()
            async with asyncio.timeout(self._times.list_ms / 1000):
                tools = checked_tools(await live.connection.list_tools())
            if self._live is live:
                self._worked = True
                self.tools = tools

    def _on_refresh_failed(self, live: OpenConnection, fault: BaseException) -> None:
        """Listing the tools has failed. Running calls continue where only the session is lost."""
        why = fault.message if isinstance(fault, ToolFailed) else "it stopped answering"
        self._lose(live, why, drop=not isinstance(fault, NeverRan))

    def _on_connected(self, live: OpenConnection, tools: dict[str, McpTool]) -> None:
        self._live = live
        self._failures = 0
        self.problem = None
        self.tools = tools
        live.attempt.ready.set_result(None)
        self._wake_waiters()
        log.info("mcp server connected", extra={"server": self._label, "tools": len(tools)})

    def _on_fault(self, attempt: Attempt, fault: BaseException) -> None:
        # An older attempt that is only finishing its calls changes nothing.
        if attempt is self._newest and self._live is None:
            self._failed(_reason(fault, private=attempt.ready.done()))

    def _failed(self, why: str) -> None:
        self._failures += 1
        news = why != self.problem or self._failures <= PATIENT_FAILURES
        self.problem = why
        if news and not self._closed.is_set():
            log.warning("mcp server not connected", extra={"server": self._label, "reason": why})


def _log_unreadable(label: str, tool: str, outcome: object) -> None:
    fields: dict[str, object] = {"server": label, "tool": tool, "kind": type(outcome).__name__}
    if isinstance(outcome, BaseException):
        fields |= {"kind": type(innermost(outcome)).__name__, "place": place_of(outcome)}
    log.error("mcp call broke", extra=fields)


def _log_not_listening(label: str, fault: BaseException) -> None:
    """The server's notifications are no longer received; its list of tools is still checked at intervals."""
    log.info("mcp server cannot be listened to", extra={"server": label, "kind": type(innermost(fault)).__name__})


def _reason(fault: BaseException, *, private: bool) -> str:
    """The innermost reason, for operators. Once calls have run, only its type: the message may hold callers' words."""
    fault = innermost(fault)
    if isinstance(fault, ToolFailed):
        return fault.message
    if isinstance(fault, ConnectionGone | NeverRan):
        return str(fault) or "the connection was lost"
    kind = type(fault).__name__
    words = ""
    if not private:
        with Boundary(lambda broken: None):  # a foreign exception's `__str__` may raise
            words = str(fault)[:200]
    return f"{kind}: {words}" if words else kind


def _with_outcome(words: str, *, repeatable: bool) -> str:
    """The words, followed by "may or may not have been done" where the tool must not be repeated."""
    return words if repeatable else f"{words} {UNKNOWN}"
