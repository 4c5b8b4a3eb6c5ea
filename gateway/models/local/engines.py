"""The embedded model's engines of one process: one for each version of an agent's file that calls have or will have.

Nothing heavy is imported here before an engine is loaded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any
from weakref import ref

from gateway.models.local.backlog import Roster
from gateway.settings import LocalModels
from sessions.agent import Agent
from sessions.errors import VoiceError
from sessions.ports import Clock, Ids

LINGER_MS = 3_000  # for a caller who was admitted to a version, and whose socket is still to come


@dataclass(slots=True)
class _Kept:
    engine: Any  # None: only calls keep it
    seen: Callable[[], Any]  # the engine, while anybody keeps it
    remains: Any
    needed_ms: int  # when it was last needed


class LocalEngines:
    """Loads them in threads, and lets go of one once no version and no call needs it."""

    def __init__(self, models: LocalModels, clock: Clock, ids: Ids, spawn: Callable[..., Any]) -> None:
        """`spawn` runs in somebody's group what endpoints need."""
        self._models = models
        self._clock = clock
        self._ids = ids
        self._spawn = spawn
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
            await _clear(kept)
        if version not in self._problems:
            try:
                engine = await asyncio.to_thread(self._made, agent)
                self._kept[version] = _Kept(engine, ref(engine), engine.remains, self._clock.now_ms())
            except (ImportError, VoiceError) as missing:
                self._problems[version] = str(missing)
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
                    await _clear(kept)

    async def close(self) -> None:
        """Close the connections to endpoints; no call is left."""
        for kept in self._kept.values():
            await kept.remains.close()
        self._kept.clear()

    def _made(self, agent: Agent) -> Any:
        engine = import_module("gateway.models.local.engine")
        endpoints = import_module("gateway.models.local.endpoints")
        outside = endpoints.outside_of(self._models, self._spawn)
        return engine.LocalEngine(agent, self._clock, self._ids, outside, self._roster)


async def _clear(kept: _Kept) -> None:
    await asyncio.to_thread(kept.remains.unlearn)
    await kept.remains.close()
