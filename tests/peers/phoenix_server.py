"""Arize Phoenix, a reader of traces, as a process of its own: it runs from a virtual environment of its own.

`tests/peers/set_up.sh phoenix` installs it (850 MB).
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROGRAM = Path.home() / ".cache" / "patchbay" / "phoenix" / "bin" / "phoenix"
READY_S = 90.0
SESSIONS = """
{ projects { edges { node { name
    sessions(first: 50) { edges { node { sessionId numTraces tokenUsage { total prompt completion }
        firstInput { value } lastOutput { value } } } }
} } } }
"""


@dataclass(frozen=True, slots=True)
class Phoenix:
    """A running Phoenix; `url` is its page's, and its collector's."""

    url: str
    process: subprocess.Popen[bytes]

    def get(self, path: str) -> Any:
        """The answer of its REST API."""
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            return json.loads(answer.read())

    def spans(self) -> list[dict[str, Any]]:
        """All spans that it has, as its REST API shows them."""
        found: list[dict[str, Any]] = self.get("/v1/projects/default/spans?limit=1000")["data"]
        return found

    def sessions(self) -> list[dict[str, Any]]:
        """All sessions that it has put together."""
        body = json.dumps({"query": SESSIONS}).encode()
        request = urllib.request.Request(self.url + "/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            told = json.loads(answer.read())
        assert not told.get("errors"), told["errors"]
        projects = [edge["node"] for edge in told["data"]["projects"]["edges"]]
        return [edge["node"] for project in projects for edge in project["sessions"]["edges"]]


@contextmanager
def phoenix(folder: Path) -> Iterator[Phoenix]:
    """Phoenix on a port of its own, with its data in this folder."""
    port, grpc_port = _free_port(), _free_port()
    settings = {
        "PHOENIX_HOST": "127.0.0.1",
        "PHOENIX_PORT": str(port),
        "PHOENIX_GRPC_PORT": str(grpc_port),
        "PHOENIX_WORKING_DIR": str(folder),
        "PHOENIX_TELEMETRY_ENABLED": "false",
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "PYTHON"))}
    with (folder / "phoenix.log").open("wb") as log:
        process = subprocess.Popen([PROGRAM, "serve"], env={**kept, **settings}, stdout=log, stderr=log, cwd=folder)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_ready(url, process, folder)
        yield Phoenix(url, process)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_ready(url: str, process: subprocess.Popen[bytes], folder: Path) -> None:
    until = time.monotonic() + READY_S
    while True:
        try:
            with urllib.request.urlopen(url + "/healthz", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            said = (folder / "phoenix.log").read_text(errors="replace")
            assert process.poll() is None, said
            assert time.monotonic() < until, said
            time.sleep(0.2)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port: int = held.getsockname()[1]
        return port
