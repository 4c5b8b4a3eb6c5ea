"""Background jobs that run as long as the server: they prepare models and tools, and remove old sessions."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterable
from contextlib import suppress
from functools import partial

from gateway.agents.book import AgentBook
from gateway.blobs.contract import BadBlobName, Blobs
from gateway.guard import Boundary, kind_and_place
from gateway.models.registry import ModelRegistry
from gateway.recording.finisher import Finisher
from gateway.recording.recorder import Recorder
from gateway.state.boots import BEAT_AGAIN_S, BEAT_EVERY_S, BEAT_TIMEOUT_S, Boots
from gateway.state.instances import Instances
from gateway.state.recovery import Recovery
from gateway.state.report import StoreReport
from gateway.state.write_behind import WriteBehind
from gateway.telemetry.writing import FiguresText
from gateway.tools.function_runs import PROCESS
from gateway.tools.pool import McpPool
from sessions.errors import VoiceError
from sessions.ports import Clock
from sessions.stores.contract import SessionKey, Store, StoreFailed

PURGE_EVERY_S = 3600.0
DELETE_AGAIN_S = 60.0
WARM_EVERY_S = 1.0
RENEW_EVERY_S = 1.0
LOOK_EVERY_S = 10.0
LEAVE_S = 2.0
# How long a server that stops makes recordings that are still waiting; the next start makes the rest.
RECORDINGS_S = 10.0
# How long calls may take to end after the goodbye: a call's jobs and its record have 5 s each.
CALLS_END_S = 10.0
TOOLS_SETTLE_MS = 3_000  # how long the first calls may wait until their agents' tool servers have been tried

NO_BEAT = "the store does not take this server's sign of life"

log = logging.getLogger("patchbay")


async def keep_warm(
    agents: AgentBook, registry: ModelRegistry, mcp: McpPool, text: FiguresText, warmed: asyncio.Event
) -> None:
    """Load what the agents and `text` need. `warmed` is set when that is done; only then does the server take calls.

    It does not wait for tool servers: each call waits for those of its own agent, up to the time used here.
    """
    with Boundary(partial(_log_fault, "models cannot be made ready")):
        for kind, problem in (await registry.warm(agents.all())).items():
            log.warning("a kind of model cannot be used", extra={"kind": kind, "problem": problem})
    with Boundary(partial(_log_fault, "metrics cannot be shown")):
        await text.load()
    warmed.set()
    with Boundary(partial(_log_fault, "tool servers cannot be made ready")):
        for server, problem in (await mcp.settled(TOOLS_SETTLE_MS)).items():
            log.warning("a tool server is not connected", extra={"server": server, "problem": problem})
    while True:  # a changed agent file may need something that no agent needed before
        await asyncio.sleep(WARM_EVERY_S)
        with Boundary(partial(_log_fault, "changed files cannot be read")):
            await agents.look()
            await registry.look(agents.needed())
        with Boundary(partial(_log_fault, "an agent cannot be made ready")):
            await registry.warm(agents.needed())


async def stay(instances: Instances, *, inline: bool = False) -> None:
    """Renew this instance's lock for as long as the server runs, so that other instances see that it is alive."""
    while True:
        await asyncio.sleep(RENEW_EVERY_S)
        with Boundary(partial(_log_fault, "the lock of this start cannot be held")):
            if inline:
                instances.renew()
            else:
                await asyncio.to_thread(instances.renew)


async def join(boots: Boots) -> None:
    """Write this instance's first document; without it, other servers that start would take this one for dead."""
    with Boundary(partial(_log_fault, NO_BEAT)):
        async with asyncio.timeout(BEAT_TIMEOUT_S):
            await boots.beat()


async def leave(boots: Boots) -> None:
    """Remove this instance's document at an orderly stop. If that fails, the others find out by its age."""
    with Boundary(partial(_log_fault, "this server's sign of life cannot be removed from the store")):
        async with asyncio.timeout(LEAVE_S):
            await boots.leave()


