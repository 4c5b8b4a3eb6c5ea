"""What a server prints when it is up, and how a command tells a fault: in words, or as one line of JSON."""

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
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what to dial, not where to listen
_DEMO = "front-desk"
_TURNS = ("I want to book a table", "two people", "tomorrow at seven pm", "my name is Robinson", "yes please")


@dataclass(frozen=True, slots=True)
class Ready:
    """A server that takes calls. `url` is such as `https://127.0.0.1:8080`."""

    url: str
    agents: tuple[str, ...]

    @property
    def websocket_url(self) -> str:
        """Where Realtime clients connect; the agent is missing."""
        return self.url.replace("http", "ws", 1) + REALTIME_PATH

    def line(self) -> str:
        """One JSON object."""
        return _line({"url": self.url, "websocket_url": self.websocket_url, "agents": list(self.agents)})


def ready_at(host: str, port: int, agents: tuple[str, ...], *, tls: bool) -> Ready:
    """The server as this machine reaches it, where it listens on `host`."""
    host = _EVERYWHERE.get(host, host)
    place = f"[{host}]" if ":" in host else host
    return Ready(f"{'https' if tls else 'http'}://{place}:{port}", agents)


def welcome(ready: Ready, program: str, *, keys: bool) -> str:
    """Where the gateway is, and a command that calls it. `keys`: it asks for one."""
    first = _DEMO if _DEMO in ready.agents else ready.agents[0]
    with_key = ", with one of its keys in PATCHBAY_API_KEY" if keys else ""
    return (
        f"Patchbay is up at {ready.url}  (agents: {', '.join(ready.agents)})\n"
        f"  talk in a browser:   {ready.url}/\n"
        f"  Realtime clients:    {ready.websocket_url}?model={first}\n"
        f"  try, in another terminal{with_key}:\n"
        f"    {_command(ready.url, program, first)}\n"
    )


def tell_ready(text: str) -> None:
    """Print where the server is; it serves all the same where that cannot be (a full disk, a reader that has left)."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as problem:
        log.warning("the address could not be printed", extra={"reason": problem.strerror})
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - what is left unwritten must not fail again at the exit


def own_program() -> str:
    """How this command was called, to be called so again."""
    return sys.argv[0] if Path(sys.argv[0]).name == "patchbay" else ".venv/bin/patchbay"


def error_line(message: str) -> str:
    """A fault as one JSON object."""
    # A file's name need not be text; as it is, the line would be no UTF-8, or could not be written at all.
    return _line({"error": {"message": message.encode(errors="backslashreplace").decode()}})


def tell_fault(message: str, *, as_json: bool) -> None:
    """On standard output for a program that reads JSON, else on standard error for a person."""
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
        words.append("--insecure")  # its certificate is for the name that callers use, and maybe self-signed
    for turn in _TURNS:
        words += ["--text", turn]
    return " ".join(shlex.quote(word) for word in words)
