"""The scripts of a process: read again when a file changes, and kept for when a change turns out bad."""

from __future__ import annotations

import logging
from pathlib import Path

from gateway.models.scripted_file import ScriptError, load_script
from gateway.models.scripted_shape import Script

log = logging.getLogger(__name__)


class ScriptLibrary:
    """Has each script as its file is now."""

    def __init__(self, folder: Path) -> None:
        """Names of scripts are paths from `folder`."""
        self._folder = folder
        self._known: dict[Path, tuple[int, Script]] = {}  # with the file's time of change

    def read(self, name: str) -> Script:
        """The script as its file is now. Raises ScriptError, or OSError where the file cannot be read."""
        path = self._folder / name
        changed_ns = path.stat().st_mtime_ns
        known = self._known.get(path)
        if known is None or known[0] != changed_ns:
            known = self._known[path] = (changed_ns, load_script(path))
        return known[1]

    def for_call(self, name: str) -> Script:
        """The same of a script that has been read once; where that fails now, its last good version."""
        try:
            return self.read(name)
        except (ScriptError, OSError) as error:
            log.warning("a script turned bad; its last good version is used", extra={"why": str(error)})
            return self._known[self._folder / name][1]
