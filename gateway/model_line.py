"""A call's line to its model: dialled, waited for until it is ready, dropped, dialled again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from gateway.guard import ForeignTasks
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
        "_session_id",
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

    def dial(self, command: DialModel, jobs: ForeignTasks) -> None:
        """Give up the leg that is there, and open one."""
        self.drop()
        self._attempt = command.attempt
        self._dialling = jobs.start(self._dialled(command), self._fault)

    def drop(self) -> None:
        """Close the leg, or stop opening it; none of its events is delivered any more."""
        leg, self.leg = self.leg, None
        self._attempt = -1
        self._early.clear()
        dialling, self._dialling = self._dialling, None
        if dialling is not None and dialling is not asyncio.current_task():
            dialling.cancel()  # what it has opened, it closes
        if leg is not None:
            leg.close()

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

        limit_s = max(0, command.deadline_ms - self._clock.now_ms()) / 1000
        try:
            async with asyncio.timeout(limit_s):
                self.leg = await self._connector.dial(command.setup, attempt, deliver, self._fault)
                self.leg.lane = self._lane
                early, self._early = self._early, []
                for event in early:
                    deliver(event)
                if self._attempt == attempt:  # else it was lost as soon as it was there, and another is being opened
                    await ready.wait()
        except LegLost as lost:
            self._lost(attempt, lost.message, retryable=lost.retryable)
        except TimeoutError:
            self._lost(attempt, "not ready in time", retryable=True)

    def _lost(self, attempt: int, why: str, *, retryable: bool) -> None:
        log.warning("model leg lost before it was ready", extra={"call_id": self._session_id, "why": why})
        if self._attempt == attempt:
            self._deliver(ModelLost(why, retryable))
