"""A running call: the pure call, its two legs and its record, moved in the sockets' own callbacks.

No queue and no task switch lies on the sound's way: a leg decodes, the call decides, the other leg writes, in one step.
The call's task only owns its lifetime, and the jobs (tools, dials) that wait beside the sound.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import ParamSpec

from gateway.alarm import Alarm
from gateway.callers.leg import CallerLeg
from gateway.callrecord import CallRecord
from gateway.guard import Boundary, place_of
from gateway.model_line import ModelLine
from gateway.models.leg import ModelConnector
from gateway.performing import Performer
from gateway.straight import StraightWays
from gateway.tool_jobs import ToolJobs
from gateway.tools.contract import ToolContext
from gateway.tools.toolbox import Toolbox
from sessions.call import Call
from sessions.commands import Relay
from sessions.events import (
    AgentAudio,
    AgentText,
    CallerAudio,
    CallerEvent,
    CallerTranscribed,
    CallEvent,
    HungUp,
    ItemTaken,
    ModelEvent,
    ModelPassed,
    ToolFinished,
)
from sessions.ports import Clock

P = ParamSpec("P")
log = logging.getLogger(__name__)

GOODBYE_S = 5.0
GOING_AWAY = 1001
# Events that ask nothing of the sound before them, bring no deadline nearer and bend no lane: most of an answer's.
_QUIET = frozenset({AgentText, CallerTranscribed, ItemTaken, ModelPassed})


class RunningCall:
    """One call with its legs. `from_caller`, `from_model` and `from_tool` are where events come in."""

    __slots__ = (
        "_alarm",
        "_busy",
        "_call",
        "_clock",
        "_ended",
        "_hands",
        "_later",
        "_leg",
        "_line",
        "_record",
        "_session_id",
        "_ways",
    )

    def __init__(
        self,
        call: Call,
        connector: ModelConnector,
        toolbox: Toolbox,
        context: ToolContext,
        record: CallRecord,
        clock: Clock,
        on_dial: Callable[[], None],
    ) -> None:
        self._call = call
        self._record = record
        self._clock = clock
        self._session_id = context.session_id
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._leg: CallerLeg | None = None
        self._ways = StraightWays(call, record, clock.now_ns, self._played)
        self._line = ModelLine(connector, clock, context.session_id, self.from_model, self.fault, self._ways.from_model)
        tools = ToolJobs(toolbox, context, self.from_tool, self.fault)
        self._hands = Performer(call, record, clock, self._line, tools, on_dial, self._ended)
        self._alarm = Alarm(clock, self.guard(self._on_timer))
        self._busy = False
        self._later: deque[CallEvent] = deque()

    @property
    def call(self) -> Call:
        """The call itself, for reading."""
        return self._call

    def attach(self, leg: CallerLeg) -> None:
        """Give the call its caller's leg, once, before it runs."""
        self._leg = self._hands.leg = leg
        leg.lane = self._ways.from_caller

    async def run(self) -> None:
        """Own the call's lifetime: return when it has ended, raise what broke it. Nothing of it outlives this."""
        try:
            self.guard(self._start)()
            await self._ended
        finally:
            self._alarm.close()
            self._ways.end()
            self._line.drop()
            self._hands.tools.stop_all()
            self._close_legs()
            await self._hands.jobs.close(GOODBYE_S)  # a job that will not stop is left behind
            with Boundary(self._unsaved):  # a store that hangs must not hold the worker
                async with asyncio.timeout(GOODBYE_S):
                    await self._record.ended(self._call, self._clock.now_ms())
            # With these rings a call would wait for a collection, and those are rare; without, it goes with its socket.
            self._leg = None
            self._hands.let_go()
            del self._line

    def guard(self, step: Callable[P, None]) -> Callable[P, None]:
        """Make whatever `step` raises the end of this call, and of nothing else."""

        def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
            try:
                step(*args, **kwargs)
            except Exception as fault:
                self.fault(fault)

        return guarded

    def fault(self, fault: BaseException) -> None:
        """Something of ours broke: the call ends, loudly."""
        if isinstance(fault, StopIteration):  # a future does not take it
            fault = RuntimeError("StopIteration").with_traceback(fault.__traceback__)
        if not self._ended.done():
            self._ended.set_exception(fault)

    def hang_up(self, reason: str, code: int = 1000, message: str = "") -> None:
        """End the call from outside: an operator, or a server that shuts down."""
        if self._leg is not None:
            self._leg.close(code, message)  # first: the call's own end closes it without these words
        self.from_caller(HungUp(reason))

    # ---- events in, commands out

    def _start(self) -> None:
        now_ms = self._clock.now_ms()
        self._record.started(self._call, now_ms)
        self._hands.perform(self._call.start(now_ms), now_ms)
        self._arm()

    def from_caller(self, event: CallerEvent) -> None:
        """Take an event of the caller's leg. `guard` is written out here and below: sound comes 100 times a second."""
        try:
            now_ms = self._clock.now_ms()
            if type(event) is CallerAudio:
                self._ways.settle()
                record = self._record.caller_sound
                record(event.frame, now_ms)
                if not self._busy:
                    sound = self._call.caller_sound(event, now_ms)
                    model = self._line.leg
                    if sound is not None and model is not None:
                        self._busy = True  # a model in this process answers before `send` returns
                        model.send(sound)
                        self._busy = False
                        if self._later:
                            self._catch_up()
                        self._look()
                    return
            self._take(event, now_ms)
        except Exception as fault:
            self._busy = False
            self.fault(fault)

    def from_model(self, event: ModelEvent) -> None:
        """Take an event of the model's leg."""
        try:
            now_ms = self._clock.now_ms()
            if type(event) is AgentAudio and not self._busy:
                self._ways.settle()
                speech = self._call.agent_sound(event, now_ms)
                if speech is not None:
                    self._busy = True
                    self._hands.play(speech, now_ms)
                    self._busy = False
                    if self._later:
                        self._catch_up()
                    self._look()
                    return
            elif type(event) is ModelPassed and not self._busy and self._leg is not None and self._call.passes(now_ms):
                self._busy = True
                self._leg.do(Relay(event))
                self._busy = False
                if self._later:
                    self._catch_up()
                return
            self._take(event, now_ms)
        except Exception as fault:
            self._busy = False
            self.fault(fault)

    def _catch_up(self) -> None:
        """Take what came meanwhile, at the time it is now: a model in this process may have spoken for 20 ms."""
        while self._later:
            self._take(self._later.popleft(), self._clock.now_ms())

    def from_tool(self, event: ToolFinished) -> None:
        """Take the result of a server-side tool."""
        self.guard(self._take)(event, self._clock.now_ms())

    def _take(self, event: CallEvent, now_ms: int) -> None:
        """Hand an event in and carry out what follows. One that comes of a command waits until all are carried out."""
        if self._busy:  # a model in this process answers before `send` returns
            self._later.append(event)
            return
        self._busy = True
        quiet = type(event) in _QUIET
        try:
            if not quiet:
                self._ways.settle()
            commands = self._call.on_event(event, now_ms)
            if quiet and commands and (len(commands) > 1 or type(commands[0]) is not Relay):
                quiet = False  # a late word writes its turn again, and the sums beside it
                self._ways.settle()
            self._hands.perform(commands, now_ms)
            while self._later:
                quiet = False
                self._ways.settle()
                now_ms = self._clock.now_ms()
                self._hands.perform(self._call.on_event(self._later.popleft(), now_ms), now_ms)
        finally:
            self._busy = False
        if not quiet:
            self._look()
            self._arm()

    def _on_timer(self) -> None:
        now_ms = self._clock.now_ms()
        deadline_ms = self._call.deadline_ms
        if deadline_ms is not None and deadline_ms > now_ms:
            self._arm()  # what the alarm was set to is off; sound that waits to be told only puts more off
            return
        self._busy = True
        try:
            self._ways.settle()
            self._hands.perform(self._call.on_time(now_ms), now_ms)
        finally:
            self._busy = False
        self._catch_up()
        self._look()
        self._arm()

    def _look(self) -> None:
        """Which way is straight, after what has just happened?"""
        if self._ended.done():
            self._ways.end()
        else:
            self._ways.look(self._leg, self._line.leg)

    def _arm(self) -> None:
        if not self._ended.done():
            self._alarm.set(self._call.deadline_ms)

    def _played(self, leg: CallerLeg) -> None:
        self._hands.mind_unsent(leg)

    def _close_legs(self) -> None:
        code, words, reason = 1000, "", None
        if self._ended.cancelled():  # the whole server is going down, without a word before
            code, words, reason = GOING_AWAY, "the server is going down", "shutting_down"
        elif self._ended.done() and self._ended.exception() is not None:
            code, words, reason = 1011, "internal error", "server_fault"
        if reason is not None:
            now_ms = self._clock.now_ms()
            with suppress(Exception):  # the call that broke may break again; its legs are closed all the same
                self._hands.perform(self._call.on_event(HungUp(reason), now_ms), now_ms)
        if self._leg is not None:
            self._leg.close(code, words)

    def _unsaved(self, fault: BaseException) -> None:
        fields = {"call_id": self._session_id, "kind": type(fault).__name__, "place": place_of(fault)}
        log.error("the end of a call could not be recorded", extra=fields)
