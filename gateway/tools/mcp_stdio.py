"""A tool server that Patchbay starts: the program, and the streams over which the SDK speaks with it.

The SDK's own transport reads lines without a bound, parses them on the loop, and drops a line that it cannot read, so
that the call waits for its deadline. This one hands it only what `messages.py` has read.
Source: MCP 2025-11-25, transports (stdio) and lifecycle (shutdown); the package `mcp` 2.3.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from subprocess import PIPE
from typing import TypeAlias

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.client.stdio import get_default_environment
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter

from gateway.breath import Breath
from gateway.guard import Boundary, innermost, place_of
from gateway.programs import Running, start
from gateway.tools.config import StdioServer
from gateway.tools.json_reading import Unreadable
from gateway.tools.lines import BoundedLines, Endless, TooLong
from gateway.tools.messages import Fate, Mailbox, Message, failure, read_aside
from sessions.errors import ToolFailed

log = logging.getLogger(__name__)

MAX_START_LINES = 50
MAX_LOG_LINE_BYTES = 400
_READ_BYTES = 64 << 10
_FLUSH_S = 0.5  # for what was sent last to leave
_GRACE_S = 2.0  # for each step of the goodbye: its input closed, SIGTERM, SIGKILL
_EXIT_S = 0.5  # between the end of its output and its own
_POLL_S = 0.02

Inbox: TypeAlias = MemoryObjectReceiveStream[SessionMessage | Exception]
Outbox: TypeAlias = MemoryObjectSendStream[SessionMessage]


class Program:
    """A running tool server. `called`: what it prints from now on may hold callers' words."""

    def __init__(self, server: StdioServer, process: Running, mailbox: Mailbox, bound: int) -> None:
        self._server = server
        self._process = process
        self._mailbox = mailbox
        self._max_bytes = bound
        self._trouble: str | None = None
        self._silent = False  # it writes no more messages
        self.called = False
        self.on_death: Callable[[], None] = lambda: None
        to_sdk, self.inbox = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        self.outbox, from_sdk = anyio.create_memory_object_stream[SessionMessage](0)
        self._to_sdk = to_sdk
        self._from_sdk = from_sdk
        self._written = asyncio.Event()

    @property
    def trouble(self) -> str | None:
        """Why it is gone, or of no use, for operators; None where nothing is known against it."""
        code = self._process.returncode
        if code is None or self._trouble is not None:
            return self._trouble
        if code < 0:
            with suppress(ValueError):
                return f"its program was ended by {signal.Signals(-code).name}"
        return f"its program ended with code {code}"

    async def settle(self) -> None:
        """Where it says nothing any more, wait a moment for its exit code."""
        for _ in range(round(_EXIT_S / _POLL_S)):
            if not self._silent or self._process.returncode is not None:
                return
            await asyncio.sleep(_POLL_S)

    async def read_output(self) -> None:
        """Hand the SDK what the program answers; the end of it tells the SDK that the connection is over."""
        async with self._to_sdk:
            with Boundary(self._broke), suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
                await self._read_messages()
        self._silent = True
        self.on_death()
        with Boundary(self._broke):
            while await self._stdout.read(_READ_BYTES):
                pass  # a program that cannot write what is left may not end

    async def watch_end(self, ended: asyncio.Event) -> None:
        """The end of the program ends the connection, also where a child of it keeps its output open."""
        await ended.wait()
        await asyncio.sleep(_EXIT_S)  # for what it has still written
        await self._to_sdk.aclose()
        self.on_death()

    async def write_input(self) -> None:
        """Hand the program what the SDK sends."""
        stdin = self._process.stdin
        assert stdin is not None
        try:
            with Boundary(self._broke), suppress(OSError, RuntimeError):  # uvloop says the latter of a closed pipe
                async with self._from_sdk:
                    async for sent in self._from_sdk:
                        self._mailbox.ask(sent.message.model_dump(by_alias=True, exclude_unset=True))
                        stdin.write(sent.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n")
                        await stdin.drain()
                return
            await self._to_sdk.aclose()  # the program takes no more: the connection is over
        finally:
            self._written.set()

    async def read_errors(self) -> None:
        """Log what it prints while it starts, and only the number of lines after its first call."""
        stderr = self._process.stderr
        assert stderr is not None
        lines, count = BoundedLines(MAX_LOG_LINE_BYTES), 0
        with Boundary(self._broke):
            while received := await stderr.read(_READ_BYTES):
                if self.called or count >= MAX_START_LINES:
                    count += received.count(b"\n")
                    continue
                with suppress(Endless):
                    for line in lines.feed(received):
                        count += 1
                        shown = line.beginning[:MAX_LOG_LINE_BYTES] if isinstance(line, TooLong) else line
                        self._log_line(count, shown)
        log.info("mcp server closed stderr", extra={"server": self._server.label, "lines": count})
        self.on_death()

    async def end(self) -> None:
        """Say goodbye; when that is cancelled, end the program at once."""
        self.inbox.close()
        self.outbox.close()
        try:
            await self._leave()
        except asyncio.CancelledError:
            self._signal(signal.SIGKILL)
            await self._gone()
            raise
        finally:
            self._signal(signal.SIGKILL)  # its children, too

    async def _leave(self) -> None:
        """Let the last words leave, close its input, ask it and its children to end, then end them."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_FLUSH_S):
                await self._written.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        if self._trouble is not None:  # it does not listen, and costs time for as long as it writes
            self._signal(signal.SIGKILL)
        for number in (signal.SIGTERM, signal.SIGKILL):
            if await self._gone():
                return
            self._signal(number)
        if not await self._gone():
            log.warning("mcp server would not end", extra={"server": self._server.label})

    @property
    def _stdout(self) -> asyncio.StreamReader:
        assert self._process.stdout is not None
        return self._process.stdout

    async def _read_messages(self) -> None:
        lines, breath = BoundedLines(self._max_bytes), Breath()
        while received := await self._stdout.read(_READ_BYTES):
            try:
                for line in lines.feed(received):
                    for message in await self._messages(line):
                        parsed = jsonrpc_message_adapter.validate_json(message.payload, by_name=False)
                        await self._to_sdk.send(SessionMessage(parsed))
                        if message.answers is not None:
                            self._mailbox.done(message.answers)
                    await breath.taken()
            except Endless:
                self._trouble = "it writes a line without an end"
                self._mailbox.note("stdout", self._trouble)
                return

    async def _messages(self, line: bytes | TooLong) -> list[Message]:
        if isinstance(line, TooLong):
            return self._lost(line.beginning, f"an answer has more than {self._max_bytes} bytes")
        if line.lstrip()[:1] not in (b"{", b"["):  # what a program prints beside its messages
            return self._lost(b"", "a line is no message") if line.strip() else []
        try:
            return await read_aside(self._mailbox, line)
        except Unreadable as error:
            return self._lost(line, f"a line is no message: {error}")

    def _lost(self, beginning: bytes, what: str) -> list[Message]:
        """Tell the request that this line answers, as far as can be seen, that its answer cannot be read."""
        request_id = self._mailbox.meant(beginning)
        self._mailbox.note("stdout", what)
        return [] if request_id is None else [failure(request_id, Fate.UNKNOWN, what)]

    def _log_line(self, count: int, line: bytes) -> None:
        if count <= MAX_START_LINES and not self.called:
            text = line.decode(errors="replace").strip()
            log.info("mcp server wrote to stderr", extra={"server": self._server.label, "line": text})

    def _broke(self, fault: BaseException) -> None:
        fields = {"kind": type(innermost(fault)).__name__, "place": place_of(fault)}
        log.warning("a stream of an mcp server broke", extra={"server": self._server.label, **fields})

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    async def _gone(self) -> bool:
        """Whether it has ended in time. A child may keep its pipes open, so the code is looked at, and not awaited."""
        for _ in range(round(_GRACE_S / _POLL_S)):
            if self._process.returncode is not None:
                return True
            await asyncio.sleep(_POLL_S)
        return False


@asynccontextmanager
async def running(server: StdioServer, mailbox: Mailbox, max_bytes: int) -> AsyncIterator[Program]:
    """Start the program, and end it. Raises OSError, or ToolFailed where it cannot be started."""
    if any("\0" in text for text in (server.command, *server.args, *server.env, *server.env.values())):
        raise ToolFailed("its command, arguments or environment hold a zero character", kind="http_error")
    process = await start(
        server.command,
        *server.args,
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        env=get_default_environment() | dict(server.env),
        cwd=server.cwd,
        own_session=True,
    )
    program = Program(server, process, mailbox, max_bytes)
    async with anyio.create_task_group() as tasks:
        for job in (program.read_output, program.write_input, program.read_errors):
            tasks.start_soon(job)
        tasks.start_soon(program.watch_end, process.ended)
        try:
            yield program
        finally:
            try:
                with anyio.CancelScope(shield=True):
                    await program.end()
            finally:
                process.close()  # its children may have kept its pipes open
                tasks.cancel_scope.cancel()
