"""What a server prints when it is ready, and how a command reports an error: in words, or as one line of JSON."""

from __future__ import annotations

import json
import logging
import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger("patchbay.server")

REALTIME_PATH = "/v1/realtime"
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - an address to dial, not to listen on
_DEMO = "front-desk"
_TURNS = ("I want to book a table", "two people", "tomorrow at seven pm", "my name is Robinson", "yes please")


@dataclass(frozen=True, slots=True)
class Ready:
    """A server that accepts calls; `url` looks like `https://127.0.0.1:8080`."""

    url: str
    agents: tuple[str, ...]
    metrics_url: str | None = None  # on a port of their own, without a key

    @property
    def websocket_url(self) -> str:
        """The address for Realtime clients, without the agent's name."""
        return self.url.replace("http", "ws", 1) + REALTIME_PATH

    def line(self) -> str:
        """The server as one line of JSON."""
        shown: dict[str, object] = {
            "url": self.url,
            "websocket_url": self.websocket_url,
            "agents": list(self.agents),
        }
        return _line(shown if self.metrics_url is None else {**shown, "metrics_url": self.metrics_url})


def ready_at(host: str, port: int, agents: tuple[str, ...], *, tls: bool) -> Ready:
    """The server's address as seen from this machine, where it listens on `host`."""
    return Ready(f"{'https' if tls else 'http'}://{_place(host)}:{port}", agents)


def metrics_at(host: str, port: int) -> str:
    """The address of `/metrics` on a port of its own, as seen from this machine."""
    return f"http://{_place(host)}:{port}/metrics"


def _place(host: str) -> str:
    host = _EVERYWHERE.get(host, host)
    return f"[{host}]" if ":" in host else host


def welcome(ready: Ready, program: str, *, keys: bool) -> str:
    """The text that names the gateway's addresses and a command that calls it. `keys`: the gateway requires a key."""
    first = _DEMO if _DEMO in ready.agents else ready.agents[0]
    with_key = ", with one of its keys in PATCHBAY_API_KEY" if keys else ""
    metrics = "" if ready.metrics_url is None else f"  metrics, without key: {ready.metrics_url}\n"
    return (
        f"Patchbay is up at {ready.url}  (agents: {', '.join(ready.agents)})\n"
        f"  talk in a browser:   {ready.url}/\n"
        f"  Realtime clients:    {ready.websocket_url}?model={first}\n"
        f"{metrics}"
        f"  try, in another terminal{with_key}:\n"
        f"    {_command(ready.url, program, first)}\n"
    )


def print_ready(text: str) -> None:
    """Print where the server is. It goes on where printing fails (a full disk, a closed pipe)."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as problem:
        log.warning("the address could not be printed", extra={"reason": problem.strerror})
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - the unwritten rest must not fail again at exit


def own_program() -> str:
    """The program name with which this command was started, for use in an example."""
    return sys.argv[0] if Path(sys.argv[0]).name == "patchbay" else ".venv/bin/patchbay"


def error_line(message: str) -> str:
    """An error as one line of JSON."""
    # A file name may hold bytes that are not text; unescaped, the line would not be UTF-8, or could not be written.
    return _line({"error": {"message": message.encode(errors="backslashreplace").decode()}})


def print_error(message: str, *, as_json: bool) -> None:
    """Print an error: on standard output for a program that reads JSON, else on standard error."""
    if as_json:
        sys.stdout.write(error_line(message))
    else:
        sys.stderr.write(f"patchbay: {message}\n")


def _line(value: object) -> str:
    return json.dumps(value, ensure_ascii=False) + "\n"


def _command(url: str, program: str, agent: str) -> str:
    words = [program, "call", agent]
    if url != "http://127.0.0.1:8080":
        words += ["--url", url]
    if url.startswith("https:"):
        # The certificate names the host that callers use, and may be self-signed.
        words.append("--insecure")
    for turn in _TURNS:
        words += ["--text", turn]
    return " ".join(shlex.quote(word) for word in words)
