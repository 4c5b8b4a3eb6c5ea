"""The tools that run beside one call's sound, each a task of the call's group."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import orjson

from gateway.tools.contract import ToolContext
from gateway.tools.toolbox import Toolbox
from sessions.commands import RunTool
from sessions.errors import ToolFailed
from sessions.events import ToolFinished


class ToolJobs:
    """Starts tools, and delivers each result once; one that was stopped delivers none."""

    __slots__ = ("_context", "_deliver", "_running", "_toolbox")

    def __init__(self, toolbox: Toolbox, context: ToolContext, deliver: Callable[[ToolFinished], None]) -> None:
        self._toolbox = toolbox
        self._context = context
        self._deliver = deliver
        self._running: dict[str, asyncio.Task[None]] = {}

    def start(self, command: RunTool, tasks: asyncio.TaskGroup) -> None:
        """Run a tool; the toolbox keeps its deadline."""
        self._running[command.call_id] = tasks.create_task(self._run(command))

    def stop(self, call_id: str) -> None:
        """Nobody waits for this tool any more."""
        task = self._running.pop(call_id, None)
        if task is not None:
            task.cancel()

    def stop_all(self) -> None:
        """The call is over."""
        for call_id in list(self._running):
            self.stop(call_id)

    async def _run(self, command: RunTool) -> None:
        try:
            result = await self._toolbox.run(command.name, command.arguments, context=self._context)
            finished = ToolFinished(command.call_id, result.text, result.error, hang_up=result.then == "hang_up")
        except ToolFailed as failed:
            told = orjson.dumps({"error": failed.message}).decode()
            finished = ToolFinished(command.call_id, told, failed.kind, hang_up=False)
        self._running.pop(command.call_id, None)
        self._deliver(finished)
