"""A real `patchbay serve` in its own folder: agents with scripted models, and the bookings server as tools."""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audio.formats import PCM16_24K
from audio.resampling import resample_in_place
from audio.wav import read_wav
from gateway.models.scripted.sound import word

ROOT = Path(__file__).resolve().parents[2]
KEY = "peers-key-of-no-worth"
READY_S = 30.0

AGENT = """
model: scripted/scripts/{name}.yaml
instructions: Take bookings for the Harbour Restaurant. Today is {{today}}.
tools:
  - mcp: bookings
recording: on
replay: full
"""

# The answers are sent at three times the pace of speech, so that more has always been sent than heard.
DESK = """
model: desk
pace: 3
ms_per_word: 200
usage: {input_text: 20, input_audio: 40, output_text: 10, output_audio: 60}
turns:
  - when: {text: introduce}
    say: Harbour Restaurant.
  - hears: {text: "Hello, anybody there?", after_ms: 300}
    say: Good evening. How can I help?
  - hears: {text: "A table for two, please.", parts: true}
    say: One moment, I am looking.
    calls:
      - {name: find_tables, arguments: {date: tomorrow, time: "19:00", party_size: 2}}
  - when: {tool: find_tables}
    say: There is a table for two at seven.
  - hears: How will the weather be?
    calls:
      - {name: get_weather, arguments: {place: Harbour}}
  - when: {tool: get_weather, contains: sunny}
    say: >-
      Tomorrow will be sunny all day long with a light wind from the sea in the morning and a warm calm evening on our
      terrace from where you can watch the boats come home while the sun goes down behind the old lighthouse.
  - hears: Thank you, enough.
    say: Goodbye then.
otherwise: {say: "Pardon?"}
"""

# The same conversation with each answer sent at once, so nothing is left to cancel when the caller interrupts. One
# answer calls both tools; the answer before it shows the client nothing.
BRISK = """
model: brisk
pace: fast
ms_per_word: 200
turns:
  - when: {text: introduce}
    say: Harbour Restaurant.
  - hears: Hello, anybody there?
    calls:
      - {name: list_bookings, arguments: {}}
  - when: {tool: list_bookings}
    say: Good evening. How can I help?
  - hears: {text: "A table for two, please.", after_ms: 200}
    say: One moment, I am looking.
    calls:
      - {name: get_weather, arguments: {place: Harbour}}
      - {name: find_tables, arguments: {date: tomorrow, time: "19:00", party_size: 2}}
  - when: {tool: find_tables}
    say: There is a table for two at seven.
  - hears: How will the weather be?
    say: >-
      Tomorrow will be sunny all day long with a light wind from the sea in the morning and a warm calm evening on our
      terrace from where you can watch the boats come home while the sun goes down behind the old lighthouse.
  - hears: Thank you, enough.
    say: Goodbye then.
otherwise: {say: "Pardon?"}
"""

TYPED = "Please introduce yourself."
LINES = {
    "hello": "Hello, anybody there?",
    "table": "A table for two, please.",
    "weather": "How will the weather be?",
    "stop": "Thank you, enough.",
}


def write_bookings(folder: Path) -> None:
    """Write the file that names the MCP server of bookings, which has a database there and a day that never changes."""
    bookings = {
        "command": sys.executable,
        "args": ["-m", "mcp_servers.bookings"],
        "env": {
            "BOOKINGS_DB": str(folder / "bookings.db"),
            "BOOKINGS_NOW": "2026-11-24T12:00:00",
            "PYTHONPATH": str(ROOT),
        },
    }
    (folder / "mcp.json").write_text(json.dumps({"mcpServers": {"bookings": bookings}}))


def write_files(folder: Path) -> None:
    """Write all files of one gateway, and the caller's lines as `lines/NAME.pcm` (PCM16, 24 kHz)."""
    (folder / "agents" / "scripts").mkdir(parents=True)
    for name, script in {"desk": DESK, "brisk": BRISK}.items():
        (folder / "agents" / f"{name}.yaml").write_text(AGENT.format(name=name))
        (folder / "agents" / "scripts" / f"{name}.yaml").write_text(script)
    write_bookings(folder)
    (folder / "lines").mkdir()
    (folder / "lines" / "typed.txt").write_text(TYPED)
    for name, text in LINES.items():
        (folder / "lines" / f"{name}.pcm").write_bytes(spoken(text, folder / "line.wav"))


def spoken(text: str, wav: Path) -> bytes:
    """The line in flite's voice, or in the placeholder voice where flite is missing."""
    flite = shutil.which("flite")
    if flite is None:
        return word(250, PCM16_24K) * len(text.split())
    subprocess.run(
        [flite, "-voice", "slt", "--setf", "duration_stretch=0.75", "-t", text, "-o", str(wav)],
        check=True,
        capture_output=True,
    )
    format, (sound,) = read_wav(wav)
    return b"".join(resample_in_place([sound], format.rate_hz, PCM16_24K.rate_hz))


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for this machine's loopback address, and its key."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    asked = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", "/CN=patchbay-peers", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    files = ["-days", "2", "-keyout", str(key), "-out", str(cert)]
    subprocess.run([*asked, *names, *files], check=True, capture_output=True)
    return cert, key


@dataclass
class ClientGateway:
    """One running gateway. `url` is http or https, without a path."""

    url: str
    folder: Path
    cert: Path | None
    process: subprocess.Popen[bytes]

    def get(self, path: str) -> Any:
        """What the HTTP API answers."""
        request = urllib.request.Request(self.url + path, headers={"Authorization": f"Bearer {KEY}"})
        context = ssl.create_default_context(cafile=self.cert) if self.cert is not None else None
        with urllib.request.urlopen(request, timeout=5, context=context) as answer:
            return json.loads(answer.read() or b"null")

    def log(self) -> str:
        """What the gateway has printed."""
        return (self.folder / "serve.log").read_text(errors="replace")

    def close(self) -> None:
        """Stop the gateway as an operator would."""
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def open_gateway(folder: Path, *, tls: bool) -> ClientGateway:
    """Write the files, start the gateway, and wait until it accepts calls with all of the agent's tools."""
    write_files(folder)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    cert = key = None
    settings = {
        "PATCHBAY_PORT": str(port),
        "PATCHBAY_DATA_DIR": str(folder / "data"),
        "PATCHBAY_AGENTS_DIR": str(folder / "agents"),
        "PATCHBAY_MCP_CONFIG": str(folder / "mcp.json"),
        "PATCHBAY_PLUGINS_DIR": "none",
        "PATCHBAY_API_KEYS": KEY,
        "PATCHBAY_DRAIN_S": "1",
    }
    if tls:
        cert, key = certificate(folder)
        settings |= {"PATCHBAY_TLS_CERT": str(cert), "PATCHBAY_TLS_KEY": str(key)}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PATCHBAY_")}
    with (folder / "serve.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway.cli", "serve"],
            cwd=folder,
            env={**kept, **settings, "PYTHONPATH": str(ROOT)},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    gateway = ClientGateway(f"{'https' if tls else 'http'}://127.0.0.1:{port}", folder, cert, process)
    try:
        _wait_until_ready(gateway)
    except BaseException:
        gateway.close()
        raise
    return gateway


def _wait_until_ready(gateway: ClientGateway) -> None:
    until = time.monotonic() + READY_S
    while True:
        try:
            gateway.get("/readyz")
            return
        except (urllib.error.URLError, OSError):
            if gateway.process.poll() is not None or time.monotonic() > until:
                raise AssertionError(f"the gateway did not start:\n{gateway.log()}") from None
            time.sleep(0.05)
