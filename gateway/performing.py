"""What a call decides, carried out: each command goes to the leg, the line, the tools or the record that it is for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import assert_never

from gateway.callers.leg import CallerLeg
from gateway.callrecord import CallRecord
from gateway.guard import ForeignTasks
from gateway.model_line import ModelLine
from gateway.tool_jobs import ToolJobs
from sessions.call import Call
from sessions.commands import (
    CallerCommand,
    Command,
    DialModel,
    DropModel,
    EndCall,
    JobCommand,
    ModelCommand,
    NoteProblem,
    Play,
    Relay,
    RunTool,
    SaveTurn,
    StopTool,
)
from sessions.ports import Clock

UNSENT_CANCEL_BYTES = 8 * 1024 * 1024
UNSENT_CHECK_FRAMES = 32  # asking the transport costs more than sending a frame


class Performer:
    """The hands of one call. `leg` is its caller's, once there is one; `jobs` are what waits beside the sound."""

    __slots__ = ("_call", "_clock", "_ended", "_on_dial", "_played_frames", "_record", "jobs", "leg", "line", "tools")

    def __init__(
        self,
        call: Call,
        record: CallRecord,
        clock: Clock,
        line: ModelLine,
        tools: ToolJobs,
        on_dial: Callable[[], None],
        ended: asyncio.Future[None],
    ) -> None:
        self.leg: CallerLeg | None = None
        self.line = line
        self.tools = tools
        self.jobs = ForeignTasks()
        self._call = call
        self._record = record
        self._clock = clock
        self._on_dial = on_dial
        self._ended = ended
        self._played_frames = 0

    def perform(self, commands: list[Command], now_ms: int) -> None:
        """Carry them out, in their order."""
        for command in commands:
            if type(command) is Relay:
                if self.leg is not None:
                    self.leg.do(command)
            elif type(command) is Play:
                self.play(command, now_ms)
            elif isinstance(command, JobCommand):
                self._start_job(command)
            elif isinstance(command, ModelCommand):
                if self.line.leg is not None:
                    self.line.leg.send(command)
            else:
                self._tell_caller(command)

    def play(self, command: Play, now_ms: int) -> None:
        """Record a frame of speech, and send it to the caller."""
        leg = self.leg
        if leg is None:
            return
        record = self._record.agent_sound
        record(command.frame, command.item_id, now_ms)
        leg.do(command)
        self._played_frames += 1
        if self._played_frames % UNSENT_CHECK_FRAMES == 0:
            self.mind_unsent(leg)

    def mind_unsent(self, leg: CallerLeg) -> None:
        """Speech that nobody takes is not to be made."""
        if leg.unsent_bytes > UNSENT_CANCEL_BYTES:
            self.perform(self._call.too_much_unsent(), self._clock.now_ms())

    def let_go(self) -> None:
        """The call is over: keep none of its parts alive."""
        self.leg = None
        del self.line, self.tools

    def _tell_caller(self, command: CallerCommand) -> None:
        if self.leg is not None:
            self.leg.do(command)
        if type(command) is EndCall and not self._ended.done():
            self._ended.set_result(None)

    def _start_job(self, command: JobCommand) -> None:
        match command:
            case SaveTurn():
                self._record.turn(self._call, self._call.turns[command.index], self._clock.now_ms())
            case NoteProblem():
                self._record.problem(command)
            case RunTool():
                self.tools.start(command, self.jobs)
            case StopTool():
                self.tools.stop(command.call_id)
            case DialModel():
                self._on_dial()
                self.line.dial(command, self.jobs)
            case DropModel():
                self.line.drop()
            case _:
                assert_never(command)
