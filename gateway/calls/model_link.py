"""The link between a call and its model: dialled, awaited until the session is ready, dropped, dialled again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from gateway.guard import Boundary, ForeignTasks, innermost, place_of
from gateway.legs.model import ModelConnector, ModelLeg
from sessions.accounts import LegError
from sessions.commands import DialModel
from sessions.errors import LegLost
from sessions.events import CallerAudioDropped, ModelEvent, ModelLost, ModelReady
from sessions.ports import Clock

log = logging.getLogger(__name__)


class ModelLink:
    """Opens and replaces the model's leg of one call.

    `deliver` gets the leg's events, `fault` what the gateway's own code raises. `leg` is None while there is none.
    """

    __slots__ = (
        "_attempt",
        "_clock",
        "_connector",
        "_deliver",
        "_dialling",
        "_early",
        "_fault",
        "_foreign",
        "_opened",
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
    ) -> None:
        self.leg: ModelLeg | None = None
        self._connector = connector
        self._clock = clock
        self._session_id = session_id
        self._deliver = deliver
        self._fault = fault
        self._attempt = -1  # the dial whose events count; -1 while none does
        self._early: list[ModelEvent] = []  # delivered before the dial had returned its leg
        self._dialling: asyncio.Task[None] | None = None
        self._opened: ModelLeg | None = None  # returned by the connector, and not yet taken into use
        # The connectors' own code. It is kept apart from the call's jobs, whose end the call awaits: a connector that
        # does not stop when it is cancelled is left behind.
        self._foreign = ForeignTasks()

    def dial(self, command: DialModel, jobs: ForeignTasks) -> None:
        """Drop the present leg, and open another as one of the call's jobs."""
        self.drop()
        self._attempt = command.attempt
        self._dialling = jobs.start(self._dialled(command), self._fault)

    def drop(self) -> None:
        """Close the leg, or stop opening one; none of its events is delivered any more."""
        dialling, self._dialling = self._dialling, None
        if dialling is not None and dialling is not asyncio.current_task():
            dialling.cancel()  # the dial closes what it has opened
        self._give_up()

    async def _dialled(self, command: DialModel) -> None:
        ready = asyncio.Event()
        attempt, pass_on = command.attempt, self._deliver

        def deliver(event: ModelEvent) -> None:
            if self._attempt != attempt:
                return  # this leg was given up, and still delivers
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
                await self._foreign.result(self._open(command, deliver))
                leg, self._opened = self._opened, None
                if not isinstance(leg, ModelLeg):
                    raise TypeError(f"a connector returned {type(leg).__name__}, which is no leg")
                self.leg = leg
                early, self._early = self._early, []
                for event in early:
                    deliver(event)
                if self._attempt == attempt:  # otherwise the leg is lost already, and another is being opened
                    await ready.wait()

    async def _open(self, command: DialModel, deliver: Callable[[ModelEvent], None]) -> None:
        """Open a leg with foreign code, which may raise anything, or go on after nobody waits for it any more."""
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
        """Close what is open. A dial that still goes on closes the leg that it opens, and its events are dropped."""
        legs, self.leg, self._opened = (self.leg, self._opened), None, None
        self._attempt = -1
        self._early.clear()
        for leg in legs:
            if leg is not None:
                dropped_ms = _close(leg)
                if dropped_ms:
                    self._deliver(CallerAudioDropped(dropped_ms))


def _close(leg: ModelLeg) -> int:
    """Close a leg. Returns how much caller sound was dropped on it, in milliseconds."""
    with Boundary(_log):
        leg.close()
        dropped_ms: int = getattr(leg, "dropped_ms", 0)
        return dropped_ms
    return 0


def _log(fault: BaseException) -> None:
    kind = type(innermost(fault)).__name__
    log.error("dialling a model failed by a fault", extra={"kind": kind, "place": place_of(fault)})


def _loss(fault: BaseException) -> ModelLost:
    """The loss of a leg that could not be opened."""
    if isinstance(fault, LegLost):
        return ModelLost(fault.message, fault.retryable, fault.problem, fault.error)
    if isinstance(fault, TimeoutError):
        return ModelLost("not ready in time", retryable=True, error=LegError.TIMEOUT)
    _log(fault)
    reason = f"dialling failed: {type(innermost(fault)).__name__}"
    return ModelLost(reason, retryable=True, error=LegError.FAULT)
