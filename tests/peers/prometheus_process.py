"""Debian's Prometheus as a process of its own, on a loopback port, with its data in a folder of the test."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from peers.server_process import ROOT, Server

OBSERVE = ROOT / "infra" / "observe"
PROGRAM = shutil.which("prometheus")
needs_prometheus = pytest.mark.skipif(PROGRAM is None, reason="install Debian's prometheus")
READY_S = 20.0
# Instead of minutes, so that a test sees in seconds what a monitor sees in half an hour.
WINDOW_S = 8
FOR_S = 2


@dataclass(frozen=True)
class Prometheus:
    """One running Prometheus."""

    url: str

    def ask(self, path: str, **given: Any) -> Any:
        """What its HTTP API answers."""
        address = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(given)}"
        with urllib.request.urlopen(address, timeout=10) as answer:
            return json.load(answer)["data"]

    def during(self, expr: str, since_s: float, until_s: float) -> list[dict[str, Any]]:
        """The series that an expression gave in this time, second by second, without those that were never a number."""
        found = self.ask("query_range", query=expr, start=since_s, end=until_s, step=1)["result"]
        return [series for series in found if any(value != "NaN" for _, value in series["values"])]

    def alerts(self) -> dict[tuple[str, str], tuple[str, dict[str, str]]]:
        """State and annotations of the alerts that are pending or firing, by name and agent."""
        found = self.ask("alerts")["alerts"]
        return {
            (alert["labels"]["alertname"], alert["labels"].get("agent", "")): (alert["state"], alert["annotations"])
            for alert in found
        }


def hurried(rules: str) -> str:
    """The text of a rule file with seconds where it has minutes and hours."""
    rules = re.sub(r"\[\d+[mh]\]", f"[{WINDOW_S}s]", rules)
    rules = re.sub(r"offset \d+m", f"offset {WINDOW_S}s", rules)
    rules = re.sub(r"for: \d+[ms]", f"for: {FOR_S}s", rules)
    return re.sub(r"interval: \d+s", "interval: 1s", rules)


def write_config(folder: Path, server: Server) -> Path:
    """The example of a configuration, hurried, for one server with a key."""
    for name in ("rules.yaml", "alerts.yaml"):
        (folder / name).write_text(hurried((OBSERVE / name).read_text()))
    config = yaml.safe_load((OBSERVE / "prometheus.yaml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    del config["alerting"]
    (job,) = config["scrape_configs"]
    job["static_configs"] = [{"targets": [f"127.0.0.1:{server.port}"]}]
    job["authorization"] = {"credentials": server.key}
    path = folder / "prometheus.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


@contextmanager
def prometheus(folder: Path, server: Server) -> Iterator[Prometheus]:
    """A Prometheus that scrapes the server each second. It is stopped on exit."""
    assert PROGRAM is not None
    folder.mkdir()
    config = write_config(folder, server)
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    options = [f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address={address}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([PROGRAM, *options], cwd=folder, stdout=log, stderr=log)
    try:
        _wait_until_ready(f"http://{address}", process, folder / "log")
        yield Prometheus(f"http://{address}")
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + READY_S
    while True:
        try:
            with urllib.request.urlopen(f"{url}/-/ready", timeout=1):
                return
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.1)
