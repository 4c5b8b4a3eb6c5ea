"""A model's leg without a socket: a `RealtimeServer` in this process that gets and gives a remote model's messages.

The engine gets a command within `send`, and the time from a timer of the loop. What it says is delivered by a callback
of the loop (`call_soon`), so that the call has carried out all its commands before the next event comes. A long message
waits for a later turn of the loop, because the caller's leg has just spent as much time on it. The leg offers no fast
path.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Protocol

from gateway.guard import Guard
from gateway.legs.model import ModelLeg
from gateway.models.realtime.call_ids import UsedNames
from gateway.models.realtime.codec import RealtimeModelCodec, not_understood
from gateway.models.realtime.endings import error_class
from gateway.realtime.server.server import RealtimeServer
from gateway.runtime.fairness import LONG_MESSAGE_BYTES, LONG_WORK
from gateway.timer import Alarm
from sessions.commands import Configure, ModelCommand
from sessions.errors import LegLost, WireError
from sessions.events import ModelEvent, ModelLost
from sessions.ports import Clock, Ids
from sessions.problems import ModelProblem
from sessions.setup import ModelSetup

log = logging.getLogger(__name__)


class Engine(Protocol):
    """Makes the servers of one model."""

    def refuses(self, attempt: int) -> int | None:
        """The HTTP status with which this dial is refused; None if it is accepted."""
        ...

    def server(self, emit: Callable[[bytes], None], on_drop: Callable[[], None], attempt: int) -> RealtimeServer:
        """Make a server for one leg. It calls `on_drop` where the connection is to break."""
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
        self._codec = codec
        self._clock = clock
        self._deliver = deliver
        self._fault = fault
        self._loop = asyncio.get_running_loop()
        self._alarm = Alarm(clock, self._on_time)
        self._inbox: deque[bytes] = deque()  # what the engine has said, in order
        self._delivery: asyncio.Handle | None = None  # scheduled, and not yet run
        self._outbox: deque[bytes] = deque()  # a long message to the engine, and what came after it
        self._reading = False  # `_read_one` is about to be called
        self._dropped = False
        self._closed = False
        self._server = engine.server(self._inbox.append, self._drop, attempt)

    def open(self, setup: ModelSetup) -> None:
        """Begin the session and set it up."""
        self._server.open(self._clock.now_ms())
        self.send(Configure(setup))

    def send(self, command: ModelCommand) -> None:
        """Hand a command to the engine. What the engine answers is delivered later, by a callback of the loop."""
        if self._closed:
            return
        now_ms = self._clock.now_ms()
        refusal = not_understood(command)
        if refusal is not None:
            self._deliver(refusal)
        for message in self._codec.encode(command):
            if self._outbox or len(message) >= LONG_MESSAGE_BYTES:
                self._outbox.append(message)
            else:
                self._server.receive(message, now_ms)
        if self._outbox:
            self._read_later()
        self._after_engine()

    def _read_later(self) -> None:
        if not self._reading:
            self._reading = True
            LONG_WORK.add(self._read_one)

    def _read_one(self) -> None:
        """Let the engine read the next message that waits."""
        self._reading = False
        if not self._outbox:
            return  # the leg was closed
        with Guard(self._fault):
            self._server.receive(self._outbox.popleft(), self._clock.now_ms())
            if self._outbox:
                self._read_later()
            self._after_engine()

    def close(self) -> None:
        """End the session; no event is delivered after this."""
        if self._closed:
            return
        self._closed = True
        self._inbox.clear()
        self._outbox.clear()
        if self._delivery is not None:
            self._delivery.cancel()
        self._alarm.close()
        self._server.close()

    def _drop(self) -> None:
        self._dropped = True

    def _after_engine(self) -> None:
        """After the engine has run: schedule the delivery of what it has said, and its next deadline."""
        if self._delivery is None and (self._inbox or self._broken is not None):
            self._delivery = self._loop.call_soon(self._deliver_all)
        self._alarm.set(self._server.deadline_ms)

    @property
    def _broken(self) -> str | None:
        """Why the connection ends behind what the engine has said; None while it goes on."""
        return self._server.failed or ("the connection broke" if self._dropped else None)

    def _deliver_all(self) -> None:
        self._delivery = None
        with Guard(self._fault):
            while self._inbox and not self._closed:
                self._take(self._inbox.popleft())
            reason = self._broken
            if reason is not None:
                self._end(ModelLost(reason, retryable=True))
        if not self._closed:
            self._alarm.set(self._server.deadline_ms)

    def _take(self, message: bytes) -> None:
        """Decode one message of the engine and deliver its event."""
        try:
            event = self._codec.decode(message)
        except WireError as problem:
            log.warning("malformed message from the model", extra={"why": problem.message})
            return
        settings = self._codec.settings
        if settings.retry is not None:
            retry, settings.retry = settings.retry, None
            self._server.receive(retry, self._clock.now_ms())
        if type(event) is ModelLost:
            self._end(event)
        elif event is not None:
            self._deliver(event)

    def _end(self, lost: ModelLost) -> None:
        if not self._closed:
            self.close()
            self._deliver(lost)

    def _on_time(self) -> None:
        with Guard(self._fault):  # an engine's fault ends the call that it serves
            self._server.on_time(self._clock.now_ms())
            self._after_engine()


class InProcessConnector:
    """Dials one engine for one call, as often as the call asks for it."""

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
        """Open a session with the engine. Raises LegLost where the engine refuses it."""
        status = self._engine.refuses(attempt)
        if status is not None:
            retryable = status == 429 or status >= 500
            lost = LegLost(f"refused with HTTP {status}", retryable=retryable)
            lost.problem = ModelProblem(f"http_{status}", "http")
            lost.error = error_class(f"http_{status}")
            raise lost
        codec = RealtimeModelCodec(self._ids, speaks_given_text=True, used=self._used)
        leg = InProcessLeg(self._engine, codec, self._clock, deliver, fault, attempt)
        leg.open(setup)
        return leg
