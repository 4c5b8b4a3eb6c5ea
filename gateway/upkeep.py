"""What goes on beside the calls for as long as the server runs: models and tools made ready, old sessions forgotten."""

from __future__ import annotations

import asyncio
import logging
from functools import partial

from gateway.agents import AgentBook
from gateway.boots import Boots
from gateway.guard import Boundary, innermost, place_of
from gateway.models.registry import ModelRegistry
from gateway.recording.blobs import Blobs
from gateway.recording.recorder import Recorder
from gateway.statekeeper import StateKeeper
from gateway.tools.pool import McpPool
from sessions.errors import VoiceError
from sessions.ports import Clock
from sessions.stores.contract import SessionKey, Store

PURGE_EVERY_S = 3600.0
WARM_EVERY_S = 1.0
RENEW_EVERY_S = 1.0
TOOLS_SETTLE_MS = 3_000  # how long first calls may wait for their agents' tool servers to have been tried

log = logging.getLogger("patchbay")


async def keep_warm(agents: AgentBook, registry: ModelRegistry, mcp: McpPool, warmed: asyncio.Event) -> None:
    """Load what the agents need, after the server has said that it is ready and before it takes a call (`warmed`).

    Tool servers are no part of that: a call waits for those of its own agent, for as long as they are waited for here.
    """
    with Boundary(partial(_log_fault, "models cannot be made ready")):
        for kind, problem in (await registry.warm(agents.all())).items():
            log.warning("a kind of model cannot be used", extra={"kind": kind, "problem": problem})
    warmed.set()
    with Boundary(partial(_log_fault, "tool servers cannot be made ready")):
        for server, problem in (await mcp.settled(TOOLS_SETTLE_MS)).items():
            log.warning("a tool server is not connected", extra={"server": server, "problem": problem})
    while True:  # an agent whose file has changed may need what no agent needed before
        await asyncio.sleep(WARM_EVERY_S)
        with Boundary(partial(_log_fault, "changed files cannot be read")):
            await agents.look()
            await registry.look(agents.needed())
        with Boundary(partial(_log_fault, "an agent cannot be made ready")):
            await registry.warm(agents.needed())


async def stay(boots: Boots, *, inline: bool = False) -> None:
    """Keep this start's lock where others look for it; one long task of the application's group."""
    while True:
        await asyncio.sleep(RENEW_EVERY_S)
        with Boundary(partial(_log_fault, "the lock of this start cannot be held")):
            if inline:
                boots.renew()
            else:
                await asyncio.to_thread(boots.renew)


class Retention:
    """Forgets sessions in every place that keeps something of them: those past their time, and those it is told to."""

    def __init__(self, store: Store, blobs: Blobs, keeper: StateKeeper, recorder: Recorder, clock: Clock) -> None:
        self._store = store
        self._blobs = blobs
        self._keeper = keeper
        self._recorder = recorder
        self._clock = clock

    async def run(self) -> None:
        """Forget what is older than the settings say; one long task of the application's group."""
        while True:
            tried: set[SessionKey] = set()
            with Boundary(partial(_log_fault, "old sessions could not be removed")):
                while keys := set(await self._store.expired(self._clock.wall_s())) - tried:
                    tried |= keys  # one that is still here after it was removed is tried again the next time
                    for key in keys:
                        with Boundary(partial(_log_fault, "an old session could not be removed")):
                            await self.forget(key.tenant, key.session_id)
            await asyncio.sleep(PURGE_EVERY_S)

    async def forget(self, tenant: str, session_id: str) -> None:
        """Leave nothing of a session: documents, blobs, spools, and whatever of it still waits to be written."""
        await self._keeper.forget(tenant, session_id)
        await self._recorder.forget(SessionKey(tenant, session_id))
        await self._blobs.delete_session(tenant, session_id)
        await self._store.delete_session(tenant, session_id)


def _log_fault(message: str, fault: BaseException) -> None:
    """The words of our own errors name files and fields; of others' only kind and place are told."""
    reason = str(fault) if isinstance(fault, VoiceError) else f"{type(innermost(fault)).__name__} {place_of(fault)}"
    log.error(message, extra={"reason": reason})
