"""Servers that send telemetry: their kinds, their settings, and the collector that they send it to.

The collector is a process of its own on the load's core. So the figures show what sending costs the server and the
courier beside it, and nothing of what a receiver does with it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.arrivals import Arrivals, from_json
from bench.collector import ANSWERING, ARRIVALS, COUNTERS, HANGING, SLOW, TRACES
from bench.figures import Scrape
from bench.processes import Child, Children, clean_environment, free_port, printed_by
from bench.telemetry_report import ALL, DEAD, ONE, SCRAPE_SERIES, TURN_S
from bench.telemetry_report import HANGING as HANGING_KIND
from bench.telemetry_report import SLOW as SLOW_KIND

ROOT = Path(__file__).resolve().parent.parent
READY_S = 15.0
ANSWER_S = 30.0
SCRAPE_S = 60.0
SETTLE_S = 12.0  # until all that is under way has come: turns settle after 5 s at the latest
QUIET_S = 2.0
MODES = {ALL: ANSWERING, ONE: ANSWERING, HANGING_KIND: HANGING, SLOW_KIND: SLOW}  # DEAD has no collector at all
INTERVAL_MS = 5_000  # between two exports of metrics; a minute by default, which would miss most measurements
KEY = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True, slots=True)
class Collector:
    """A running collector; `child` is None where nothing listens on the port."""

    kind: str
    child: Child | None
    port: int
    settings: dict[str, str]
    name: str = "collector"

    @property
    def counters(self) -> str:
        """The address of its counters."""
        return f"http://127.0.0.1:{self.port}{COUNTERS}"

    def arrivals(self) -> tuple[Arrivals, ...]:
        """When turns came, of those that could come before the calls were hung up a moment ago.

        A call that ends settles its last turns at once. So only turns count that ended long enough before. Empty for a
        collector that does not answer as it should.
        """
        if MODES.get(self.kind) != ANSWERING:
            return ()
        ended_before_ns = time.time_ns() - round((TURN_S + 0.5) * 1e9)
        self._wait_quiet()
        return from_json(self._page(f"{ARRIVALS}?ended_before_ns={ended_before_ns}"))

    def _wait_quiet(self) -> None:
        """Wait until nothing more comes of what is under way."""
        until_s = time.monotonic() + SETTLE_S
        before: Any = None
        while time.monotonic() < until_s and before != (now := self._requests_with_spans()):
            before = now
            time.sleep(QUIET_S)

    def _requests_with_spans(self) -> int:
        requests: dict[str, int] = self._page(COUNTERS)["requests"]
        return sum(count for path, count in requests.items() if path.endswith(TRACES))

    def _page(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=ANSWER_S) as answer:
            return json.load(answer)


def start_collector(children: Children, core: int, kind: str) -> Collector:
    """Start what a kind of server sends to, and wait until it answers. Raises BenchFailed."""
    port = free_port()
    settings = telemetry_settings(kind, port)
    if kind == DEAD:
        return Collector(kind, None, port, settings)
    command = [sys.executable, "-m", "bench", "collector", "--port", str(port), "--mode", MODES[kind]]
    child = children.start("collector", command, core, clean_environment({"PYTHONPATH": str(ROOT)}))
    child.wait_ready(port, READY_S)
    return Collector(kind, child, port, settings)


def measure_scrape(core: int) -> Scrape:
    """Measure a scrape in a new process on this core. Raises BenchFailed."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, Children(Path(folder)) as children:
        command = [sys.executable, "-m", "bench", "scrape", "--series", str(SCRAPE_SERIES)]
        environment = clean_environment({"PYTHONPATH": str(ROOT)})
        child = children.start("scrape", command, core, environment, subprocess.PIPE)
        return printed_by(child, None, SCRAPE_S, lambda printed: Scrape(**json.loads(printed)))


def telemetry_settings(kind: str, port: int) -> dict[str, str]:
    """The settings with which a server sends to this port: traces, metrics and logs, to one destination or to three."""
    url = f"http://127.0.0.1:{port}"
    otlp = {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_METRIC_EXPORT_INTERVAL": str(INTERVAL_MS)}
    if kind == ONE:
        return otlp
    return {
        **otlp,
        "LANGFUSE_PUBLIC_KEY": "pk-lf-bench",
        "LANGFUSE_SECRET_KEY": "sk-lf-bench",
        "LANGFUSE_BASE_URL": url,
        "APPLICATIONINSIGHTS_CONNECTION_STRING": f"InstrumentationKey={KEY};IngestionEndpoint={url}/",
    }
