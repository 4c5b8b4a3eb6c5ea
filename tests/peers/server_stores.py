"""A store that several servers share: one SQLite file, or the stand-in for Cosmos DB in a process of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cosmos.process import running
from peers.cosmos_servers import cosmos_settings

STORES = ("sqlite", "cosmos")


@contextmanager
def shared_store(kind: str, folder: Path) -> Iterator[dict[str, str]]:
    """The settings with which servers use a new store of this kind."""
    if kind == "sqlite":
        yield {"PATCHBAY_STORE": f"sqlite://{folder}/shared.db"}
        return
    with running() as remote:
        yield cosmos_settings(remote)
