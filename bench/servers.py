"""The servers that are measured, and their surroundings: a model, a server and a load, each on its core."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench import stalls
from bench.arrivals import Arrivals
from bench.cosmos import CosmosStandIn, start_cosmos
from bench.figures import Churn, LoopLateness, Step, churn_from_json, lateness_from_json, step_from_json
from bench.processes import BenchFailed, Child, Children, clean_environment, free_port, idle_rss_mb, printed_by
from bench.report import COSMOS
from bench.telemetry import Collector, start_collector
from bench.telemetry_report import KINDS as TELEMETRY

ROOT = Path(__file__).resolve().parent.parent
RELAY = "relay"
PATCHBAY = "patchbay"
DIRECT = "direct"  # no server at all: the load talks to the model
READY_S = 30.0
STALLS_FILE = "stalls.json"
STALLS_S = 10.0
AGENT = """\
name: bench
model: openai/gpt-realtime
instructions: x
recording: on
replay: off
limits: {minutes: 60}
"""


@dataclass(frozen=True, slots=True)
class Options:
    """How the processes are started. `server_environment` is added to the server's environment."""

    server_command: tuple[str, ...]
    server_environment: dict[str, str]
    key: str | None
    server_core: int
    load_core: int


@dataclass
class Bench:
    """A running model and, unless DIRECT, a running server; `beside`: what this one writes or sends to, if it does."""

    options: Options
    children: Children
    model: Child
    server: Child | None
    url: str
    ready_cpu_s: float
    beside: CosmosStandIn | Collector | None = None

    def load(self, *arguments: str, timeout_s: float) -> dict[str, Any]:
        """Run the load against the server (or the model), and return what it printed. Raises BenchFailed."""
        watch = ["--watch", f"model={self.model.pid}"]
        if self.server is not None:
            watch += ["--watch", f"server={self.server.pid}"]
        if self.beside is not None and self.beside.child is not None:
            watch += ["--watch", f"{self.beside.name}={self.beside.child.pid}", "--counters", self.beside.counters]
        watch += ["--core", f"server={self.options.server_core}", "--core", f"load={self.options.load_core}"]
        key = ["--key", self.options.key] if self.options.key and self.server is not None else []
        command = [sys.executable, "-m", "bench", "load", "--url", self.url, *watch, *key, *arguments]
        environment = clean_environment({"PYTHONPATH": str(ROOT)})
        load = self.children.start("load", command, self.options.load_core, environment, subprocess.PIPE)
        result: dict[str, Any] = printed_by(load, self.server, timeout_s, json.loads)
        return result

    def steps(self, calls: list[int], seconds: float, warm_s: float, stop_p99_ms: float | None = None) -> list[Step]:
        """Measure one number of calls after another."""
        stop = [] if stop_p99_ms is None else ["--stop-p99-ms", str(stop_p99_ms)]
        timeout_s = 30 + max(calls) / 40 + len(calls) * (seconds + warm_s + 3)
        numbers = ",".join(str(number) for number in calls)
        timing = ["--seconds", str(seconds), "--warm", str(warm_s)]
        printed = self.load("--calls", numbers, *timing, *stop, timeout_s=timeout_s)
        return [step_from_json(step) for step in printed["steps"]]

    def watched_steps(
        self, calls: int, seconds: float, warm_s: float, stalls_s: float
    ) -> tuple[Step, Step, LoopLateness | None]:
        """Measure one number of calls, then again with the stall watch on; its result is None if it came too late."""
        timing = ["--seconds", str(seconds), "--warm", str(warm_s), "--stalls", str(stalls_s)]
        timeout_s = 30 + calls / 40 + seconds + warm_s + stalls_s + 6
        printed = self.load("--calls", str(calls), *timing, timeout_s=timeout_s)
        plain, watched = (step_from_json(step) for step in printed["steps"])
        return plain, watched, self._lateness()

    def _lateness(self) -> LoopLateness | None:
        path = self.children.folder / STALLS_FILE
        deadline = time.monotonic() + STALLS_S
        while not path.exists():
            if time.monotonic() > deadline:
                return None  # the server's loop is seconds late, which the round trips also show
            time.sleep(0.05)
        return lateness_from_json(json.loads(path.read_text()))

    def arrivals(self) -> tuple[Arrivals, ...]:
        """When the turns of the calls that have just been hung up came to the collector; empty without one."""
        return self.beside.arrivals() if isinstance(self.beside, Collector) else ()

    def churn(self, workers: int, seconds: float) -> Churn:
        """Measure how many calls are set up in a second."""
        printed = self.load("--churn", str(workers), "--seconds", str(seconds), timeout_s=seconds + 45)
        return churn_from_json(printed["churn"])

    def idle_rss_mb(self) -> float:
        """The server's memory before the calls, but after one call, so that everything is loaded; the lowest of 2 s."""
        self.steps([1], 0.5, 0.3)
        return 0.0 if self.server is None else idle_rss_mb(self.server)


