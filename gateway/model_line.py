"""A call's line to its model: dialled, waited for until it is ready, dropped, dialled again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from gateway.guard import Boundary, ForeignTasks, innermost, place_of
from gateway.lane import Lane
from gateway.models.leg import ModelConnector, ModelLeg
from sessions.commands import DialModel
from sessions.errors import LegLost
from sessions.events import ModelEvent, ModelLost, ModelReady
from sessions.ports import Clock

log = logging.getLogger(__name__)


class ModelLine:
    """One model leg at a time. `deliver` gets its events, `fault` what our own code raises, `lane` its sound first."""

    __slots__ = (
        "_attempt",
        "_clock",
        "_connector",
        "_deliver",
        "_dialling",
        "_early",
        "_fault",
        "_lane",
        "_opened",
        "_session_id",
        "_tasks",
        "leg",
    )

    def __init__(
        self,
        connector: ModelConnector,
        clock: Clock,
        session_id: str,
        deliver: Callable[[ModelEvent], None],
        fault: Callable[[BaseException], None],
        lane: Lane,
    ) -> None:
        self.leg: ModelLeg | None = None
        self._lane = lane
        self._connector = connector
        self._clock = clock
        self._session_id = session_id
        self._deliver = deliver
        self._fault = fault
        self._attempt = -1
        self._early: list[ModelEvent] = []  # came before the dial that brings them had returned
        self._dialling: asyncio.Task[None] | None = None
        self._opened: ModelLeg | None = None  # whose events are still kept until the dial returns
        self._tasks = ForeignTasks()  # a dial that does not stop when it is told to holds up nobody

    def dial(self, command: DialModel, jobs: ForeignTasks) -> None:
        """Give up the leg that is there, and open one."""
        self.drop()
        self._attempt = command.attempt
        self._dialling = jobs.start(self._dialled(command), self._fault)

    def drop(self) -> None:
        """Close the leg, or stop opening it; none of its events is delivered any more."""
        dialling, self._dialling = self._dialling, None
        if dialling is not None and dialling is not asyncio.current_task():
            dialling.cancel()  # what it has opened, it closes
        self._give_up()

    async def _dialled(self, command: DialModel) -> None:
        ready = asyncio.Event()
        attempt, pass_on = command.attempt, self._deliver

        def deliver(event: ModelEvent) -> None:
            if self._attempt != attempt:
                return  # a leg that was given up goes on talking
            if self.leg is None:
                self._early.append(event)
                return
            if type(event) is ModelReady:
                ready.set()
            pass_on(event)

        def lost(fault: BaseException) -> None:
            self._lost(attempt, _loss(fault))

        limit_s = max(0, command.deadline_ms - self._clock.now_ms()) / 1000
        with Boundary(lost):
            async with asyncio.timeout(limit_s):
                await self._tasks.result(self._open(command, deliver))
                leg, self._opened = self._opened, None
                assert leg is not None
                leg.lane = self._lane
                self.leg = leg
                early, self._early = self._early, []
                for event in early:
                    deliver(event)
                if self._attempt == attempt:  # else it was lost as soon as it was there, and another is being opened
                    await ready.wait()

    async def _open(self, command: DialModel, deliver: Callable[[ModelEvent], None]) -> None:
        """Have a leg opened, by code that may not be ours: it may raise anything, or go on when nobody waits for it."""
        leg = await self._connector.dial(command.setup, command.attempt, deliver, self._fault)
        if self._attempt == command.attempt:
            self._opened = leg
        else:
            _close(leg)

    def _lost(self, attempt: int, lost: ModelLost) -> None:
        log.warning("model leg lost before it was ready", extra={"call_id": self._session_id, "why": lost.reason})
        if self._attempt != attempt:
            return
        self._give_up()
        self._deliver(lost)

    def _give_up(self) -> None:
        """Close what is open; a dial that goes on all the same leaves nothing open, and delivers nothing."""
        legs, self.leg, self._opened = (self.leg, self._opened), None, None
        self._attempt = -1
        self._early.clear()
        for leg in legs:
            if leg is not None:
                _close(leg)


def _close(leg: ModelLeg) -> None:
    with Boundary(_log):
        leg.close()


def _log(fault: BaseException) -> None:
    kind = type(innermost(fault)).__name__
    log.error("dialling a model failed by a fault", extra={"kind": kind, "place": place_of(fault)})


def _loss(fault: BaseException) -> ModelLost:
    """The loss of a leg that could not be opened."""
    if isinstance(fault, LegLost):
        return ModelLost(fault.message, fault.retryable, fault.problem)
    if isinstance(fault, TimeoutError):
        return ModelLost("not ready in time", retryable=True)
    _log(fault)
    return ModelLost(f"dialling failed: {type(innermost(fault)).__name__}", retryable=True)
