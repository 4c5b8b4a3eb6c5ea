"""The stand-in for Azure Cosmos DB that a measured server may have as its store, in a process of its own.

It is the one that the tests use (`tests/cosmos/`). It answers from memory, so the figures show what the client in the
server costs, and nothing of the time that the service itself takes.
"""

from __future__ import annotations

import base64
import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path

from bench.processes import Child, Children, clean_environment, free_port

ROOT = Path(__file__).resolve().parent.parent
READY_S = 15.0
COUNTERS = "/_control/counters"
KEY = base64.b64encode(hashlib.sha512(b"bench").digest()).decode()


@dataclass(frozen=True, slots=True)
class CosmosStandIn:
    """A running stand-in."""

    child: Child
    port: int
    name: str = "store"

    @property
    def counters(self) -> str:
        """The address of its counters."""
        return f"http://127.0.0.1:{self.port}{COUNTERS}"

    @property
    def settings(self) -> dict[str, str]:
        """The settings with which a server uses it."""
        return {
            "PATCHBAY_STORE": f"cosmos+http://127.0.0.1:{self.port}/bench/calls?create=1",
            "PATCHBAY_COSMOS_KEY": KEY,
        }


def start_cosmos(children: Children, core: int) -> CosmosStandIn:
    """Start a stand-in and wait until it answers. Raises BenchFailed."""
    port = free_port()
    command = [sys.executable, "-m", "tests.cosmos", "--port", str(port), "--key", KEY]
    child = children.start("store", command, core, clean_environment({"PYTHONPATH": str(ROOT)}))
    child.wait_ready(port, READY_S, COUNTERS)
    return CosmosStandIn(child, port)