@contextmanager
def bench(server: str, options: Options, *, unison: bool = False, watched: bool = False) -> Iterator[Bench]:
    """Start a new model and a new server with an empty data folder; afterwards end both and remove the folder.

    `unison`: the turns of all calls end together. `watched`: the stall watch is installed in the server, switched off.
    """
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        with Children(folder) as children:
            model_port = free_port()
            command = [sys.executable, "-m", "bench", "model", "--port", str(model_port)]
            command += ["--unison"] if unison else []
            environment = clean_environment({"PYTHONPATH": str(ROOT)})
            model = children.start("model", command, options.load_core, environment)
            model.wait_ready(model_port, READY_S)
            if server == DIRECT:
                yield Bench(options, children, model, None, _url(model_port), 0.0)
                return
            if watched:
                options = _watched(options, folder)
            beside = _start_beside(server, options, children)
            if beside is not None:
                options = replace(options, server_environment={**options.server_environment, **beside.settings})
            port = free_port()
            child = _start(server, options, children, port, model_port)
            ready_cpu_s = child.wait_ready(port, READY_S)
            yield Bench(options, children, model, child, _url(port), ready_cpu_s, beside)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _start_beside(server: str, options: Options, children: Children) -> CosmosStandIn | Collector | None:
    if server == COSMOS:
        return start_cosmos(children, options.load_core)
    return start_collector(children, options.load_core, server) if server in TELEMETRY else None


def _watched(options: Options, folder: Path) -> Options:
    """The same options, with the stall watch installed in the server."""
    (folder / "sitecustomize.py").write_text(stalls.HOOK)
    inside = {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", stalls.VARIABLE: str(folder / STALLS_FILE)}
    return replace(options, server_environment={**options.server_environment, **inside})


def patchbay_environment(folder: Path, port: int, model_port: int, extra: dict[str, str]) -> dict[str, str]:
    """Patchbay's settings: recording and state on, the stand-in as the model. Writes the agent's file."""
    agents = folder / "agents"
    agents.mkdir()
    (agents / "bench.yaml").write_text(AGENT)
    return clean_environment(
        {
            "PYTHONPATH": str(ROOT),
            "PATCHBAY_PORT": str(port),
            "PATCHBAY_DATA_DIR": str(folder / "data"),
            "PATCHBAY_AGENTS_DIR": str(agents),
            "OPENAI_API_KEY": "bench",
            "OPENAI_BASE_URL": f"ws://127.0.0.1:{model_port}/v1",
            **extra,
        }
    )


def _start(server: str, options: Options, children: Children, port: int, model_port: int) -> Child:
    if server == RELAY:
        command = [sys.executable, "-m", "bench", "relay", "--port", str(port), "--upstream", _url(model_port)]
        environment = clean_environment({"PYTHONPATH": str(ROOT), **options.server_environment})
        return children.start(server, command, options.server_core, environment)
    if server in (PATCHBAY, COSMOS, *TELEMETRY):
        environment = patchbay_environment(children.folder, port, model_port, options.server_environment)
        return children.start(server, options.server_command, options.server_core, environment)
    raise BenchFailed(f"there is no server named {server}")


def _url(port: int) -> str:
    return f"ws://127.0.0.1:{port}/v1/realtime?model=bench"


def cores() -> tuple[int, int]:
    """The core of the server, and the core of model and load; the same if there is only one."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[min(1, len(allowed) - 1)]
