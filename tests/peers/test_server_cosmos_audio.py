"""The sound of calls while the store in Cosmos DB is gone, busy, and gets back what was kept: nothing of it is heard.

The bench's load sends a frame every 20 ms in each call and measures its way to the model and back. By default the
troubles are short, and the test only asserts that no frame and no document is lost, because a pause of a shared machine
decides the delays of so short a time. `TEST_AUDIO_S=60 TEST_CALLS=100` makes the troubles as long as real ones
and asserts the delay too; that is for a quiet machine.
"""

from __future__ import annotations

import os
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from peers.cosmos_servers import FAULTS, mend

from bench.report import COSMOS
from bench.servers import Bench, Options, bench, cores

pytestmark = [pytest.mark.sockets, pytest.mark.timed]

STEP_S = float(os.environ.get("TEST_AUDIO_S", "1.5"))
WARM_S = 1.0
CALLS = int(os.environ.get("TEST_CALLS", "20"))
MORE_MS = 5.0  # how much longer a frame may take at the 99th percentile
JUDGED_S = 10.0  # steps of this length and more are judged by it


@contextmanager
def faults_at_steps(url: str) -> Iterator[str]:
    """A page that the load reads before and after each step: every second step one fault after the other begins.

    It begins at the end of the step before, and ends with its own step. Yields the address of the page.
    """
    faults = iter(FAULTS)
    state = {"reads": 0, "fault": ""}

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state["reads"] += 1
            if state["reads"] % 4 == 2 and (fault := next(faults, None)) is not None:  # the end of a calm step
                state["fault"] = fault
                FAULTS[fault](url, WARM_S + STEP_S)
            elif state["reads"] % 4 == 0:  # the end of a step with a fault
                mend(url, str(state["fault"]))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def measured(stand: Bench) -> list[tuple[str, float, int, int]]:
    """Each step: its name, the 99th percentile of the round trips in ms, the frames that were sent, and those lost."""
    assert stand.beside is not None
    steps = ["calm", *(name for fault in FAULTS for name in (fault, f"after {fault}"))]
    with faults_at_steps(f"http://127.0.0.1:{stand.beside.port}/") as page:
        timing = ["--seconds", str(STEP_S), "--warm", str(WARM_S), "--counters", page]
        calls = ",".join([str(CALLS)] * len(steps))
        printed = stand.load("--calls", calls, *timing, timeout_s=60 + len(steps) * (STEP_S + WARM_S + 3))
    found = []
    for name, step in zip(steps, printed["steps"], strict=True):
        assert (step["failed"], step["errors"]) == ([], 0), (name, step)
        found.append((name, step["round_trip_ms"]["p99"], step["sent"], step["lost"]))
    return found


def test_a_store_that_fails_does_not_delay_the_sound(capfd: pytest.CaptureFixture[str]) -> None:
    server_core, load_core = cores()
    options = Options((sys.executable, "-m", "gateway.cli", "serve"), {}, None, server_core, load_core)
    with bench(COSMOS, options) as stand:
        stand.steps([1], 0.5, 0.3)  # everything is loaded
        found = measured(stand)
        port = stand.url.partition("://")[2].partition("/")[0]
        with urllib.request.urlopen(f"http://{port}/metrics", timeout=5) as answer:
            metrics = answer.read().decode()
    with capfd.disabled():
        for name, p99_ms, sent, lost in found:
            print(f"\n{CALLS} calls, {STEP_S:g} s, {name}: p99 {p99_ms:.2f} ms, {lost} of {sent} frames lost", end="")
    assert "patchbay_documents_lost_total 0.0\n" in metrics
    calm_ms = found[0][1]
    for name, p99_ms, _, lost in found:
        assert lost == 0, name
        assert STEP_S < JUDGED_S or p99_ms <= calm_ms + MORE_MS, (name, p99_ms, calm_ms)
