"""The scripts of a process: looked at beside the calls, and kept for when a change turns out bad."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from functools import partial
from pathlib import Path

from audio.whole_file import Stamp, stamp_of
from gateway.guard import Boundary, innermost, place_of
from gateway.models.scripted_file import ScriptError, load_script
from gateway.models.scripted_shape import Script

log = logging.getLogger(__name__)


class ScriptLibrary:
    """Has each script in the newest version of its file that could be used."""

    def __init__(self, folder: Path) -> None:
        """Names of scripts are paths from `folder`."""
        self._folder = folder
        self._known: dict[str, Script] = {}
        self._stamps: dict[str, Stamp | None] = {}  # of each file when it was last read, well or not
        self._bad: set[str] = set()  # whose files could not be used when they were last read
        self._problems: dict[str, str] = {}  # as the log has told them

    def read(self, name: str) -> Script:
        """The script as its file is now; not for the loop. Raises ScriptError, or OSError where it cannot be read."""
        path = self._folder / name
        stamp = stamp_of(path)  # before the reading: a change in between is seen at the next look
        if name not in self._known or name in self._bad or stamp is None or self._stamps.get(name) != stamp:
            self._stamps[name] = stamp
            self._bad.add(name)
            self._known[name] = self._load(path, name in self._known)
            self._bad.discard(name)
            self._problems.pop(name, None)
        return self._known[name]

    def for_call(self, name: str) -> Script:
        """The last good version of a script that has been read once. It reads no file."""
        return self._known[name]

    def _load(self, path: Path, again: bool) -> Script:
        if again and path.is_file() and path.stat().st_size == 0:
            told = "is empty, as while it is being written; a script that says nothing is written {}"
            raise ScriptError(str(path), 1, "", told)
        return load_script(path)

    async def look(self, names: Collection[str]) -> None:
        """Read in a thread those of these scripts whose files have changed.

        A file that has become bad, or is gone, leaves its script as it was, and the log tells why.
        """
        wanted = [name for name in names if name in self._known]
        if not wanted:
            return
        for name in await asyncio.to_thread(self._changed, wanted):
            with Boundary(partial(self._keep_old, name)):
                await asyncio.to_thread(self.read, name)

    def _changed(self, names: Collection[str]) -> list[str]:
        stamps = ((name, stamp_of(self._folder / name)) for name in names)
        return [name for name, stamp in stamps if stamp is None or stamp != self._stamps.get(name)]

    def _keep_old(self, name: str, fault: BaseException) -> None:
        known = isinstance(fault, ScriptError | OSError)
        problem = str(fault) if known else f"{type(innermost(fault)).__name__} {place_of(fault)}"
        if self._problems.get(name) != problem:
            log.warning("a script turned bad; its last good version is used", extra={"why": problem})
        self._problems[name] = problem
