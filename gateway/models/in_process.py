"""A model's leg without a socket: a `RealtimeServer` in this process, spoken to in the same messages as any other.

Time reaches the engine by the loop's timers. What it says while the call is busy with an earlier message waits until
the call is done.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Protocol

from audio.runs import FrameRun
from gateway.alarm import Alarm
from gateway.guard import Guard
from gateway.lane import CLOSED, Lane
from gateway.models.leg import ModelLeg
from gateway.models.realtime_calls import UsedNames
from gateway.models.realtime_codec import RealtimeModelCodec
from gateway.realtime.server import RealtimeServer
from sessions.commands import Configure, ModelCommand
from sessions.errors import LegLost, WireError
from sessions.events import ModelEvent, ModelLost
from sessions.ports import Clock, Ids
from sessions.problems import ModelProblem
from sessions.setup import ModelSetup

log = logging.getLogger(__name__)


class Engine(Protocol):
    """What makes the servers of one model."""

    def refuses(self, attempt: int) -> int | None:
        """The HTTP status with which this dial is refused; None: it is taken."""
        ...

    def server(self, emit: Callable[[bytes], None], on_drop: Callable[[], None], attempt: int) -> RealtimeServer:
        """A server for one leg. `on_drop`: the connection breaks now."""
        ...


class InProcessLeg:
    """One session with an engine of this process."""

    def __init__(
        self,
        engine: Engine,
        codec: RealtimeModelCodec,
        clock: Clock,
        deliver: Callable[[ModelEvent], None],
        fault: Callable[[BaseException], None],
        attempt: int,
    ) -> None:
        self.lane: Lane = CLOSED  # what is said in the process goes no straight way: it is read as it is made
        self._codec = codec
        self._clock = clock
        self._deliver = deliver
        self._fault = fault
        self._alarm = Alarm(clock, self._on_time)
        self._inbox: deque[bytes] = deque()
        self._busy = False
        self._dropped = False
        self._closed = False
        self._server = engine.server(self._inbox.append, self._drop, attempt)

    def open(self, setup: ModelSetup) -> None:
        """Begin the session and set it up."""
        self._server.open(self._clock.now_ms())
        self.send(Configure(setup))

    def send(self, command: ModelCommand) -> None:
        """Hand a command to the engine."""
        if self._closed:
            return
        now_ms = self._clock.now_ms()
        for message in self._codec.encode(command):
            self._server.receive(message, now_ms)
        self._after()

    def close(self) -> None:
        """End the session; nothing is delivered any more."""
        if self._closed:
            return
        self._closed = True
        self._inbox.clear()
        self._alarm.close()
        self._server.close()

    def straight(self) -> None:
        """An engine takes commands only."""

    def went(self, run: FrameRun) -> None:
        """Never called: there is no straight way."""

    def source(self, response_id: str, item_id: str) -> None:
        """As above."""

    @property
    def dropped_ms(self) -> int:
        """Nothing is dropped in a process."""
        return 0

    def _drop(self) -> None:
        self._dropped = True

    def _after(self) -> None:
        """Deliver what the engine has said, and see when it wants to go on."""
        if not self._busy:
            self._busy = True
            try:
                self._empty_inbox()
            finally:
                self._busy = False
        if not self._closed:
            self._alarm.set(self._server.deadline_ms)

    def _empty_inbox(self) -> None:
        while self._inbox and not self._closed:
            message = self._inbox.popleft()
            try:
                event = self._codec.decode(message)
            except WireError as problem:
                log.warning("malformed message from the model", extra={"why": problem.message})
                continue
            settings = self._codec.settings
            if settings.retry is not None:
                retry, settings.retry = settings.retry, None
                self._server.receive(retry, self._clock.now_ms())
            if type(event) is ModelLost:
                self.close()
            if event is not None:
                self._deliver(event)
        failed = self._server.failed
        if (self._dropped or failed is not None) and not self._closed:
            reason = failed or "the connection broke"
            self.close()
            self._deliver(ModelLost(reason, retryable=True))

    def _on_time(self) -> None:
        with Guard(self._fault):  # what the engine raises ends the call that it serves
            self._server.on_time(self._clock.now_ms())
            self._after()


class InProcessConnector:
    """Dials one call's engine, again if need be."""

    def __init__(self, engine: Engine, clock: Clock, ids: Ids) -> None:
        self._engine = engine
        self._clock = clock
        self._ids = ids
        self._used = UsedNames()

    async def dial(
        self,
        setup: ModelSetup,
        attempt: int,
        deliver: Callable[[ModelEvent], None],
        fault: Callable[[BaseException], None],
    ) -> ModelLeg:
        """Open a session. Raises LegLost where the engine refuses it."""
        status = self._engine.refuses(attempt)
        if status is not None:
            retryable = status == 429 or status >= 500
            lost = LegLost(f"refused with HTTP {status}", retryable=retryable)
            lost.problem = ModelProblem(f"http_{status}", "http")
            raise lost
        codec = RealtimeModelCodec(self._ids, speaks_given_text=True, used=self._used)
        leg = InProcessLeg(self._engine, codec, self._clock, deliver, fault, attempt)
        leg.open(setup)
        return leg
