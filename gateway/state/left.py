"""Counts what dead instances of this machine spooled, for the time until the store opens and takes it."""

from __future__ import annotations

import stat
from pathlib import Path

from gateway.state.instances import Instances
from gateway.state.kept import decode, key_of
from gateway.state.spool import NAME, VOID, SpoolSize

READ_MAX_BYTES = 64 * 1024 * 1024  # a full spool, which takes about two seconds; the start waits for it


def left_by_dead(instances: Instances, spool_folder: str, max_bytes: int = READ_MAX_BYTES) -> SpoolSize:
    """How much waits in the spools of dead instances; blocks. `spool_folder` is below an instance's folder.

    Takes over no instance. A file that cannot be read counts as nothing. Of files past `max_bytes` in all, only the
    bytes count.
    """
    documents = size_bytes = read_bytes = 0
    for folder in instances.dead():
        path = folder / spool_folder / NAME
        try:
            found = path.stat()
            if not stat.S_ISREG(found.st_mode):  # a pipe would never end
                continue
            if read_bytes + found.st_size <= max_bytes:
                documents += _documents(path)
                read_bytes += found.st_size
        except OSError:
            continue
        size_bytes += found.st_size
    return SpoolSize(documents, size_bytes)


def _documents(path: Path) -> int:
    """How many documents a spool holds, whatever the number of their versions. Raises OSError."""
    with path.open("rb") as file:
        found = (None if line.startswith(VOID) else decode(line) for line in file)
        return len({(key_of(one.document), one.id) for one in found if one is not None})
