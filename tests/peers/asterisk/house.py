"""A gateway and a real Asterisk that know each other, for calls by telephone."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from peers.asterisk.pbx import Asterisk, Gateway, free_port, running, unpacked
from peers.asterisk.telephone import read_sound
from peers.client_gateway import write_bookings
from peers.demo_desk import wait_for_agents
from peers.server_process import ROOT, Server, start, stop

KEY = "pbx-key-of-no-worth"
PASSWORD = "media-password-of-no-worth"
DESK = "222"  # the offline agent
ECHO = "333"  # answers any sound with a long sentence
KEYS = "444"  # answers keys

ECHO_AGENT = """
model: scripted/scripts/echo.yaml
greeting: Hello there.
instructions: Listen.
limits: {idle_s: 20}
"""
ECHO_SCRIPT = """
pace: 3
ms_per_word: 150
voice_gate: 300
turns: []
otherwise: {hears: Something was said., say: "ANSWER", after_ms: 100}
"""
ANSWER = (
    "I have heard you well and shall go on about it for so long that you may want to interrupt me, and if you do not, "
    "then I shall go on and on about the sea, the boats and the old lighthouse until you have had enough of me."
)
KEYS_AGENT = """
model: scripted/scripts/keys.yaml
greeting: Please type the number of your table.
instructions: None.
tools: [{function: hang_up}]
phone: {keys: text, terminator: "#", rest_ms: 2000}
"""
KEYS_SCRIPT = """
model: keys
pace: 3
ms_per_word: 150
voice_gate: 300
turns:
  - {when: {text: "12"}, say: "Table twelve it is. Goodbye.", calls: [{name: hang_up, arguments: {}}]}
otherwise: {say: "Pardon?"}
"""


@dataclass(frozen=True, slots=True)
class House:
    """A running gateway, and the Asterisk in front of it."""

    server: Server
    asterisk: Asterisk
    known: set[str] = field(default_factory=set)  # the sessions of former calls

    def know_sessions(self) -> None:
        """Wait until no call is live; from now on only the sessions of later calls count as new."""
        until = time.monotonic() + 10
        found = self.sessions()
        while any(session["state"] != "ended" for session in found):
            assert time.monotonic() < until, found
            time.sleep(0.1)
            found = self.sessions()
        self.known.update(session["session_id"] for session in found)

    def sessions(self) -> list[Any]:
        """The sessions, the newest first."""
        status, answer = self.server.ask("/api/v1/sessions")
        assert status == 200, answer
        found: list[Any] = answer["sessions"]
        return found

    def last_session(self, within_s: float = 5.0) -> Any:
        """The newest session, once it is there and its record says that it is over."""
        until = time.monotonic() + within_s
        while True:
            sessions = [session for session in self.sessions() if session["session_id"] not in self.known]
            if sessions and sessions[0]["state"] == "ended":
                return self.server.session(sessions[0]["session_id"])
            assert time.monotonic() < until, sessions[:1]
            time.sleep(0.1)

    def bookings(self) -> list[tuple[Any, ...]]:
        """All rows of the bookings' database; none before the first use of it."""
        file = self.server.folder / "bookings.db"
        if not file.exists():
            return []
        with sqlite3.connect(file) as database:
            return database.execute("select * from bookings").fetchall()

    def until_no_channels(self, within_s: float = 3.0) -> bool:
        """Wait until Asterisk has no call left; False where that takes too long."""
        until = time.monotonic() + within_s
        while self.asterisk.channels():
            if time.monotonic() > until:
                return False
            time.sleep(0.1)
        return True


def write_house(folder: Path) -> None:
    """The files of the gateway: the demo agent, and two with scripts."""
    shutil.copytree(ROOT / "agents", folder / "agents")
    scripts = folder / "agents" / "scripts"
    scripts.mkdir(exist_ok=True)
    (folder / "agents" / "echo.yaml").write_text(ECHO_AGENT)
    (scripts / "echo.yaml").write_text(ECHO_SCRIPT.replace("ANSWER", ANSWER))
    (folder / "agents" / "keys.yaml").write_text(KEYS_AGENT)
    (scripts / "keys.yaml").write_text(KEYS_SCRIPT)
    write_bookings(folder)


@contextmanager
def open_house(folder: Path, **settings: str) -> Iterator[House]:
    """Start both, and wait until all agents can be called."""
    unpacked()
    write_house(folder)
    http_port, audiosocket_port = free_port(), free_port()
    given = {
        "PATCHBAY_API_KEYS": KEY,
        "PATCHBAY_NUMBERS": f"{DESK}=front-desk,{ECHO}=echo,{KEYS}=keys",
        "PATCHBAY_CARRIERS__ASTERISK__USER": "asterisk",
        "PATCHBAY_CARRIERS__ASTERISK__PASSWORD": PASSWORD,
        "PATCHBAY_CARRIERS__ASTERISK__MEDIA_URL": f"ws://127.0.0.1:{http_port}",
        "PATCHBAY_AUDIOSOCKET_PORT": str(audiosocket_port),
    }
    server = start(folder, **{**given, **settings})
    try:
        wait_for_agents(server)
        gateway = Gateway(
            url=server.url,
            audiosocket=f"127.0.0.1:{audiosocket_port}",
            media_uri=f"ws://127.0.0.1:{server.port}/telephony/asterisk/media",
            api_key=KEY,
            media_password=PASSWORD,
        )
        with running(folder / "asterisk", gateway, http_port=http_port) as asterisk:
            yield House(server, asterisk)
    finally:
        stop(server)


def speech(text: str, folder: Path) -> bytes:
    """A sentence in flite's voice, as 16-bit sound of 8 kHz. Skips the test where flite is missing."""
    flite = shutil.which("flite")
    if flite is None:
        pytest.skip("needs flite: apt install flite")
    wav = folder / "line.wav"
    subprocess.run([flite, "-voice", "kal16", "-t", text, "-o", str(wav)], check=True, capture_output=True)
    return read_sound(wav)
