"""The stand-in in a process of its own, for tests with real processes and for the bench."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cosmos.auth import KEY

ROOT = Path(__file__).parents[2]
CONTROL_S = 5.0


def control(url: str, verb: str, route: str, told: Any = None) -> Any:
    """Ask a stand-in at `url`, which ends with a slash, by one of the routes in control.py. Raises HTTPError."""
    body = None if told is None else json.dumps(told).encode()
    request = urllib.request.Request(f"{url}_control/{route}", data=body, method=verb)
    with urllib.request.urlopen(request, timeout=CONTROL_S) as answer:
        return json.loads(answer.read())


@dataclass(frozen=True, slots=True)
class Remote:
    """A running stand-in."""

    process: subprocess.Popen[str]
    url: str  # http://127.0.0.1:PORT/
    key: str

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self.url.rstrip("/").rpartition(":")[2])

    def control(self, verb: str, route: str, told: Any = None) -> Any:
        """Ask one of the routes in control.py. Raises HTTPError for what it does not take."""
        return control(self.url, verb, route, told)

    def kill(self) -> None:
        """End it at once. What it held is lost."""
        self.process.kill()
        self.process.wait()


@contextmanager
def running(*options: str) -> Iterator[Remote]:
    """A stand-in with these options of the command line, on a free port unless they name one; ended at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.cosmos", *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            raise RuntimeError("the stand-in did not start; its own message is above")
        yield Remote(process, line.split()[-1], KEY)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=CONTROL_S)
        process.stdout.close()
