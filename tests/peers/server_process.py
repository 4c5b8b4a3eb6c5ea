"""Real `patchbay serve` processes, each in its own folder, with agents on scripted models."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peers.server_files import write_server_files

ROOT = Path(__file__).resolve().parents[2]
READY_S = 20.0
OURS = ("PATCHBAY_", "OPENAI_", "AZURE_", "OTEL_", "LANGFUSE_", "APPLICATIONINSIGHTS_")


@dataclass
class Server:
    """One running server. Its standard error is appended to `folder/serve.err` at each start."""

    folder: Path
    process: subprocess.Popen[str]
    url: str  # http://127.0.0.1:PORT
    key: str | None = None

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self.url.rpartition(":")[2])

    def ask(
        self, path: str, *, method: str = "GET", body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        """The status and the answer of the HTTP API: parsed JSON, or else text."""
        sent = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        sent |= dict(headers or {})
        payload = None
        if body is not None:
            payload = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        request = urllib.request.Request(self.url + path, data=payload, headers=sent, method=method)
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return answer.status, _read(answer.read())
        except urllib.error.HTTPError as refused:
            return refused.code, _read(refused.read())

    def figure(self, name: str) -> int:
        """One figure of /metrics, named without its prefix: the sum over its labels, if it has any."""
        _, text = self.ask("/metrics")
        assert f"# TYPE patchbay_{name} " in text, text
        found = re.findall(rf"^patchbay_{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE)
        return round(sum(map(float, found)))

    def session(self, session_id: str) -> Any:
        """The session as the API shows it."""
        until = time.monotonic() + 2.0
        while True:
            status, session = self.ask(f"/api/v1/sessions/{session_id}")
            if status == 200:
                return session
            assert time.monotonic() < until, session  # the first moments of a call are written with a delay
            time.sleep(0.02)

    def ended(self, session_id: str, *, within_s: float = 5.0) -> Any:
        """The session once its record says that it is over."""
        until = time.monotonic() + within_s
        while True:
            _, session = self.ask(f"/api/v1/sessions/{session_id}")  # the first moments of a call are not written yet
            if session.get("state") == "ended":
                return session
            assert time.monotonic() < until, session
            time.sleep(0.05)

    def turns(self, session_id: str) -> list[Any]:
        """The session's turns as the API shows them."""
        status, transcript = self.ask(f"/api/v1/sessions/{session_id}/transcript")
        assert status == 200, transcript
        found: list[Any] = transcript["turns"]
        return found

    def log(self) -> str:
        """All that was logged in this folder."""
        return (self.folder / "serve.err").read_text(errors="replace")

    def signal(self, number: int) -> None:
        """Send a signal to the server only."""
        self.process.send_signal(number)

    def wait(self, seconds: float = 10.0) -> int:
        """Wait for the exit code."""
        return self.process.wait(seconds)

    def rss_bytes(self) -> int:
        """The memory that it uses now."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) * 1024

    def open_files(self) -> int:
        """The number of open file descriptors."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))


def _read(payload: bytes) -> Any:
    try:
        return json.loads(payload)
    except ValueError:
        return payload.decode(errors="replace")


def environment(folder: Path, settings: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without Patchbay's variables, and with these settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    given = {
        "PATCHBAY_PORT": "0",
        "PATCHBAY_DATA_DIR": str(folder / "data"),
        "PATCHBAY_AGENTS_DIR": str(folder / "agents"),
        "PATCHBAY_DRAIN_S": "5",
    }
    return {**kept, **given, **settings, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}


def start(folder: Path, *, module: str = "gateway.cli", **settings: str) -> Server:
    """Start a server in a folder with its files, and wait until it accepts calls."""
    with (folder / "serve.err").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", module, "serve"],
            cwd=folder,
            env=environment(folder, settings),
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    assert process.stdout is not None
    until = time.monotonic() + READY_S
    line = process.stdout.readline()
    found = re.search(r"up at (http://\S+)", line)
    server = Server(folder, process, found[1] if found else "", key=settings.get("PATCHBAY_API_KEYS"))
    if found is None or time.monotonic() > until:
        process.kill()
        process.wait()
        process.stdout.close()
        raise AssertionError(f"the server did not start: {line}\n{server.log()}")
    return server


@contextmanager
def serving(folder: Path, *, module: str = "gateway.cli", **settings: str) -> Iterator[Server]:
    """A running server in a folder, whose files are written unless they exist. It is stopped on exit."""
    if not (folder / "agents").exists():
        write_server_files(folder)
    server = start(folder, module=module, **settings)
    try:
        yield server
    finally:
        stop(server)


def stop(server: Server) -> None:
    """Make sure that the server has ended: two signals, then SIGKILL."""
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
        if server.process.poll() is None:
            server.signal(number)
            try:
                server.wait(3)
            except subprocess.TimeoutExpired:
                continue
    if server.process.stdout is not None:
        server.process.stdout.close()
