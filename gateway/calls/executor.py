"""Carries out what a call decides: each command goes to the leg, the tool job or the record that it is meant for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import assert_never

from gateway.calls.model_link import ModelLink
from gateway.calls.record import CallRecord
from gateway.calls.tool_jobs import ToolJobs
from gateway.guard import ForeignTasks
from gateway.legs.caller import CallerLeg
from sessions.call import Call
from sessions.commands import (
    CallerCommand,
    Command,
    DialModel,
    DropModel,
    EndCall,
    JobCommand,
    ModelCommand,
    NoteBudget,
    NoteProblem,
    Play,
    Relay,
    RunTool,
    SaveTurn,
    StopTool,
)
from sessions.ports import Clock

# So many frames are played between two looks at how much is unsent: asking the transport costs more than sending one.
UNSENT_CHECK_FRAMES = 32


class CommandExecutor:
    """Executes a call's commands: each goes to the caller's leg, the model's leg, a tool job or the record.

    `leg` is the caller's, once there is one. `jobs` are the tools and dials, which have to wait.
    """

    __slots__ = (
        "_call",
        "_clock",
        "_ended",
        "_on_dial",
        "_played_frames",
        "_record",
        "jobs",
        "leg",
        "model_link",
        "tools",
    )

    def __init__(
        self,
        call: Call,
        record: CallRecord,
        clock: Clock,
        model_link: ModelLink,
        tools: ToolJobs,
        on_dial: Callable[[], None],
        ended: asyncio.Future[None],
    ) -> None:
        self.leg: CallerLeg | None = None
        self.model_link = model_link
        self.tools = tools
        self.jobs = ForeignTasks()
        self._call = call
        self._record = record
        self._clock = clock
        self._on_dial = on_dial
        self._ended = ended
        self._played_frames = 0

    def perform(self, commands: list[Command], now_ms: int) -> None:
        """Carry commands out, in their order."""
        for command in commands:
            if type(command) is Relay:
                if self.leg is not None:
                    self.leg.do(command)
            elif type(command) is Play:
                self._play(command, now_ms)
            elif isinstance(command, ModelCommand):
                if self.model_link.leg is not None:
                    self.model_link.leg.send(command)
            elif isinstance(command, JobCommand):
                self._start_job(command)
            else:
                self._tell_caller(command)

    def _play(self, command: Play, now_ms: int) -> None:
        """Record a frame of speech, and send it to the caller."""
        leg = self.leg
        if leg is None:
            return
        record = self._record.agent_sound
        record(command.frame, command.item_id, now_ms)
        leg.do(command)
        self._played_frames += 1
        if self._played_frames % UNSENT_CHECK_FRAMES == 0:
            self.check_unsent()

    def check_unsent(self) -> None:
        """Cancel the response that speaks if the caller's leg is overfull: the caller does not take what it has."""
        if self.leg is not None and self.leg.overfull:
            self.perform(self._call.too_much_unsent(), self._clock.now_ms())

    def release(self) -> None:
        """Drop the references to the call's other parts, after its end."""
        self.leg = None
        del self.model_link, self.tools

    def _tell_caller(self, command: CallerCommand) -> None:
        if self.leg is not None:
            self.leg.do(command)
        if type(command) is EndCall and not self._ended.done():
            self._ended.set_result(None)

    def _start_job(self, command: JobCommand) -> None:
        match command:
            case SaveTurn():
                self._record.turn(self._call, self._call.stored_turn(command.index), self._clock.now_ms())
            case NoteProblem():
                self._record.problem(command)
            case NoteBudget():
                self._record.budget(command)
            case RunTool():
                self.tools.start(command, self.jobs)
            case StopTool():
                self.tools.stop(command.call_id)
            case DialModel():
                self._on_dial()
                self.model_link.dial(command, self.jobs)
            case DropModel():
                self.model_link.drop()
            case _:
                assert_never(command)
