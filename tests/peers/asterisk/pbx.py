"""A real Asterisk for tests, one process each, from the unpacked system that `build.sh` leaves in a cache folder."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
CONFIGURATION = (ROOT / "infra" / "telephony" / "asterisk", Path(__file__).parent / "etc")
LIBRARIES = "usr/lib/x86_64-linux-gnu"
START_S = 30.0
STOP_S = 5.0
RTP_PORTS = 600  # for one Asterisk; a call takes two, and Asterisk tries them at random


def unpacked() -> Path:
    """The unpacked system. Skips the test where there is none."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "patchbay" / "asterisk"
    if not (folder / "ready").exists():
        pytest.skip("needs Asterisk: bash tests/peers/asterisk/build.sh, which needs apt")
    return folder / "root"


def program(root: Path, path: str, *libraries: str) -> list[str]:
    """The command that runs an unpacked program by its own loader, as this machine's C library may be older."""
    searched = ":".join(str(root / one) for one in (LIBRARIES, *libraries))
    loader = root / "usr/lib64/ld-linux-x86-64.so.2"
    return [str(loader), "--library-path", searched, "--argv0", Path(path).name, str(root / path)]


@dataclass(frozen=True, slots=True)
class Gateway:
    """What the configuration says of the gateway."""

    url: str  # http or https, for the registration of calls
    audiosocket: str = "127.0.0.1:9"  # host and port
    media_uri: str = "ws://127.0.0.1:9/telephony/asterisk/media"
    api_key: str = "none"
    media_user: str = "asterisk"
    media_password: str = "media-password"


@dataclass(frozen=True, slots=True)
class Asterisk:
    """One running Asterisk. `run` is its folder."""

    root: Path
    run: Path
    process: subprocess.Popen[bytes]
    sip_port: int
    http_port: int

    @property
    def media_url(self) -> str:
        """Where the gateway dials media sockets."""
        return f"ws://127.0.0.1:{self.http_port}"

    def cli(self, line: str) -> str:
        """What a command on its console prints."""
        command = [*_command(self.root, self.run), "-rx", line]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=False).stdout

    def log(self) -> str:
        """What it has logged."""
        return _read(self.run / "log" / "messages.log")

    def channels(self) -> int:
        """How many channels there are; 0 when no call is left."""
        return int(self.cli("core show channels count").split()[0])


@contextmanager
def running(run: Path, gateway: Gateway, *, http_port: int | None = None) -> Iterator[Asterisk]:
    """An Asterisk that has started. `run` is a folder of its own.

    `http_port` is that of its HTTP server, where the gateway has to know it before; `free_port` finds one.
    """
    root = unpacked()
    sip_port, http_port = free_port(socket.SOCK_DGRAM), http_port or free_port()
    rtp_start = random.randrange(10_000, 32_000 - RTP_PORTS, RTP_PORTS)
    values = {
        "ROOT": str(root),
        "RUN": str(run),
        "SIP_PORT": str(sip_port),
        "HTTP_PORT": str(http_port),
        "RTP_START": str(rtp_start),
        "RTP_END": str(rtp_start + RTP_PORTS - 1),
        "GATEWAY_URL": gateway.url,
        "API_KEY": gateway.api_key,
        "AUDIOSOCKET": gateway.audiosocket,
        "MEDIA_URI": gateway.media_uri,
        "MEDIA_USER": gateway.media_user,
        "MEDIA_PASSWORD": gateway.media_password,
        "MEDIA_TLS": "yes" if gateway.media_uri.startswith("wss") else "no",
    }
    _write_configuration(run, values)
    with (run / "log" / "out").open("wb") as out:
        process = subprocess.Popen(
            [*_command(root, run), "-f"], stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
        )
    asterisk = Asterisk(root, run, process, sip_port, http_port)
    try:
        _wait_until_ready(asterisk)
        yield asterisk
    finally:
        _stop(process)


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port of loopback that is free now."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _command(root: Path, run: Path) -> list[str]:
    return [*program(root, "usr/sbin/asterisk"), "-C", str(run / "etc" / "asterisk.conf")]


def _write_configuration(run: Path, values: Mapping[str, str]) -> None:
    for folder in ("etc", "var", "spool", "run", "log"):
        (run / folder).mkdir(parents=True, exist_ok=True)
    for source in CONFIGURATION:
        for file in source.iterdir():
            text = file.read_text()
            if file.suffix == ".in":
                for name, value in values.items():
                    text = text.replace(f"@{name}@", value)
            (run / "etc" / file.name.removesuffix(".in")).write_text(text)


def _wait_until_ready(asterisk: Asterisk) -> None:
    until = time.monotonic() + START_S
    while "Asterisk Ready" not in asterisk.log() or not (asterisk.run / "run" / "asterisk.ctl").exists():
        if asterisk.process.poll() is not None or time.monotonic() > until:
            raise AssertionError(f"Asterisk did not start:\n{_read(asterisk.run / 'log' / 'out')}\n{asterisk.log()}")
        time.sleep(0.05)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _read(file: Path) -> str:
    return file.read_text(errors="replace") if file.exists() else ""
