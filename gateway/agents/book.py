"""The agents of this process: read from their folder at start-up, and again when a file has changed.

Calls get a new version once the models that it needs have been loaded; until then they get the one before.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from audio.whole_file import Stamp, stamp_of
from gateway.agents.files import AgentFileError, AgentFilesError, AgentProblem, fill_template, load_agent
from gateway.guard import Boundary, innermost, place_of
from sessions.agent import Agent
from sessions.caller_facts import CallerFacts
from sessions.ports import Clock

log = logging.getLogger(__name__)

LOOK_AGAIN_MS = 1000


class NoAgents(ValueError):
    """There are no agents to serve; the message says in which folder they are looked for."""


def agent_paths(folder: Path) -> list[Path]:
    """The agents' files in a folder, sorted by name.

    Raises NoAgents, and AgentFileError for a file whose name almost ends in `.yaml`, such as `a.yml`.
    """
    where = folder.absolute()
    if not folder.is_dir():
        raise NoAgents(f"agents are looked for in {where}, which is not a folder; make it, or set PATCHBAY_AGENTS_DIR")
    # A folder or a broken link that is called like an agent's file is kept: reading it fails with an error that names
    # it, while its agent would otherwise be missing without a word.
    entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    for path in entries:
        if path.suffix.lower() in (".yml", ".yaml") and path.suffix != ".yaml":
            raise AgentFileError(path, 1, "", f"an agent's file ends in .yaml; call it {path.stem}.yaml")
    found = [path for path in entries if path.suffix == ".yaml"]
    if not found:
        raise NoAgents(f"there is no agent in {where}; put a file such as front-desk.yaml there (docs/agents.md)")
    return found


def render_instructions(agent: Agent, *, today: datetime, caller: CallerFacts) -> str:
    """The agent's instructions for one call, with the placeholders filled in; what is not known is `unknown`.

    `today` is in the gateway's own time zone.
    """
    return fill_template(agent.instructions, "instructions", _values(today, caller))


def render_greeting(agent: Agent, *, today: datetime, caller: CallerFacts) -> str | None:
    """The same for the agent's greeting; None where it has none."""
    return None if agent.greeting is None else fill_template(agent.greeting, "greeting", _values(today, caller))


def _values(today: datetime, caller: CallerFacts) -> dict[str, str]:
    return {
        "today": f"{today:%A}, {today.day} {today:%B} {today.year}",
        "caller.number": caller.number or "unknown",
        "caller.called": caller.called or "unknown",
        "caller.direction": caller.direction.value,
        "caller.language": caller.language or "unknown",
    }


@dataclass(slots=True)
class _Entry:
    path: Path
    agent: Agent
    stamp: Stamp | None  # None where the file was gone
    coming: Agent | None = None  # a newer version that is not ready yet


def _always(agent: Agent) -> bool:
    return True


class AgentBook:
    """Holds every agent by name, each in the newest version of its file that could be used."""

    def __init__(
        self,
        folder: Path,
        check: Callable[[Agent], None],
        clock: Clock,
        ready: Callable[[Agent], bool] = _always,
    ) -> None:
        """Read all files of the folder.

        `check` raises AgentProblem for what the reader of the file cannot know to be wrong; it may be called in a
        thread. `ready` says whether a new version can take calls, and raises AgentProblem if it never will. Raises
        NoAgents, AgentFileError, and AgentFilesError where more than one file cannot be used.
        """
        self._check = check
        self._ready = ready
        self._clock = clock
        self._looked_ms = clock.now_ms()
        self._problems: dict[str, str] = {}
        self._entries: dict[str, _Entry] = {}
        faults: list[AgentFileError] = []
        for path in agent_paths(folder):
            stamp = stamp_of(path)  # taken before the file is read, so that the next look sees a change in between
            try:
                self._entries[path.stem] = _Entry(path, load_agent(path, check), stamp)
            except AgentFileError as fault:
                faults.append(fault)
        if faults:
            raise faults[0] if len(faults) == 1 else AgentFilesError(faults)

    @property
    def problems(self) -> dict[str, str]:
        """By agent: why an older version than that of its file is still in use."""
        return dict(self._problems)

    def names(self) -> list[str]:
        """The names of all agents, sorted."""
        return sorted(self._entries)

    def all(self) -> list[Agent]:
        """The version of each agent that calls get now, sorted by name."""
        return [self._current(name, self._entries[name]) for name in self.names()]

    def get(self, name: str) -> Agent | None:
        """The version of an agent that calls get now; None where there is no such agent."""
        entry = self._entries.get(name)
        return None if entry is None else self._current(name, entry)

    def needed(self) -> list[Agent]:
        """All versions whose models must be loaded: those that calls get now, and those that are to follow."""
        coming = [entry.coming for entry in self._entries.values() if entry.coming is not None]
        return [*self.all(), *coming]

    async def look(self) -> None:
        """Read the files that have changed since the last look; once a second at most.

        All of it happens in threads, because reading a file takes 10 to 20 ms. A file that cannot be used any more, or
        is gone, leaves its agent as it was; `problems` then says why.
        """
        now_ms = self._clock.now_ms()
        if now_ms - self._looked_ms < LOOK_AGAIN_MS:
            return
        self._looked_ms = now_ms
        stamps = await asyncio.to_thread(self._stamps)
        for name, entry in self._entries.items():
            before, entry.stamp = entry.stamp, stamps[name]
            if entry.stamp is None or entry.stamp != before:
                with Boundary(partial(self._broke, name, entry.path)):
                    read = await asyncio.to_thread(load_agent, entry.path, self._check)
                    entry.coming = read if read.version != entry.agent.version else None
                    self._problems.pop(name, None)

    def _stamps(self) -> dict[str, Stamp | None]:
        return {name: stamp_of(entry.path) for name, entry in self._entries.items()}

    def _current(self, name: str, entry: _Entry) -> Agent:
        if entry.coming is not None:
            try:
                if self._ready(entry.coming):
                    entry.agent, entry.coming = entry.coming, None
            except AgentProblem as problem:
                self._keep_old(name, f"{entry.path}: {problem}")
                entry.coming = None
        return entry.agent

    def _broke(self, name: str, path: Path, fault: BaseException) -> None:
        """Note that a file cannot be used; its agent and all others stay as they are."""
        cause = f"{path}: cannot be used: {type(innermost(fault)).__name__} {place_of(fault)}"
        self._keep_old(name, str(fault) if isinstance(fault, AgentFileError) else cause)

    def _keep_old(self, name: str, problem: str) -> None:
        if self._problems.get(name) != problem:
            log.warning(
                "an agent's file cannot be used; its last good version stays in use", extra={"problem": problem}
            )
        self._problems[name] = problem
