"""The scripts of a process: changed files are read beside the calls; a bad change leaves the last good version."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from functools import partial
from pathlib import Path

from audio.whole_file import Stamp, stamp_of
from gateway.guard import Boundary, kind_and_place
from gateway.models.scripted.file import ScriptError, load_script
from gateway.models.scripted.shape import Script

log = logging.getLogger(__name__)


class ScriptLibrary:
    """Holds each script in the newest version of its file that could be read."""

    def __init__(self, folder: Path) -> None:
        """The names of scripts are paths relative to `folder`."""
        self._folder = folder
        self._known: dict[str, Script] = {}
        # The stamp that each file had when it was last read, with or without success.
        self._stamps: dict[str, Stamp | None] = {}
        self._bad: set[str] = set()  # names of scripts whose last reading failed
        self._problems: dict[str, str] = {}  # the problems that were logged, by script

    def read(self, name: str) -> Script:
        """The script as its file is now; do not call this on the event loop.

        Raises ScriptError, or OSError if the file cannot be read.
        """
        path = self._folder / name
        stamp = stamp_of(path)  # taken before the reading: the next look sees a change in between
        if name not in self._known or name in self._bad or stamp is None or self._stamps.get(name) != stamp:
            self._stamps[name] = stamp
            self._bad.add(name)
            self._known[name] = self._load(path, name in self._known)
            self._bad.discard(name)
            self._problems.pop(name, None)
        return self._known[name]

    def for_call(self, name: str) -> Script:
        """The last good version of a script that `read` has returned before. Reads no file."""
        return self._known[name]

    def _load(self, path: Path, again: bool) -> Script:
        if again and path.is_file() and path.stat().st_size == 0:
            problem = "is empty, as while it is being written; a script that says nothing is written {}"
            raise ScriptError(str(path), 1, "", problem)
        return load_script(path)

    async def look(self, names: Collection[str]) -> None:
        """Read in a thread those of these scripts whose files have changed.

        A file that is gone or has become bad leaves its script as it was, and the reason is logged.
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
        problem = str(fault) if known else kind_and_place(fault)
        if self._problems.get(name) != problem:
            log.warning("a script's file cannot be used; its last good version stays in use", extra={"why": problem})
        self._problems[name] = problem
