"""The servers of the telephone rows: what stands behind them, the server, and the telephone load, each on its core."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.phone_callers import ACCOUNT, AUDIOSOCKET, TOKEN, TWILIO
from bench.phone_figures import PhoneStep, phone_step_from_json
from bench.phone_floor import ECHO, SILENCE, TWILIO_ECHO
from bench.processes import Child, Children, clean_environment, free_port, idle_rss_mb, printed_by
from bench.servers import READY_S, ROOT, Options, patchbay_environment

DIRECT = "direct"  # no server at all: the load talks to an echo
FLOOR = "floor"  # Twilio: the relay of the same frames; AudioSocket: the ticker that writes silence
PATCHBAY, WIDE = "patchbay", "patchbay 8<->24 kHz"
WIDE_COMMAND = (sys.executable, "-m", "bench.phone_wide", "serve")


@dataclass(frozen=True, slots=True)
class PhoneBench:
    """Running processes, and where telephones call: `url` is the media socket, `web` the gateway's HTTP address."""

    protocol: str
    options: Options
    children: Children
    beside: Child  # what shares the load's core
    server: Child | None
    url: str
    web: str | None

    def step(self, calls: int, seconds: float, warm_s: float) -> PhoneStep:
        """Run the load. Raises BenchFailed."""
        options = self.options
        command = [sys.executable, "-m", "bench", "phone_load", self.protocol, "--url", self.url]
        command += ["--web", self.web] if self.web is not None else []
        command += ["--calls", str(calls), "--seconds", str(seconds), "--warm", str(warm_s)]
        command += ["--watch", f"model={self.beside.pid}"]
        command += ["--watch", f"server={self.server.pid}"] if self.server is not None else []
        command += ["--core", f"server={options.server_core}", "--core", f"load={options.load_core}"]
        environment = clean_environment({"PYTHONPATH": str(ROOT)})
        load = self.children.start("load", command, options.load_core, environment, subprocess.PIPE)
        timeout_s = 30 + calls / 40 + seconds + warm_s
        return printed_by(load, self.server, timeout_s, lambda printed: phone_step_from_json(json.loads(printed)))

    def idle_rss_mb(self) -> float:
        """The server's memory before the calls, but after one call; the lowest of 2 s."""
        self.step(1, 0.5, 0.3)
        return 0.0 if self.server is None else idle_rss_mb(self.server)


@contextmanager
def phone_bench(protocol: str, server: str, options: Options) -> Iterator[PhoneBench]:
    """Start what a row needs, with an empty data folder; afterwards end it all and remove the folder."""
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        with Children(folder) as children:
            start = _start_patchbay if server in (PATCHBAY, WIDE) else _start_floor
            yield start(protocol, server, options, children)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _start_floor(protocol: str, server: str, options: Options, children: Children) -> PhoneBench:
    twilio = protocol == TWILIO
    kind, core = (TWILIO_ECHO if twilio else ECHO), options.load_core
    if server == FLOOR and not twilio:
        kind, core = SILENCE, options.server_core
    port = free_port()
    environment = clean_environment({"PYTHONPATH": str(ROOT), **options.server_environment})
    command = [sys.executable, "-m", "bench", "phone_floor", kind, "--port", str(port)]
    child = children.start(kind, command, core, environment)
    _wait_ready(child, port, web=twilio)
    url = f"{'ws' if twilio else 'tcp'}://127.0.0.1:{port}/"
    if server == DIRECT:
        return PhoneBench(protocol, options, children, child, None, url, None)
    if not twilio:
        return PhoneBench(protocol, options, children, child, child, url, None)
    port = free_port()
    command = [sys.executable, "-m", "bench", "relay", "--port", str(port), "--upstream", url]
    relay = children.start("relay", command, options.server_core, environment)
    relay.wait_ready(port, READY_S)
    return PhoneBench(protocol, options, children, child, relay, f"ws://127.0.0.1:{port}/", None)


def _start_patchbay(protocol: str, server: str, options: Options, children: Children) -> PhoneBench:
    model_port, port, sound_port = free_port(), free_port(), free_port()
    command = [sys.executable, "-m", "bench", "model", "--port", str(model_port)]
    model = children.start("model", command, options.load_core, clean_environment({"PYTHONPATH": str(ROOT)}))
    model.wait_ready(model_port, READY_S)
    extra = phone_settings(protocol, port, sound_port) | options.server_environment
    environment = patchbay_environment(children.folder, port, model_port, extra)
    served = WIDE_COMMAND if server == WIDE else options.server_command
    child = children.start("patchbay", served, options.server_core, environment)
    child.wait_ready(port, READY_S)
    web = f"http://127.0.0.1:{port}"
    url = f"tcp://127.0.0.1:{sound_port}" if protocol == AUDIOSOCKET else web
    return PhoneBench(protocol, options, children, model, child, url, web)


def phone_settings(protocol: str, port: int, sound_port: int) -> dict[str, str]:
    """The settings that let telephone calls of this protocol in, beside those of every row."""
    numbers = {"PATCHBAY_NUMBERS": "*=bench"}
    if protocol == AUDIOSOCKET:
        port_of_sound = {"PATCHBAY_AUDIOSOCKET_PORT": str(sound_port)}
        return {**numbers, "PATCHBAY_CARRIERS__ASTERISK__TENANT": "default", **port_of_sound}
    return {
        **numbers,
        "PATCHBAY_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "PATCHBAY_CARRIERS__TWILIO__ACCOUNT_SID": ACCOUNT,
        "PATCHBAY_CARRIERS__TWILIO__AUTH_TOKEN": TOKEN,
    }


def _wait_ready(child: Child, port: int, *, web: bool) -> None:
    """Wait until a floor listens; without HTTP, by a connection. Raises BenchFailed."""
    if web:
        child.wait_ready(port, READY_S)
        return
    deadline_s = time.monotonic() + READY_S
    while time.monotonic() < deadline_s:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=2).close()
        except OSError:
            time.sleep(0.01)
            continue
        return
    raise child.failure(f"was not ready after {READY_S:.0f} s")
