"""The actions on calls as jobs beside the sound: each is counted, and a failure costs that action only."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from gateway.callers.acs.actions import ActionFailed, Actions, Answering, Turndown
from gateway.callers.phone.counts import CarrierCounts
from gateway.guard import Boundary, ForeignTasks, cause_of

log = logging.getLogger(__name__)

GOODBYES_S = 5.0
LAST_S = 1.0


class ActionJobs:
    """Asks for actions, and remembers which hang-ups still run."""

    def __init__(self, actions: Actions, counts: CarrierCounts) -> None:
        self._actions = actions
        self._counts = counts
        self._jobs = ForeignTasks()
        self._goodbyes: set[asyncio.Task[Any]] = set()

    async def open(self) -> None:
        """Load what the actions need. Where that fails, the first action tries again, and says so."""
        with Boundary(_not_opened):
            await self._actions.open()

    async def answer(self, answering: Answering) -> tuple[bool, str | None]:
        """Answer a call. Returns whether that has worked, and the call's connection id if it is known."""
        return await self._act("answer", self._actions.answer(answering))

    async def turn_down(self, context: str, why: Turndown) -> None:
        """Refuse a call that rings."""
        await self._act("turn_down", self._actions.turn_down(context, why))

    def hang_up(self, connection_id: str) -> None:
        """End a call, in the background."""
        task = self._jobs.start(self._hang_up(connection_id))
        self._goodbyes.add(task)
        task.add_done_callback(self._goodbyes.discard)

    async def close(self) -> None:
        """Wait for hang-ups, within a bound, and close the connections."""
        if self._goodbyes:
            await asyncio.wait(set(self._goodbyes), timeout=GOODBYES_S)
        await self._jobs.close(LAST_S)
        await self._actions.close()

    async def _hang_up(self, connection_id: str) -> None:
        await self._act("hang_up", self._actions.hang_up(connection_id))

    async def _act(self, name: str, action: Coroutine[Any, Any, str | None]) -> tuple[bool, str | None]:
        try:
            given = await action
        except ActionFailed as failed:
            self._counts.note(f"{name}_failed")
            log.warning("an action failed", extra={"action": name, "kind": failed.kind, "status": failed.status})
            return False, None
        self._counts.note(f"{name}_done")
        return True, given


def _not_opened(fault: BaseException) -> None:
    log.warning("the actions of a carrier cannot be made ready", extra=cause_of(fault))
