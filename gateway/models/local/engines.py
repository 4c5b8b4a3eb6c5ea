"""The embedded model's engines of one process: one for each version of an agent's file that calls have or will have.

Nothing heavy is imported here before an engine is loaded.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any
from weakref import ref

from gateway.guard import Boundary, ForeignTasks, innermost, place_of
from gateway.models.local.backlog import Roster
from gateway.models.local.loading import Threads
from gateway.settings import LocalModels
from sessions.agent import Agent
from sessions.errors import VoiceError
from sessions.ports import Clock, Ids

log = logging.getLogger(__name__)

LOAD_S = 60.0  # it takes one; a disk that hangs is not waited for any longer
CLOSE_S = 2.0  # for connections and threads that are left when the process ends
LINGER_MS = 3_000  # for a caller who was admitted to a version, and whose socket is still to come


@dataclass(slots=True)
class _Kept:
    engine: Any  # None: only calls keep it
    seen: Callable[[], Any]  # the engine, while anybody keeps it
    remains: Any
    needed_ms: int  # when it was last needed


class LocalEngines:
    """Loads them in threads, and lets go of one once no version and no call needs it."""

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
        """`make`: what makes an engine, in a thread; None: the embedded model's own."""
        self._models = models
        self._make = make or self._made
        self._load_s = load_s
        self._close_s = close_s
        self._clock = clock
        self._ids = ids
        self._foreign = ForeignTasks()  # of the endpoints
        self._threads = Threads()
        self._roster = Roster()
        self._kept: dict[str, _Kept] = {}  # by the version of the agent's file
        self._problems: dict[str, str] = {}

    def get(self, version: str) -> Any:
        """The engine of a version, for a new call; None where there is none (now)."""
        kept = self._kept.get(version)
        return None if kept is None else kept.engine

    def problem(self, version: str) -> str | None:
        """Why this version could not be loaded."""
        return self._problems.get(version)

    async def load(self, agent: Agent) -> str | None:
        """Have an engine for this version; what is in the way of it, if anything. What failed is not tried again."""
        version = agent.version
        kept = self._kept.get(version)
        if kept is not None and kept.engine is None:  # an edit was taken back while calls still use what was before
            kept.engine = kept.seen()
        if kept is not None and kept.engine is not None:
            return None
        if kept is not None:  # it went in this very moment: what it leaves is not to be lost with its place
            del self._kept[version]
            await self._clear(kept)
        if version not in self._problems:
            faults: list[BaseException] = []
            with Boundary(faults.append):
                engine = await self._threads.result(lambda: self._make(agent), self._load_s)
                self._kept[version] = _Kept(engine, ref(engine), engine.remains, self._clock.now_ms())
            for fault in faults:
                self._problems[version] = self._problem_of(fault)
        return self._problems.get(version)

    async def keep(self, versions: set[str]) -> None:
        """Only these are needed for new calls: the others go, each once it is used by no call."""
        now_ms = self._clock.now_ms()
        self._problems = {version: why for version, why in self._problems.items() if version in versions}
        for version, kept in list(self._kept.items()):
            if version in versions:
                kept.needed_ms = now_ms
            elif now_ms - kept.needed_ms >= LINGER_MS:
                kept.engine = None
                if kept.seen() is None:
                    del self._kept[version]
                    await self._clear(kept)

    async def close(self) -> None:
        """Close the connections to endpoints; no call is left. What does not end in time is left behind."""
        left = await self._foreign.close(self._close_s)
        for kept in self._kept.values():
            await self._close(kept)
        self._kept.clear()
        left += await self._foreign.close(self._close_s) + await self._threads.close(self._close_s)
        if left:
            log.warning("work of the local model does not end and is left behind", extra={"jobs": left})

    async def _clear(self, kept: _Kept) -> None:
        with Boundary(_log_left):
            await self._threads.result(kept.remains.unlearn, self._load_s)
        await self._close(kept)

    async def _close(self, kept: _Kept) -> None:
        """The SDK's own closing: like all else of it, in a task of its own."""
        with Boundary(_log_left):
            async with asyncio.timeout(self._close_s):
                await self._foreign.result(kept.remains.close())

    def _problem_of(self, fault: BaseException) -> str:
        """Why an engine could not be loaded, for whoever looks at the agents. What nobody foresaw is logged as well."""
        if isinstance(fault, ImportError | VoiceError):
            return str(fault) or type(fault).__name__
        kind = type(innermost(fault)).__name__
        log.error("the local model could not be loaded", extra={"kind": kind, "place": place_of(fault)})
        if isinstance(fault, TimeoutError):
            return f"the local model could not be loaded within {self._load_s:g} s"
        return f"the local model could not be loaded: {kind}; the log names the place"

    def _made(self, agent: Agent) -> Any:
        engine = import_module("gateway.models.local.engine")
        endpoints = import_module("gateway.models.local.endpoints")
        outside = endpoints.outside_of(self._models, self._foreign.start)
        return engine.LocalEngine(agent, self._clock, self._ids, outside, self._roster)


def _log_left(fault: BaseException) -> None:
    fields = {"kind": type(innermost(fault)).__name__, "place": place_of(fault)}
    log.warning("a version of the local model could not be let go in order", extra=fields)
