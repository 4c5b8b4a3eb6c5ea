"""A server with the demo agent and one with an agent that answers any sound, for calls by `patchbay call`."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from peers.server_process import ROOT, Server, environment, serving

needs_local = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("onnxruntime", "pocketsphinx", "espeakng_loader")),
    reason="install patchbay[local] and silero-vad for the embedded model",
)
ECHO = """
model: scripted/scripts/echo.yaml
greeting: Hello there.
instructions: Listen.
"""
SCRIPT = """
pace: real
ms_per_word: 150
voice_gate: 300
turns: []
otherwise: {hears: Something was said., say: "ANSWER", after_ms: 100}
"""
ANSWER = "I have heard you well and shall go on about it for so long that you may want to interrupt me."


@contextmanager
def demo_desk(
    folder: Path, settings: Mapping[str, str] | None = None, *, echo: str = ECHO, **files: str
) -> Iterator[Server]:
    """The server, once all its agents can be called. `files` are further ones, or other ones, by name."""
    shutil.copytree(ROOT / "agents", folder / "agents")
    (folder / "agents" / "scripts").mkdir(exist_ok=True)
    (folder / "agents" / "echo.yaml").write_text(echo)
    (folder / "agents" / "scripts" / "echo.yaml").write_text(SCRIPT.replace("ANSWER", ANSWER))
    shutil.copy(ROOT / "mcp.json", folder)
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)
    with serving(folder, **(settings or {})) as server:
        wait_for_agents(server)
        yield server


def wait_for_agents(server: Server, within_s: float = 30.0) -> None:
    """Wait until all agents can be called."""
    until = time.monotonic() + within_s
    while not all(agent["available"] for agent in server.ask("/api/v1/agents")[1]["agents"]):
        assert time.monotonic() < until, f"the agents were not loaded in time\n{server.log()}"
        time.sleep(0.1)


def run_call(server: Server, agent: str, *arguments: str, save: Path) -> subprocess.CompletedProcess[str]:
    """Run `patchbay call` in the server's folder, so that it has the server's settings."""
    command = [sys.executable, "-m", "gateway.cli", "call", agent, *arguments, "--url", server.url]
    return subprocess.run(
        [*command, "--save", str(save)],
        cwd=server.folder,
        env=environment(server.folder, {}),
        capture_output=True,
        text=True,
        timeout=100,
    )


def call(server: Server, agent: str, *arguments: str, save: Path) -> dict[str, Any]:
    """Make a call; returns its report."""
    done = run_call(server, agent, *arguments, "--json", save=save)
    assert done.stdout, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report
