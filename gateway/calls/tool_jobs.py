"""The server-side tools of one call, each run in a task of its own beside the sound."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace

import orjson

from gateway.guard import Boundary, ForeignTasks, cause_of
from gateway.telemetry.spans.headers import EVERY_TURN, TraceHeaders
from gateway.tools.contract import ToolContext
from gateway.tools.returned import DID_NOT_WORK
from gateway.tools.toolbox import Toolbox
from sessions.commands import RunTool
from sessions.errors import ToolFailed
from sessions.events import ToolFinished
from sessions.text import well_formed

log = logging.getLogger(__name__)


class ToolJobs:
    """Runs tools, and delivers each result once; a tool that was stopped delivers none."""

    __slots__ = ("_context", "_deliver", "_fault", "_headers", "_running", "_toolbox")

    def __init__(
        self,
        toolbox: Toolbox,
        context: ToolContext,
        deliver: Callable[[ToolFinished], None],
        fault: Callable[[BaseException], None],
        headers: TraceHeaders = EVERY_TURN,
    ) -> None:
        """`fault` gets what our own code raises when a result is delivered; what a tool raises becomes its result.

        With `headers` the tools continue the call's traces.
        """
        self._toolbox = toolbox
        self._context = context
        self._deliver = deliver
        self._fault = fault
        self._headers = headers
        self._running: dict[str, asyncio.Task[None]] = {}

    def start(self, command: RunTool, jobs: ForeignTasks) -> None:
        """Start a tool; the toolbox ends it at its deadline."""
        self._running[command.call_id] = jobs.start(self._run(command), self._fault)

    def stop(self, call_id: str) -> None:
        """Cancel a tool whose result is not wanted any more. Harmless if it has ended."""
        task = self._running.pop(call_id, None)
        if task is not None:
            task.cancel()

    def stop_all(self) -> None:
        """Cancel every tool, because the call is over."""
        for call_id in list(self._running):
            self.stop(call_id)

    def __len__(self) -> int:
        """How many tools are running."""
        return len(self._running)

    async def _run(self, command: RunTool) -> None:
        finished: list[ToolFinished] = []
        header = self._headers.of_tool(self._context.session_id, command.turn, command.call_id)
        context = replace(self._context, traceparent=header)
        with Boundary(lambda fault: finished.append(self._failed(command, fault))):
            result = await self._toolbox.run(command.name, command.arguments, context=context)
            text = well_formed(result.text)
            finished.append(ToolFinished(command.call_id, text, result.error, hang_up=result.then == "hang_up"))
        self._running.pop(command.call_id, None)
        self._deliver(finished[0])

    def _failed(self, command: RunTool, fault: BaseException) -> ToolFinished:
        """The result of a tool that raised, for the model. Anything but ToolFailed is a fault and is logged."""
        if isinstance(fault, ToolFailed):
            words, kind = fault.message, fault.kind
        else:
            words, kind = DID_NOT_WORK, "tool_execution_error"
            cause = cause_of(fault)
            log.error("a tool failed", extra={"call_id": self._context.session_id, "tool": command.name, **cause})
        told = orjson.dumps({"error": well_formed(words)}).decode()
        return ToolFinished(command.call_id, told, kind, hang_up=False)
