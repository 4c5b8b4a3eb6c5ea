"""The agents of this process: read from their folder at start-up, and again when a file has changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from gateway.agent_files import AgentFileError, fill_instructions, load_agent
from sessions.agent import Agent
from sessions.ports import Clock

LOOK_AGAIN_MS = 1000


class NoAgents(ValueError):
    """There are no agents to serve; the message says where they are looked for."""


def agent_paths(folder: Path) -> list[Path]:
    """The agents' files in a folder, by name. Raises NoAgents, and AgentFileError for a file with a name near it."""
    where = folder.absolute()
    if not folder.is_dir():
        raise NoAgents(f"agents are looked for in {where}, which is not a folder; make it, or set PATCHBAY_AGENTS_DIR")
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    for path in files:
        if path.suffix.lower() in (".yml", ".yaml") and path.suffix != ".yaml":
            raise AgentFileError(path, 1, "", f"an agent's file ends in .yaml; call it {path.stem}.yaml")
    found = [path for path in files if path.suffix == ".yaml"]
    if not found:
        raise NoAgents(f"there is no agent in {where}; put a file such as front-desk.yaml there (docs/agents.md)")
    return found


def render_instructions(agent: Agent, *, today: datetime, caller_number: str) -> str:
    """The agent's instructions for one call; `caller_number` empty: unknown. `today` is in the caller's own time."""
    date = f"{today:%A}, {today.day} {today:%B} {today.year}"
    return fill_instructions(agent.instructions, {"today": date, "caller.number": caller_number or "unknown"})


_Stamp = tuple[int, int]  # when the file was changed, in ns, and its bytes


@dataclass(slots=True)
class _Entry:
    path: Path
    agent: Agent
    stamp: _Stamp | None  # None: the file was gone
    looked_ms: int


class AgentBook:
    """Every agent under its name, each in the newest version of its file that could be used."""

    def __init__(self, folder: Path, check: Callable[[Agent], None], clock: Clock) -> None:
        """Read all. `check` says by AgentProblem what else is wrong. Raises NoAgents and AgentFileError."""
        self._check = check
        self._clock = clock
        self._problems: dict[str, str] = {}
        self._entries: dict[str, _Entry] = {}
        for path in agent_paths(folder):
            stamp = _stamp(path)  # before the reading: a change in between is seen at the next look
            self._entries[path.stem] = _Entry(path, load_agent(path, check), stamp, clock.now_ms())

    @property
    def problems(self) -> dict[str, str]:
        """Why an agent is still served in an older version than its file's, by the agent's name."""
        return dict(self._problems)

    def names(self) -> list[str]:
        """The names of all agents, sorted."""
        return sorted(self._entries)

    def all(self) -> list[Agent]:
        """All agents as they stand now, by name."""
        return [self._current(name, self._entries[name]) for name in self.names()]

    def get(self, name: str) -> Agent | None:
        """The agent as its file now says, None for no such one. Looks at the file once a second at most.

        A file that has become bad, or is gone, leaves the agent as it was; `problems` then says so.
        """
        entry = self._entries.get(name)
        return None if entry is None else self._current(name, entry)

    def _current(self, name: str, entry: _Entry) -> Agent:
        now_ms = self._clock.now_ms()
        if now_ms - entry.looked_ms < LOOK_AGAIN_MS:
            return entry.agent
        entry.looked_ms = now_ms
        before, entry.stamp = entry.stamp, None
        try:
            entry.stamp = _stamp(entry.path)
            if entry.stamp != before:
                entry.agent = load_agent(entry.path, self._check)
                self._problems.pop(name, None)
        except AgentFileError as error:
            self._problems[name] = str(error)
        return entry.agent


def _stamp(path: Path) -> _Stamp:
    try:
        found = path.stat()
    except OSError as error:
        raise AgentFileError(path, 1, "", f"cannot be read: {error.strerror}") from error
    return found.st_mtime_ns, found.st_size
