"""The calls that are going on: counted, listed, hung up, and waited for when the server goes down."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from gateway.calls import RunningCall
from gateway.guard import Boundary, ForeignTasks, innermost, place_of

log = logging.getLogger(__name__)
GOING_AWAY = 1001


@dataclass(frozen=True, slots=True)
class LiveCall:
    """One call that is going on; `started_at` in Unix seconds."""

    session_id: str
    tenant: str
    agent: str
    protocol: str
    started_at: float
    running: RunningCall


def _log_end(call: LiveCall) -> None:
    summary = call.running.call.summary(0)
    fields = {
        "call_id": call.session_id,
        "agent": call.agent,
        "reason": summary.end_reason,
        "turns": summary.turns,
        "duration_ms": summary.duration_ms if summary.end_reason is not None else None,
    }
    log.info("call ended", extra=fields)


class CallBoard:
    """Hosts calls, each in a task of its own that no other call shares."""

    def __init__(self) -> None:
        self._tasks = ForeignTasks()
        self._calls: dict[str, LiveCall] = {}
        self._of_tenant: dict[str, int] = {}
        self._empty = asyncio.Event()
        self._empty.set()
        self.served = 0
        self.broken = 0  # calls that a fault of ours ended

    def host(self, call: LiveCall) -> None:
        """Run a call until it ends."""
        self._calls[call.session_id] = call
        self._of_tenant[call.tenant] = self._of_tenant.get(call.tenant, 0) + 1
        self._empty.clear()
        self._tasks.start(self._run(call))

    async def _run(self, call: LiveCall) -> None:
        def broke(fault: BaseException) -> None:
            self.broken += 1
            cause = {"kind": type(innermost(fault)).__name__, "place": place_of(fault)}
            log.error("call broke", exc_info=fault, extra={"call_id": call.session_id, **cause})

        try:
            with Boundary(broke):  # the top of a call: one call dies loudly, the process lives
                await call.running.run()
        finally:
            _log_end(call)
            self.served += 1
            del self._calls[call.session_id]
            self._of_tenant[call.tenant] -= 1
            if not self._of_tenant[call.tenant]:
                del self._of_tenant[call.tenant]
            if not self._calls:
                self._empty.set()

    def __len__(self) -> int:
        return len(self._calls)

    def count_of(self, tenant: str) -> int:
        """How many calls this tenant has."""
        return self._of_tenant.get(tenant, 0)

    def of(self, tenant: str) -> list[LiveCall]:
        """A tenant's calls, oldest first."""
        return [call for call in self._calls.values() if call.tenant == tenant]

    def find(self, tenant: str, session_id: str) -> LiveCall | None:
        """One call of a tenant's."""
        call = self._calls.get(session_id)
        return call if call is not None and call.tenant == tenant else None

    async def wait_empty(self) -> None:
        """Return when no call is left."""
        await self._empty.wait()

    async def close(self, wait_s: float) -> None:
        """Cut the calls that are left, and wait at most so long for their records."""
        await self._tasks.close(wait_s)

    def goodbye(self) -> None:
        """The server goes down: end every call, with its record."""
        for call in list(self._calls.values()):
            call.running.hang_up("shutting_down", GOING_AWAY, "the server is going down")
