"""The embedded model's engines of one process: one for each version of an agent's file that is in use.

Heavy packages are imported only when an engine is loaded.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any
from weakref import ref

from gateway.config.settings import LocalModels
from gateway.guard import Boundary, ForeignTasks, cause_of, innermost, place_of
from gateway.models.local.loading import Threads
from gateway.models.local.speech.bulk_audio import SliceSchedule
from sessions.agent import Agent
from sessions.errors import VoiceError
from sessions.ports import Clock, Ids

log = logging.getLogger(__name__)

LOAD_S = 60.0  # loading takes about 1 s; the rest is for a slow disk
CLOSE_S = 2.0  # how long the end of the process waits for open connections and threads
# A caller may have been admitted to a version while its socket has not arrived yet.
KEEP_UNUSED_MS = 3_000


@dataclass(slots=True)
class _Loaded:
    """A loaded engine, and what must be released after its last use."""

    engine: Any  # None: new calls must not use it; running calls may still hold it
    alive: Callable[[], Any]  # a weak reference: the engine while anybody holds it, else None
    resources: Any
    needed_ms: int  # when it was last needed


class LocalEngines:
    """Loads engines in threads, and releases each once no agent's version and no call needs it."""

    def __init__(
        self,
        models: LocalModels,
        clock: Clock,
        ids: Ids,
        *,
        make: Callable[[Agent], Any] | None = None,
        load_s: float = LOAD_S,
        close_s: float = CLOSE_S,
    ) -> None:
        """`make`: makes an engine, in a thread; None: makes the embedded model's `LocalEngine`."""
        self._models = models
        self._make = make or self._default_make
        self._load_s = load_s
        self._close_s = close_s
        self._clock = clock
        self._ids = ids
        self._foreign = ForeignTasks()  # runs requests to endpoints
        self._threads = Threads()
        self._schedule = SliceSchedule()
        self._kept: dict[str, _Loaded] = {}  # by the version of the agent's file
        self._problems: dict[str, str] = {}

    def get(self, version: str) -> Any:
        """The engine of a version for a new call; None where it is not loaded, or not loaded any more."""
        kept = self._kept.get(version)
        return None if kept is None else kept.engine

    def problem(self, version: str) -> str | None:
        """Why this version could not be loaded; None where it could, or was never tried."""
        return self._problems.get(version)

    async def load(self, agent: Agent) -> str | None:
        """Load an engine for this version, and return the problem if there is one. A failed load is not repeated."""
        version = agent.version
        kept = self._kept.get(version)
        if kept is not None and kept.engine is None:  # an edit was undone while calls still use the earlier version
            kept.engine = kept.alive()
        if kept is not None and kept.engine is not None:
            return None
        if kept is not None:  # its last call has just ended: release its resources before its entry is replaced
            del self._kept[version]
            await self._release(kept)
        if version not in self._problems:
            faults: list[BaseException] = []
            with Boundary(faults.append):
                engine = await self._threads.result(lambda: self._make(agent), self._load_s)
                self._kept[version] = _Loaded(engine, ref(engine), engine.resources, self._clock.now_ms())
            for fault in faults:
                self._problems[version] = self._problem_of(fault)
        return self._problems.get(version)

    async def keep(self, versions: set[str]) -> None:
        """Keep these versions for new calls, and release each of the others once no call uses it."""
        now_ms = self._clock.now_ms()
        self._problems = {version: why for version, why in self._problems.items() if version in versions}
        for version, kept in list(self._kept.items()):
            if version in versions:
                kept.needed_ms = now_ms
            elif now_ms - kept.needed_ms >= KEEP_UNUSED_MS:
                kept.engine = None
                if kept.alive() is None:
                    del self._kept[version]
                    await self._release(kept)

    async def close(self) -> None:
        """Close the connections to endpoints, after the last call. Work that does not end in time is abandoned."""
        left = await self._foreign.close(self._close_s)
        for kept in self._kept.values():
            await self._close(kept)
        self._kept.clear()
        left += await self._foreign.close(self._close_s) + await self._threads.close(self._close_s)
        if left:
            log.warning("work of the local model does not end and is abandoned", extra={"jobs": left})

    async def _release(self, kept: _Loaded) -> None:
        with Boundary(_log_unreleased):
            await self._threads.result(kept.resources.forget_grammars, self._load_s)
        await self._close(kept)

    async def _close(self, kept: _Loaded) -> None:
        """Close the SDK's clients. All of the SDK's code runs in separate tasks."""
        with Boundary(_log_unreleased):
            async with asyncio.timeout(self._close_s):
                await self._foreign.result(kept.resources.close())

    def _problem_of(self, fault: BaseException) -> str:
        """Why an engine could not be loaded, as the agents' listing shows it. An unexpected fault is logged as well."""
        if isinstance(fault, ImportError | VoiceError):
            return str(fault) or type(fault).__name__
        kind = type(innermost(fault)).__name__
        log.error("the local model could not be loaded", extra={"kind": kind, "place": place_of(fault)})
        if isinstance(fault, TimeoutError):
            return f"the local model could not be loaded within {self._load_s:g} s"
        return f"the local model could not be loaded: {kind}; the log names the place"

    def _default_make(self, agent: Agent) -> Any:
        engine = import_module("gateway.models.local.engine")
        endpoints = import_module("gateway.models.local.endpoints")
        access = endpoints.endpoint_access(self._models, self._foreign.start)
        return engine.LocalEngine(agent, self._clock, self._ids, access, self._schedule)


def _log_unreleased(fault: BaseException) -> None:
    fields = cause_of(fault)
    log.warning("a version of the local model could not be released cleanly", extra=fields)
