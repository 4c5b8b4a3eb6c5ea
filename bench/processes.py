"""Processes under measurement: started on one core, watched through /proc, and gone when the benchmark is."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import IO, Any

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_KEEPS = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH")


class BenchFailed(Exception):
    """A process did not do its part; the text says which and shows the end of what it printed."""


def _family(pid: int) -> list[int]:
    """The process and its living descendants."""
    pids = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            pids += _family(int(child))
    return pids


def cpu_s(pid: int) -> float:
    """CPU time of a process, its threads, and its children, in steps of 10 ms. 0 when it is gone."""
    total = 0
    for member in _family(pid):
        try:
            fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(int(ticks) for ticks in fields[11:15])  # utime, stime, and those of the children waited for
    return total / _TICKS_A_SECOND


def core_s(core: int) -> float:
    """How long a core has been busy since the machine started, with anybody's work, in steps of 10 ms."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *ticks = line.split()
        if name == f"cpu{core}":
            user, nice, system, _idle, _waiting, irq, softirq, stolen = (int(part) for part in ticks[:8])
            return (user + nice + system + irq + softirq + stolen) / _TICKS_A_SECOND
    raise BenchFailed(f"there is no core {core}")


def rss_mb(pid: int) -> float:
    """Resident memory of a process and its children in MB (10**6 bytes). 0 when it is gone."""
    pages = 0
    for member in _family(pid):
        try:
            pages += int(Path(f"/proc/{member}/statm").read_text().split()[1])
        except OSError:
            continue
    return pages * _PAGE_BYTES / 1e6


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def clean_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """What a measured process sees: none of the caller's keys, proxies or settings."""
    return {name: os.environ[name] for name in _KEEPS if name in os.environ} | dict(extra)


@dataclass
class Child:
    """A started process, the leader of its own group."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    started_s: float

    @property
    def pid(self) -> int:
        return self.process.pid

    def fail(self, what: str) -> BenchFailed:
        """The error to raise, with the end of the child's log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return BenchFailed(f"{self.name} {what}\n{text[-2000:]}".rstrip())

    def wait_ready(self, port: int, timeout_s: float) -> float:
        """Wait until GET /readyz answers 200; the CPU time used up to then. Raises BenchFailed."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise self.fail(f"ended with code {self.process.returncode} before it was ready")
            if _is_ready(port):
                return cpu_s(self.pid)
            time.sleep(0.01)
        raise self.fail(f"was not ready after {timeout_s:.0f} s")

    def stop(self, patience_s: float = 5.0) -> None:
        """End it: politely, then not. Its whole group goes with it."""
        for number, wait_s in ((signal.SIGTERM, patience_s), (signal.SIGKILL, 5.0)):
            if self.process.poll() is not None:
                break
            self.process.send_signal(number)
            try:
                self.process.wait(wait_s)
            except subprocess.TimeoutExpired:
                continue
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return


def _is_ready(port: int) -> bool:
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        link.request("GET", "/readyz")
        return link.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        link.close()


@cache
def _dies_with_parent() -> tuple[str, ...]:
    """What to put before a command, so that even a killed benchmark leaves nothing running."""
    prefix = (shutil.which("setpriv") or "", "--pdeathsig", "KILL")
    works = bool(prefix[0]) and subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0
    return prefix if works else ()  # a small system's setpriv may lack it


@contextmanager
def _on_core(core: int) -> Iterator[None]:
    """What is started in the block inherits the core; no code has to run in the child between fork and exec."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@dataclass
class Children:
    """Every process that was started here; leaving the block ends them, newest first."""

    folder: Path
    _running: list[Child] = field(default_factory=list)

    def __enter__(self) -> Children:
        return self

    def __exit__(self, *_: object) -> None:
        while self._running:
            self._running.pop().stop()

    def start(
        self,
        name: str,
        command: Sequence[str],
        core: int,
        environment: Mapping[str, str],
        stdout: int | IO[bytes] | None = None,
    ) -> Child:
        """Start a process on one core, in the folder; what it prints goes to a log there, stdout as told."""
        log = self.folder / f"{name}-{len(list(self.folder.glob('*.log')))}.log"
        with log.open("wb") as out, _on_core(core):
            process: subprocess.Popen[Any] = subprocess.Popen(
                [*_dies_with_parent(), *command],
                stdin=subprocess.DEVNULL,
                stdout=out if stdout is None else stdout,
                stderr=out,
                cwd=self.folder,
                env=dict(environment),
                start_new_session=True,
            )
        child = Child(name, process, log, time.monotonic())
        self._running.append(child)
        return child
