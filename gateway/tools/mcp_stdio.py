"""A tool server that Patchbay starts: the program, and the streams over which the SDK speaks with it.

The SDK's own transport reads lines without a bound, parses them on the loop, and drops a line that it cannot read, so
that the call waits until its deadline. This one passes on only what `messages.py` has read.
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

from gateway.guard import Boundary, cause_of
from gateway.runtime.fairness import TimeSlice
from gateway.runtime.programs import Running, start
from gateway.tools.config import StdioServer
from gateway.tools.json_reading import Unreadable
from gateway.tools.lines import BoundedLines, Endless, TooLong
from gateway.tools.messages import Fate, Message, MessageReader, failure, read_aside
from sessions.errors import ToolFailed

log = logging.getLogger(__name__)

MAX_START_LINES = 50
MAX_LOG_LINE_BYTES = 400
_READ_BYTES = 64 << 10
# For the last messages to be written.
_FLUSH_S = 0.5
# For each step of ending the program: its input is closed, SIGTERM, SIGKILL.
_GRACE_S = 2.0
# Between the end of the program's output and the end of the program.
_EXIT_S = 0.5
_POLL_S = 0.02

Inbox: TypeAlias = MemoryObjectReceiveStream[SessionMessage | Exception]
Outbox: TypeAlias = MemoryObjectSendStream[SessionMessage]


class Program:
    """A running tool server. Once `called` is set, what it prints may hold callers' words."""

    def __init__(self, server: StdioServer, process: Running, reader: MessageReader, bound: int) -> None:
        self._server = server
        self._process = process
        self._reader = reader
        self._max_bytes = bound
        self._problem: str | None = None
        self._output_ended = False  # it writes no more messages
        self.called = False
        self.on_death: Callable[[], None] = lambda: None
        to_sdk, self.inbox = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        self.outbox, from_sdk = anyio.create_memory_object_stream[SessionMessage](0)
        self._to_sdk = to_sdk
        self._from_sdk = from_sdk
        self._written = asyncio.Event()

    @property
    def problem(self) -> str | None:
        """Why the program has ended or is of no use, for operators; None where nothing is known to be wrong."""
        code = self._process.returncode
        if code is None or self._problem is not None:
            return self._problem
        if code < 0:
            with suppress(ValueError):
                return f"its program was ended by {signal.Signals(-code).name}"
        return f"its program ended with code {code}"

    async def settle(self) -> None:
        """Where the program's output has ended, wait a moment for its exit code."""
        for _ in range(round(_EXIT_S / _POLL_S)):
            if not self._output_ended or self._process.returncode is not None:
                return
            await asyncio.sleep(_POLL_S)

    async def read_output(self) -> None:
        """Pass the program's answers to the SDK; their end tells the SDK that the connection is over."""
        async with self._to_sdk:
            with Boundary(self._log_fault), suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
                await self._read_messages()
        self._output_ended = True
        self.on_death()
        with Boundary(self._log_fault):
            while await self._stdout.read(_READ_BYTES):
                pass  # a program that cannot write the rest of its output may not end

    async def watch_end(self, ended: asyncio.Event) -> None:
        """Close the connection when the program ends, also where a child process keeps its output open."""
        await ended.wait()
        await asyncio.sleep(_EXIT_S)  # for what it has still written
        await self._to_sdk.aclose()
        self.on_death()

    async def write_input(self) -> None:
        """Pass what the SDK sends to the program."""
        stdin = self._process.stdin
        assert stdin is not None
        try:
            # uvloop raises RuntimeError for a closed pipe.
            with Boundary(self._log_fault), suppress(OSError, RuntimeError):
                async with self._from_sdk:
                    async for sent in self._from_sdk:
                        self._reader.note_sent(sent.message.model_dump(by_alias=True, exclude_unset=True))
                        stdin.write(sent.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n")
                        await stdin.drain()
                return
            await self._to_sdk.aclose()  # the program reads no more: the connection is over
        finally:
            self._written.set()

    async def read_errors(self) -> None:
        """Log what the program prints while it starts, and only the number of lines after its first call."""
        stderr = self._process.stderr
        assert stderr is not None
        lines, count = BoundedLines(MAX_LOG_LINE_BYTES), 0
        with Boundary(self._log_fault):
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
        """End the program in steps; when cancelled, kill it at once."""
        self.inbox.close()
        self.outbox.close()
        try:
            await self._end_in_steps()
        except asyncio.CancelledError:
            self._signal(signal.SIGKILL)
            await self._has_ended()
            raise
        finally:
            self._signal(signal.SIGKILL)  # its child processes, too

    async def _end_in_steps(self) -> None:
        """Let the last messages be written, close the input, then send the process group SIGTERM and SIGKILL."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_FLUSH_S):
                await self._written.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        if self._problem is not None:  # it does not read, and costs time for as long as it writes
            self._signal(signal.SIGKILL)
        for number in (signal.SIGTERM, signal.SIGKILL):
            if await self._has_ended():
                return
            self._signal(number)
        if not await self._has_ended():
            log.warning("mcp server did not end", extra={"server": self._server.label})

    @property
    def _stdout(self) -> asyncio.StreamReader:
        assert self._process.stdout is not None
        return self._process.stdout

    async def _read_messages(self) -> None:
        lines, time_slice = BoundedLines(self._max_bytes), TimeSlice()
        while received := await self._stdout.read(_READ_BYTES):
            try:
                for line in lines.feed(received):
                    for message in await self._messages(line):
                        parsed = jsonrpc_message_adapter.validate_json(message.payload, by_name=False)
                        await self._to_sdk.send(SessionMessage(parsed))
                        if message.answers is not None:
                            self._reader.forget(message.answers)
                    await time_slice.yield_if_used()
            except Endless:
                self._problem = "it writes a line that does not end"
                self._reader.log_fault("stdout", self._problem)
                return

    async def _messages(self, line: bytes | TooLong) -> list[Message]:
        if isinstance(line, TooLong):
            return self._unreadable(line.beginning, f"an answer has more than {self._max_bytes} bytes")
        if line.lstrip()[:1] not in (b"{", b"["):  # text that a program prints beside its messages
            return self._unreadable(b"", "a line is not a message") if line.strip() else []
        try:
            return await read_aside(self._reader, line)
        except Unreadable as error:
            return self._unreadable(line, f"a line is not a message: {error}")

    def _unreadable(self, beginning: bytes, what: str) -> list[Message]:
        """Answer the request that this line seems to belong to with an error: its answer cannot be read."""
        request_id = self._reader.request_of(beginning)
        self._reader.log_fault("stdout", what)
        return [] if request_id is None else [failure(request_id, Fate.UNKNOWN, what)]

    def _log_line(self, count: int, line: bytes) -> None:
        if count <= MAX_START_LINES and not self.called:
            text = line.decode(errors="replace").strip()
            log.info("mcp server wrote to stderr", extra={"server": self._server.label, "line": text})

    def _log_fault(self, fault: BaseException) -> None:
        fields = cause_of(fault)
        log.warning("a stream of an mcp server broke", extra={"server": self._server.label, **fields})

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    async def _has_ended(self) -> bool:
        """Whether the program has ended in time. Polls the exit code, as a child process may keep the pipes open."""
        for _ in range(round(_GRACE_S / _POLL_S)):
            if self._process.returncode is not None:
                return True
            await asyncio.sleep(_POLL_S)
        return False


@asynccontextmanager
async def running(server: StdioServer, reader: MessageReader, max_bytes: int) -> AsyncIterator[Program]:
    """Start the program, and end it on exit. Raises OSError, or ToolFailed where it cannot be started."""
    if any("\0" in text for text in (server.command, *server.args, *server.env, *server.env.values())):
        raise ToolFailed("its command, arguments or environment contain a NUL character", kind="http_error")
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
    program = Program(server, process, reader, max_bytes)
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
                process.close()  # its child processes may have kept its pipes open
                tasks.cancel_scope.cancel()
