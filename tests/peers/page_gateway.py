"""A gateway for the page's tests: agents on scripted models, and a server that can be stopped and started again."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
READY_S = 30.0
LONG = (
    "There is a table for two at seven, right beside the window, from where you can watch the boats come home while "
    "the sun goes down behind the lighthouse, and if you would like to sit outside, there is one more on the terrace."
)

AGENTS = {
    "desk": """
description: Takes table bookings for a restaurant by the harbour.
model: scripted/scripts/desk.yaml
instructions: Take bookings. Today is {today}.
tools:
  - mcp: bookings
recording: on
""",
    "reader": """
description: Reads aloud for as long as it is let.
model: scripted/scripts/reader.yaml
greeting: Hello there.
instructions: Read.
""",
    "porter": """
description: Says goodbye and hangs up.
model: scripted/scripts/porter.yaml
instructions: Say goodbye.
tools:
  - function: hang_up
""",
    "steady": """
model: scripted/scripts/reader.yaml
instructions: Read, whatever happens.
turn_detection: {type: server_vad, barge_in: false}
""",
    "away": "model: openai/gpt-realtime\ninstructions: Nobody comes here.\n",
}

SCRIPTS = {
    "desk": f"""
pace: real
ms_per_word: 240
turns:
  - hears: {{text: "A table for two tomorrow at seven, please.", parts: true}}
    say: One moment, I am looking.
    calls:
      - {{name: find_tables, arguments: {{date: tomorrow, time: "19:00", party_size: 2}}}}
  - when: {{tool: find_tables}}
    say: {LONG}
  - hears: Thank you, that is enough.
    say: All right.
  - when: {{text: broken}}
    calls:
      - {{name: find_tables, arguments: {{date: "never", time: "19:00", party_size: 2}}}}
  - when: {{tool: find_tables}}
    say: That is no day that I know.
otherwise: {{say: "Pardon?"}}
""",
    "reader": f"""
pace: 2
ms_per_word: 200
turns:
  - when: {{text: hours}}
    say: From noon to ten.
    repeat: true
  - when: {{text: read}}
    say: {LONG}
    repeat: true
  - when: {{text: cut me short}}
    say: {LONG}
    fault: {{late_audio: 3}}
  - when: {{spoken: true}}
    say: I go on.
    repeat: true
otherwise: {{say: "Pardon?"}}
""",
    "porter": """
pace: fast
ms_per_word: 200
turns:
  - calls: [{name: hang_up, arguments: {}}]
    repeat: true
    when: {text: bye}
  - when: {tool: hang_up}
    say: Thank you for calling, goodbye.
    repeat: true
otherwise: {say: "Pardon?"}
""",
}


class PageGateway:
    """A `patchbay serve` at `url`; with `key`, it requires that API key."""

    def __init__(self, folder: Path, key: str | None = None) -> None:
        self.folder = folder
        self.key = key
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        self._write_files()

    def start(self) -> None:
        """Start the server, and wait until it accepts calls."""
        settings = {
            "PATCHBAY_PORT": str(self.port),
            "PATCHBAY_DATA_DIR": str(self.folder / "data"),
            "PATCHBAY_AGENTS_DIR": str(self.folder / "agents"),
            "PATCHBAY_MCP_CONFIG": str(self.folder / "mcp.json"),
            "PATCHBAY_PLUGINS_DIR": "none",
            "PATCHBAY_DRAIN_S": "0",
        }
        if self.key is not None:
            settings["PATCHBAY_API_KEYS"] = self.key
        ours = ("PATCHBAY_", "OPENAI_", "AZURE_OPENAI_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        with (self.folder / "serve.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "gateway.cli", "serve"],
                cwd=self.folder,
                env={**kept, **settings, "PYTHONPATH": str(ROOT)},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._wait_until_ready(self._process)

    def stop(self) -> None:
        """Stop the server as an operator would."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def get(self, path: str) -> Any:
        """What the HTTP API answers."""
        headers = {} if self.key is None else {"Authorization": f"Bearer {self.key}"}
        with urllib.request.urlopen(urllib.request.Request(self.url + path, headers=headers), timeout=5) as answer:
            return json.loads(answer.read() or b"null")

    def live_calls(self) -> int:
        """The number of running calls."""
        return len(self.get("/api/v1/calls")["calls"])

    def log(self) -> str:
        """What the gateway has printed."""
        return (self.folder / "serve.log").read_text(errors="replace")

    def _write_files(self) -> None:
        scripts = self.folder / "agents" / "scripts"
        scripts.mkdir(parents=True)
        for name, text in AGENTS.items():
            (self.folder / "agents" / f"{name}.yaml").write_text(text)
        for name, text in SCRIPTS.items():
            (scripts / f"{name}.yaml").write_text(text)
        bookings = {
            "command": sys.executable,
            "args": ["-m", "mcp_servers.bookings"],
            "env": {"BOOKINGS_DB": str(self.folder / "bookings.db"), "PYTHONPATH": str(ROOT)},
        }
        (self.folder / "mcp.json").write_text(json.dumps({"mcpServers": {"bookings": bookings}}))

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        until = time.monotonic() + READY_S
        while True:
            try:
                self.get("/readyz")
                return
            except (urllib.error.URLError, OSError):
                if process.poll() is not None or time.monotonic() > until:
                    raise AssertionError(f"the gateway did not start:\n{self.log()}") from None
                time.sleep(0.05)
