"""The calls that are going on in this process: counted, listed, hung up, and waited for when the server goes down."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from gateway.calls.running import RunningCall
from gateway.guard import Boundary, ForeignTasks, cause_of
from sessions.stores.contract import SessionKey

log = logging.getLogger(__name__)
GOING_AWAY = 1001
INTERNAL_ERROR = 1011


@dataclass(frozen=True, slots=True)
class LiveCall:
    """One call that is going on; `started_at` is in Unix seconds."""

    session_id: str
    tenant: str
    agent: str
    protocol: str
    started_at: float
    running: RunningCall
    model: str = ""  # `KIND/NAME`


def _say_goodbye(call: LiveCall) -> None:
    call.running.hang_up("shutting_down", GOING_AWAY, "the server is going down")


def _log_start(call: LiveCall) -> None:
    log.info("call started", extra={"call_id": call.session_id, "agent": call.agent, "protocol": call.protocol})


def _log_end(call: LiveCall) -> None:
    summary = call.running.call.summary(0)
    fields = {
        "call_id": call.session_id,
        "agent": call.agent,
        "protocol": call.protocol,
        "reason": summary.end_reason,
        "turns": summary.turns,
        "duration_ms": summary.duration_ms if summary.end_reason is not None else None,
    }
    log.info("call ended", extra=fields)


class LiveCalls:
    """Runs calls, each in a task of its own."""

    def __init__(self) -> None:
        self._tasks = ForeignTasks()
        self._calls: dict[str, LiveCall] = {}
        self._of_tenant: dict[str, int] = {}
        self._empty = asyncio.Event()
        self._empty.set()
        self._closing = False  # True from the goodbye on
        self.served = 0
        self.broken = 0  # calls that ended because of a fault of ours

    def start(self, call: LiveCall) -> None:
        """Run a call until it ends. A call that begins after the goodbye, on an older socket, ends at once."""
        self._calls[call.session_id] = call
        self._of_tenant[call.tenant] = self._of_tenant.get(call.tenant, 0) + 1
        self._empty.clear()
        _log_start(call)
        self._tasks.start(self._run(call))
        if self._closing:
            _say_goodbye(call)

    async def _run(self, call: LiveCall) -> None:
        def broke(fault: BaseException) -> None:
            self.broken += 1
            cause = cause_of(fault)
            log.error("call broke", exc_info=fault, extra={"call_id": call.session_id, **cause})

        try:
            with Boundary(broke):  # a fault ends this call, with an error in the log, and nothing else
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

    def all(self) -> list[LiveCall]:
        """The calls of every tenant."""
        return list(self._calls.values())

    def count_of(self, tenant: str) -> int:
        """How many calls a tenant has."""
        return self._of_tenant.get(tenant, 0)

    def of(self, tenant: str) -> list[LiveCall]:
        """A tenant's calls, oldest first."""
        return [call for call in self._calls.values() if call.tenant == tenant]

    def find(self, tenant: str, session_id: str) -> LiveCall | None:
        """A tenant's call with this session id; None where there is none."""
        call = self._calls.get(session_id)
        return call if call is not None and call.tenant == tenant else None

    def end_fenced(self, key: SessionKey) -> None:
        """End the call of a session that another process has taken; harmless if there is no such call."""
        self._end_without_record(key, "another server has taken this call over")

    def end_deleted(self, key: SessionKey) -> None:
        """End the call of a session that another process has deleted: it would go on without a record."""
        self._end_without_record(key, "this call's record was deleted")

    def _end_without_record(self, key: SessionKey, why: str) -> None:
        call = self.find(key.tenant, key.session_id)
        if call is not None:
            call.running.drop_record()
            call.running.hang_up("fenced", INTERNAL_ERROR, why)

    async def wait_empty(self) -> None:
        """Return when no call is left."""
        await self._empty.wait()

    async def close(self, wait_s: float) -> None:
        """Cancel the calls that are left, and wait at most `wait_s` seconds for their records."""
        await self._tasks.close(wait_s)

    async def over(self, wait_s: float) -> None:
        """Wait until the calls have ended; those that do not end in time are cancelled."""
        try:
            async with asyncio.timeout(wait_s):
                await self.wait_empty()
        except TimeoutError:
            log.error("calls did not end in time and are cancelled", extra={"calls": len(self)})
            await self.close(wait_s)

    def goodbye(self) -> None:
        """The server is going down: end every call, with its record, and from now on each call that begins."""
        self._closing = True
        for call in list(self._calls.values()):
            _say_goodbye(call)
