"""A running call: the pure call, its two legs and its record, driven from the sockets' own callbacks.

A frame of sound passes through no queue and no task: a leg decodes it, the call decides, and the other leg writes it,
all in one callback. The call's task only owns its lifetime; tools and dials, which have to wait, run as jobs of their
own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

from audio.playout import PlayOut
from gateway.calls.executor import CommandExecutor
from gateway.calls.fast_path import FastPaths
from gateway.calls.model_link import ModelLink
from gateway.calls.record import CallRecord
from gateway.calls.tool_jobs import ToolJobs
from gateway.guard import Boundary, place_of
from gateway.legs.caller import CallerLeg, play_out_of
from gateway.legs.model import ModelConnector
from gateway.telemetry.spans.headers import EVERY_TURN, TraceHeaders
from gateway.timer import Alarm
from gateway.tools.contract import ToolContext
from gateway.tools.toolbox import Toolbox
from sessions.call import Call
from sessions.events import CallerAudio, CallerEvent, CallEvent, HungUp, ModelEvent, SpeechStarted, ToolFinished
from sessions.fast_path import commands_wait_for_sound, waits_for_sound
from sessions.line_events import DigitPressed
from sessions.ports import Clock

P = ParamSpec("P")
log = logging.getLogger(__name__)

GOODBYE_S = 5.0
GOING_AWAY = 1001


def _guarded(step: Callable[Concatenate[RunningCall, P], None]) -> Callable[Concatenate[RunningCall, P], None]:
    """Make whatever a step raises the end of its call, and of nothing else."""

    @wraps(step)
    def guarded(running: RunningCall, /, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            step(running, *args, **kwargs)
        except Exception as fault:
            running.fault(fault)

    return guarded


class RunningCall:
    """One call with its legs; events come in by `from_caller`, `from_model` and `from_tool`.

    None of the three may be called from within a command that the call gives to a leg or a tool.
    """

    __slots__ = (
        "_alarm",
        "_call",
        "_clock",
        "_ended",
        "_executor",
        "_fast_paths",
        "_leg",
        "_model_link",
        "_play_out",
        "_record",
        "_session_id",
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
        headers: TraceHeaders = EVERY_TURN,
    ) -> None:
        """With `headers` the call's tools continue its traces."""
        self._call = call
        self._record = record
        self._clock = clock
        self._session_id = context.session_id
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._leg: CallerLeg | None = None
        self._play_out: PlayOut | None = None
        self._model_link = ModelLink(connector, clock, context.session_id, self.from_model, self.fault)
        tools = ToolJobs(toolbox, context, self.from_tool, self.fault, headers)
        self._executor = CommandExecutor(call, record, clock, self._model_link, tools, on_dial, self._ended)
        self._fast_paths = FastPaths(call, record, clock.now_ns, self._executor.check_unsent)
        self._alarm = Alarm(clock, self._on_timer)

    @property
    def call(self) -> Call:
        """The call itself, for reading."""
        return self._call

    @property
    def model_open(self) -> bool:
        """Whether it has a connection to its model now."""
        return self._model_link.leg is not None

    @property
    def tools_running(self) -> int:
        """How many of its tools run now."""
        return len(self._executor.tools)

    @property
    def log(self) -> Callable[[str, bytes], None] | None:
        """Where the caller's leg notes messages that are not sound; None where they are not kept."""
        return self._record.log

    def attach(self, leg: CallerLeg) -> None:
        """Give the call its caller's leg, once, before it runs."""
        self._leg = self._executor.leg = leg
        self._fast_paths.attach(leg)
        self._play_out = play_out_of(leg)

    async def run(self) -> None:
        """Own the call's lifetime: return when it has ended, raise what broke it.

        Nothing of the call outlives this, except foreign code that does not stop when it is cancelled.
        """
        try:
            self._start()
            await self._ended
        finally:
            self._alarm.close()
            self._fast_paths.end()
            self._model_link.drop()
            self._executor.tools.stop_all()
            self._close_legs()
            await self._executor.jobs.close(GOODBYE_S)  # a job that does not stop by then is left behind
            with Boundary(self._unsaved):  # a store that hangs must not hold the worker
                async with asyncio.timeout(GOODBYE_S):
                    await self._record.ended(self._call, self._clock.now_ms())
            # These references form cycles, which only the garbage collector would free, and it runs rarely.
            self._leg = self._play_out = None
            self._executor.release()
            del self._model_link

    def fault(self, fault: BaseException) -> None:
        """End the call because the gateway's own code failed."""
        if isinstance(fault, StopIteration):  # a future does not take it
            fault = RuntimeError("StopIteration").with_traceback(fault.__traceback__)
        if not self._ended.done():
            self._ended.set_exception(fault)

    def hang_up(self, reason: str, code: int = 1000, message: str = "") -> None:
        """End the call from outside: on an operator's request, or because the server shuts down."""
        if self._leg is not None:
            self._leg.close(code, message)  # before the call's own end, which closes the leg without these words
        self.from_caller(HungUp(reason))

    def drop_record(self) -> None:
        """Write nothing more into the session's record, because another process owns it now."""
        self._record.drop()

    # ---- events in, commands out

    @_guarded
    def from_caller(self, event: CallerEvent) -> None:
        """Take an event of the caller's leg."""
        if type(event) is DigitPressed:
            self._take_interrupting(event)
        else:
            self._take(event)

    @_guarded
    def from_model(self, event: ModelEvent) -> None:
        """Take an event of the model's leg."""
        if type(event) is SpeechStarted:
            self._take_interrupting(event)
        else:
            self._take(event)

    @_guarded
    def from_tool(self, event: ToolFinished) -> None:
        """Take the result of a server-side tool."""
        self._take(event)

    @_guarded
    def _start(self) -> None:
        now_ms = self._clock.now_ms()
        self._record.started(self._call, now_ms)
        self._executor.perform(self._call.start(now_ms), now_ms)
        self._set_alarm()

    def _take_interrupting(self, event: CallEvent) -> None:
        """Take an event that may stop the agent's speech, and measure how long that takes."""
        began_ns, before = self._clock.now_ns(), self._call.interruptions
        self._take(event)
        if self._call.interruptions > before:
            self._record.figures.interrupted(self._clock.now_ns() - began_ns)

    def _take(self, event: CallEvent) -> None:
        """Hand an event to the call and carry out its commands; sound that waits is flushed first where it matters."""
        now_ms = self._clock.now_ms()
        flushes = waits_for_sound(event)
        if flushes:
            self._flush(now_ms)
        if type(event) is CallerAudio:
            self._record.caller_sound(event.frame, now_ms)
        elif type(event) is DigitPressed:
            self._record.key(None if self._call.keys_are_secret else event.digit)
        commands = self._call.on_event(event, now_ms)
        if not flushes and commands_wait_for_sound(commands):
            flushes = True
            self._flush(now_ms)
        self._executor.perform(commands, now_ms)
        if flushes:
            self._reevaluate()
            self._set_alarm()

    @_guarded
    def _on_timer(self) -> None:
        now_ms = self._clock.now_ms()
        deadline_ms = self._call.deadline_ms
        if deadline_ms is not None and deadline_ms > now_ms:
            # What the alarm was set for no longer applies. Waiting sound can only move deadlines further away.
            self._set_alarm()
            return
        self._flush(now_ms)
        self._executor.perform(self._call.on_time(now_ms), now_ms)
        self._reevaluate()
        self._set_alarm()

    def _flush(self, now_ms: int) -> None:
        """Tell the call of sound that was sent without it: on a fast path, or by the play-out of the caller's leg."""
        self._fast_paths.flush()
        if self._play_out is not None and (departures := self._play_out.departures(now_ms)):
            self._call.fast_path.left(departures)

    def _reevaluate(self) -> None:
        """Decide again which fast paths may stay open."""
        if self._ended.done():
            self._fast_paths.end()
        else:
            self._fast_paths.reevaluate(self._model_link.leg)

    def _set_alarm(self) -> None:
        if not self._ended.done():
            self._alarm.set(self._call.deadline_ms)

    def _close_legs(self) -> None:
        code, words, reason = 1000, "", None
        if self._ended.cancelled():  # the task was cancelled: the server ends without a drain
            code, words, reason = GOING_AWAY, "the server is going down", "shutting_down"
        elif self._ended.done() and self._ended.exception() is not None:
            code, words, reason = 1011, "internal error", "server_fault"
        if reason is not None:
            self._end_for(reason)
        if self._leg is not None:
            self._leg.close(code, words)

    @_guarded
    def _end_for(self, reason: str) -> None:
        """End a call that broke. What it raises now changes nothing: its legs are closed all the same."""
        now_ms = self._clock.now_ms()
        self._executor.perform(self._call.on_event(HungUp(reason), now_ms), now_ms)

    def _unsaved(self, fault: BaseException) -> None:
        fields = {"call_id": self._session_id, "kind": type(fault).__name__, "place": place_of(fault)}
        log.error("the end of a call could not be recorded", extra=fields)
