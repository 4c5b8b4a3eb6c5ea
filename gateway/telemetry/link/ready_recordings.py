"""Has the sound of calls sent once their recordings are ready: reads the times of their turns, and tells the courier.

A recording is ready some seconds after its call, when all documents of the call are in the store; while they are not,
it waits.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from gateway.guard import Boundary, cause_of
from gateway.telemetry.langfuse.sound import order_of, ready_recording
from gateway.telemetry.link.link import TelemetryLink
from gateway.telemetry.link.wire import TelemetryFigures
from sessions.stores.contract import Document, StoreFailed
from sessions.stores.documents import TURN

MAX_WAITING = 1_000
AGAIN_S = 2.0
PATIENCE_S = 600.0  # for a store that does not have all turns; then those that it has are sent
CLOSE_S = 2.0
AUDIO = "audio"

log = logging.getLogger("patchbay.telemetry")


@dataclass(slots=True)
class _Ready:
    """The document of a session whose recording is ready."""

    session: Document
    until_s: float | None = None  # set with the first try


class ReadyRecordings:
    """The queue of calls whose sound is to be sent."""

    def __init__(
        self,
        link: TelemetryLink,
        query: Callable[[str, str, str], Awaitable[list[Document]]],
        wanted: Callable[[Document], bool],
        counts: TelemetryFigures,
    ) -> None:
        """`query` is the store's. `wanted` says of a session's document whether the sound of its call may be sent."""
        self._link = link
        self._query = query
        self._wanted = wanted
        self._counts = counts
        self._waiting: deque[_Ready] = deque()
        self._wake = asyncio.Event()

    def saved(self, document: Document) -> None:
        """Note a document that is being saved, if it says that a recording is ready. Never blocks or raises."""
        with Boundary(self._faulty):
            if ready_recording(document) is None or not self._wanted(document):
                return
            if len(self._waiting) >= MAX_WAITING:
                self._waiting.popleft()
                self._counts.telemetry_dropped(AUDIO, "queue_full", 1)
            self._waiting.append(_Ready(document))
            self._wake.set()

    def forget(self, tenant: str, session_id: str) -> None:
        """Drop a session that is being deleted."""
        for ready in list(self._waiting):
            if (ready.session["tenant"], ready.session["session_id"]) == (tenant, session_id):
                self._waiting.remove(ready)

    async def run(self) -> None:
        """Work for as long as the server runs. The application runs this as a task."""
        while True:
            self._wake.clear()
            await self._round()
            with suppress(TimeoutError):
                async with asyncio.timeout(AGAIN_S if self._waiting else None):
                    await self._wake.wait()

    async def close(self) -> None:
        """Tell the courier of those that wait, as far as the store answers."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await self._round(last=True)
        if self._waiting:
            self._counts.telemetry_dropped(AUDIO, "shutdown", len(self._waiting))

    async def _round(self, *, last: bool = False) -> None:
        """Try each of those that wait once."""
        for _ in range(len(self._waiting)):
            if not self._waiting:
                return
            ready = self._waiting.popleft()
            with Boundary(self._faulty):
                if not await self._told(ready, last=last):
                    self._waiting.append(ready)

    async def _told(self, ready: _Ready, *, last: bool) -> bool:
        """Tell the courier of a recording; False if that has to wait."""
        now_s = asyncio.get_running_loop().time()
        ready.until_s = now_s + PATIENCE_S if ready.until_s is None else ready.until_s
        session = ready.session
        tenant, session_id = str(session["tenant"]), str(session["session_id"])
        over = now_s >= ready.until_s
        try:
            turns = await self._query(tenant, session_id, TURN)
        except StoreFailed:
            if over:
                self._counts.telemetry_dropped(AUDIO, "store", 1)
            return over
        if len(turns) < _expected(session) and not over and not last:
            return False
        order = order_of(session, turns)
        if order is not None:
            self._link.sound(tenant, session_id, order.as_json())
        return True

    def _faulty(self, fault: BaseException) -> None:
        self._counts.telemetry_dropped(AUDIO, "fault", 1)
        log.error("the sound of a call cannot be handed over", extra=cause_of(fault))


def _expected(session: Document) -> int:
    """How many turns the call has had."""
    summary = session.get("summary")
    turns = summary.get("turns") if isinstance(summary, dict) else None
    return turns if isinstance(turns, int) else 0