async def keep_beating(boots: Boots) -> None:
    """Write this instance's document again and again, so that the other users of the store see that it is alive."""
    failing = False

    def failed(fault: BaseException) -> None:
        nonlocal failing
        if not failing:
            _log_fault(NO_BEAT, fault)
        failing = True

    while True:
        await asyncio.sleep(BEAT_AGAIN_S if failing else BEAT_EVERY_S)
        with Boundary(failed):
            async with asyncio.timeout(BEAT_TIMEOUT_S):
                await boots.beat()
            failing = False


async def make_recordings(finisher: Finisher) -> None:
    """Make the recordings that wait as the server stops, because its disk may not be there at the next start."""
    with suppress(TimeoutError):
        async with asyncio.timeout(RECORDINGS_S):
            await finisher.run_waiting()


def problems_of(store: StoreReport, missing_agents: Iterable[str]) -> list[str]:
    """What does not work although calls are taken, in words for an operator."""
    told = [
        f"function tool {one.function} of agent {one.agent}: {one.overdue} calls have not come back; "
        "it is not called until they do"
        for one in PROCESS.stuck()
    ]
    if not store.healthy:
        told.append("the store does not take writes, or not all yet; records wait beside it")
    return told + [f"numbers lead to the agent {agent}, which does not exist" for agent in missing_agents]


async def look_for_dead(recovery: Recovery) -> None:
    """End the sessions of instances that die, for as long as the server runs."""
    while True:
        # Instances that were started together do not look at the same moments.
        await asyncio.sleep(LOOK_EVERY_S * random.uniform(0.7, 1.3))
        with Boundary(partial(_log_fault, "sessions of lost servers cannot be ended")):
            await recovery.look()


class Retention:
    """Removes sessions from every place that stores a part of them: expired ones, and those that are named."""

    def __init__(self, store: Store, blobs: Blobs, write_behind: WriteBehind, recorder: Recorder, clock: Clock) -> None:
        self._store = store
        self._blobs = blobs
        self._write_behind = write_behind
        self._recorder = recorder
        self._clock = clock
        self._deleted: set[SessionKey] = set()  # by another process, while this one still held a part of them
        self._deletion = asyncio.Event()

    def deleted_elsewhere(self, key: SessionKey) -> None:
        """Note that another process has deleted a session of this one, whose recording is to be removed as well."""
        self._deleted.add(key)
        self._deletion.set()

    async def run_deletions(self) -> None:
        """Remove what this process still has of sessions that another one has deleted. What fails is tried again."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(DELETE_AGAIN_S if self._deleted else None):
                    await self._deletion.wait()
            self._deletion.clear()
            for key in list(self._deleted):
                with Boundary(partial(_log_fault, "what is left of a deleted session could not be removed")):
                    await self.forget(key.tenant, key.session_id)
                    self._deleted.discard(key)

    async def run(self) -> None:
        """Remove expired sessions once an hour, for as long as the server runs."""
        while True:
            tried: set[SessionKey] = set()
            with Boundary(partial(_log_fault, "old sessions could not be removed")):
                while keys := set(await self._store.expired(self._clock.wall_s())) - tried:
                    tried |= keys  # a session that could not be removed is tried again in the next hour
                    for key in keys:
                        with Boundary(partial(_log_fault, "an old session could not be removed")):
                            await self.forget(key.tenant, key.session_id)
            await asyncio.sleep(PURGE_EVERY_S)

    async def forget(self, tenant: str, session_id: str) -> None:
        """Remove a session completely: its documents, blobs and spools, and what still waits to be written.

        Raises StoreFailed and BlobFailed. The documents are removed last, so that a session of which anything is left
        can be found again: by this method's caller, and by `run` once it has expired.
        """
        try:
            await self._write_behind.forget(tenant, session_id)
            with suppress(BadBlobName):  # no spool can have such a name
                await self._recorder.forget(SessionKey(tenant, session_id))
        except (OSError, TimeoutError) as error:
            raise StoreFailed(f"the spools of a session cannot be removed: {kind_and_place(error)}") from error
        with suppress(BadBlobName):  # no file either
            await self._blobs.delete_session(tenant, session_id)
        await self._store.delete_session(tenant, session_id)


def _log_fault(message: str, fault: BaseException) -> None:
    """Log the message of our own errors, which names files and fields, but only class and place of all others."""
    reason = str(fault) if isinstance(fault, VoiceError) else kind_and_place(fault)
    log.error(message, extra={"reason": reason})
