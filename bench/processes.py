"""The processes that are measured: each is started on one core, observed through /proc, and ended by the benchmark."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import IO, Any, TypeVar

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_PROCESS_CLOCK = 2  # CPUCLOCK_SCHED of linux/posix-timers.h
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_KEEPS = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH")
SETTLE_S = 0.25
SETTLE_SAMPLES = 8
Figures = TypeVar("Figures")


class BenchFailed(Exception):
    """A process failed; the text names it and shows the end of its output."""


def family(pid: int) -> list[int]:
    """The process and its living descendants."""
    pids = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            pids += family(int(child))
    return pids


def cpu_s(pid: int) -> float:
    """CPU time of a process with its threads and children, in steps of 10 ms; 0 if it has ended."""
    total = 0
    for member in family(pid):
        try:
            fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(int(ticks) for ticks in fields[11:15])  # utime, stime, cutime, cstime
    return total / _TICKS_A_SECOND


def own_cpu_s(pid: int) -> float:
    """CPU time of a process with its threads, those that have ended too, and without its children; 0 if it has ended.

    In nanoseconds, from the clock that the kernel keeps for each process (clock_getcpuclockid(3)).
    """
    try:
        return time.clock_gettime(~pid << 3 | _PROCESS_CLOCK)
    except OSError:
        return 0.0


def core_s(core: int) -> float:
    """How long a core has been busy with any process since the machine started, in steps of 10 ms."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *ticks = line.split()
        if name == f"cpu{core}":
            user, nice, system, _idle, _waiting, irq, softirq, stolen = (int(part) for part in ticks[:8])
            return (user + nice + system + irq + softirq + stolen) / _TICKS_A_SECOND
    raise BenchFailed(f"there is no core {core}")


def rss_mb(pid: int) -> float:
    """Resident memory of a process and its children in MB (10**6 bytes); 0 if it has ended."""
    return own_rss_mb(*family(pid))


def own_rss_mb(*pids: int) -> float:
    """Resident memory of these processes alone, in MB (10**6 bytes); of those that have ended, 0."""
    pages = 0
    for member in pids:
        try:
            pages += int(Path(f"/proc/{member}/statm").read_text().split()[1])
        except OSError:
            continue
    return pages * _PAGE_BYTES / 1e6


def free_port() -> int:
    """A free port of loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def clean_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The environment of a measured process, without the keys, proxies and settings of the user."""
    return {name: os.environ[name] for name in _KEEPS if name in os.environ} | dict(extra)


@dataclass
class Child:
    """A started process, which leads its own process group."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    started_s: float

    @property
    def pid(self) -> int:
        return self.process.pid

    def failure(self, what: str) -> BenchFailed:
        """The error to raise, with the end of the child's log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return BenchFailed(f"{self.name} {what}\n{text[-2000:]}".rstrip())

    def wait_ready(self, port: int, timeout_s: float, path: str = "/readyz") -> float:
        """Wait until GET `path` answers 200; returns the CPU time used until then. Raises BenchFailed."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise self.failure(f"ended with code {self.process.returncode} before it was ready")
            if _is_ready(port, path):
                return cpu_s(self.pid)
            time.sleep(0.01)
        raise self.failure(f"was not ready after {timeout_s:.0f} s")

    def stop(self, patience_s: float = 5.0) -> None:
        """End the process and its group: with SIGTERM, and after `patience_s` with SIGKILL."""
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


def printed_by(load: Child, server: Child | None, timeout_s: float, read: Callable[[bytes], Figures]) -> Figures:
    """What a load has printed, once it has ended; `read` raises ValueError for what is no figures.

    Raises BenchFailed where it does not end in time or fails, or where the server has ended under it.
    """
    try:
        printed, _ = load.process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired as error:
        load.stop(0.5)
        raise load.failure(f"did not end within {timeout_s:.0f} s") from error
    if server is not None and server.process.poll() is not None:
        raise server.failure("ended under the load")
    if load.process.returncode != 0:
        raise load.failure(f"ended with code {load.process.returncode}")
    try:
        return read(printed)
    except ValueError as error:
        raise load.failure("printed no figures") from error


def idle_rss_mb(server: Child) -> float:
    """A server's memory after a call; the lowest of 2 s, as work that the call has left behind must not count."""
    lowest_mb = rss_mb(server.pid)
    for _ in range(SETTLE_SAMPLES):
        time.sleep(SETTLE_S)
        lowest_mb = min(lowest_mb, rss_mb(server.pid))
    return lowest_mb


def _is_ready(port: int, path: str) -> bool:
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        link.request("GET", path)
        return link.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        link.close()


@cache
def _dies_with_parent() -> tuple[str, ...]:
    """The prefix of each command, so that no process outlives a benchmark that is killed."""
    prefix = (shutil.which("setpriv") or "", "--pdeathsig", "KILL")
    works = bool(prefix[0]) and subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0
    return prefix if works else ()  # setpriv may lack this option on a small system


@contextmanager
def _on_core(core: int) -> Iterator[None]:
    """Processes started in the block inherit the core, so the child needs no code between fork and exec."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@dataclass
class Children:
    """Starts processes; leaving the block ends them, the newest first."""

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
        """Start a process on one core, in the folder. Its output goes to a log there; `stdout` may redirect stdout."""
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
