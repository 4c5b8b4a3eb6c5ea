"""`python -m bench profile` shows where the server spends its time with 40 calls.

If `py-spy` is installed, it samples the running server from outside, including C functions, at almost no cost (this
needs the right to trace: root, or a `ptrace_scope` that allows it). Otherwise, or with `--cprofile`, cProfile runs
inside the server: it makes Python functions look more expensive than they are, and does not see compiled functions.
"""

from __future__ import annotations

import argparse
import os
import pstats
import re
import shutil
import signal
import subprocess
import sysconfig
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from bench import profiled
from bench.processes import BenchFailed
from bench.run import DEFAULT_COMMAND, options_from, stop_on_signals, tell
from bench.servers import PATCHBAY, RELAY, ROOT, Bench, Options, bench
from bench.serving import raise_file_limit
from bench.table import table

WARM_S = 2.0
MARGIN_S = 1.0  # between the warm-up and the begin of the profile, and between its end and the end of the load
TOP = 30
_LINE = re.compile(r":\d+\)$")  # removed, so that a function has one row and not one for each line
# py-spy counts native waits as work: waits for sockets, a lock, a queue's next item, the interpreter lock.
WAITS = ("epoll_wait", "epoll_pwait", "PyThread_acquire_lock_timed", "pthread_cond_timedwait", "pthread_cond_wait")


def hottest(collapsed: str, top: int) -> list[tuple[str, float, float]]:
    """(function, own share, share with callees) from collapsed stacks, lines like `a;b;c 12`, most expensive first.

    Shares refer to the samples in which a thread of the server was not waiting.
    """
    own: Counter[str] = Counter()
    within: Counter[str] = Counter()
    total = 0
    for line in collapsed.splitlines():
        stack, _, count = line.rpartition(" ")
        if not stack or not count.isdigit():
            continue
        frames = [_LINE.sub(")", frame) for frame in stack.split(";")]
        if any(frame.startswith(WAITS) for frame in frames[-3:]):  # frames of libc below the wait may have no name
            continue
        total += int(count)
        own[frames[-1]] += int(count)
        for frame in set(frames):
            within[frame] += int(count)
    return [(name, samples / total, within[name] / total) for name, samples in own.most_common(top)]


def _py_spy() -> str | None:
    return shutil.which("py-spy") or shutil.which("py-spy", path=sysconfig.get_path("scripts"))


@contextmanager
def _under_load(stand: Bench, calls: int, seconds: float) -> Iterator[None]:
    """Run the block while the calls speak."""
    problems: list[BenchFailed] = []

    def load() -> None:
        try:
            stand.steps([calls], seconds + 2 * MARGIN_S, WARM_S)
        except BenchFailed as error:
            problems.append(error)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        time.sleep(calls / 50 + WARM_S + MARGIN_S)
        yield
    finally:
        thread.join()
    if problems:
        raise problems[0]


def with_py_spy(command: str, server: str, options: Options, calls: int, seconds: float) -> str:
    """The table of the most expensive functions, sampled from outside."""
    with bench(server, options) as stand:
        assert stand.server is not None
        stacks = stand.children.folder / "stacks.txt"
        record = [command, "record", "--pid", str(stand.server.pid), "--duration", str(round(seconds))]
        record += ["--rate", "500", "--native", "--format", "raw", "--output", str(stacks)]
        with _under_load(stand, calls, seconds):
            done = subprocess.run(record, capture_output=True, text=True, timeout=seconds + 60, check=False)
        if not stacks.exists():
            raise BenchFailed(f"py-spy: {done.stderr.strip()[-500:]}")
        rows = hottest(stacks.read_text(), TOP)
    return table(["own", "with callees", "function"], [[f"{own:.1%}", f"{all_:.1%}", name] for name, own, all_ in rows])


def with_cprofile(server: str, options: Options, calls: int, seconds: float) -> str:
    """The table of the most expensive functions, measured inside the server, most own seconds first."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, ExitStack() as stack:
        target = Path(folder) / "profile.bin"
        (Path(folder) / "sitecustomize.py").write_text(profiled.HOOK)
        inside = {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", profiled.VARIABLE: str(target)}
        environment = {**options.server_environment, **inside}
        stand = stack.enter_context(bench(server, replace(options, server_environment=environment)))
        assert stand.server is not None
        with _under_load(stand, calls, seconds):
            stand.server.process.send_signal(signal.SIGUSR1)
            time.sleep(seconds)
            stand.server.process.send_signal(signal.SIGUSR2)
            deadline = time.monotonic() + 10
            while not target.exists() and time.monotonic() < deadline:
                time.sleep(0.05)
        if not target.exists():
            raise stand.server.failure("wrote no profile")
        stats = pstats.Stats(str(target)).get_stats_profile()
    found = sorted(stats.func_profiles.items(), key=lambda item: -item[1].tottime)[:TOP]
    rows = [
        [f"{one.tottime:.3f}", f"{one.cumtime:.3f}", one.ncalls, f"{_short(one.file_name)}:{one.line_number} {name}"]
        for name, one in found
    ]
    return table(["own s", "with callees s", "calls", "function"], rows)


def _short(file_name: str) -> str:
    path = Path(file_name)
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else "/".join(path.parts[-2:])


def main(arguments: list[str]) -> int:
    """Profile one server under load and print its most expensive functions."""
    parser = argparse.ArgumentParser(prog="python -m bench profile", description=__doc__)
    parser.add_argument("--calls", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--server", choices=(PATCHBAY, RELAY), default=PATCHBAY)
    parser.add_argument("--server-command", default=DEFAULT_COMMAND)
    parser.add_argument("--server-env", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--key")
    parser.add_argument("--cprofile", action="store_true", help="use cProfile even if py-spy is installed")
    given = parser.parse_args(arguments)
    stop_on_signals(given.seconds + 120)
    raise_file_limit()
    options = options_from(given)
    command = _py_spy()
    try:
        if command and not given.cprofile:
            tell(f"py-spy, {given.calls} calls, {given.seconds:g} s")
            print(with_py_spy(command, given.server, options, given.calls, given.seconds))
        else:
            tell(
                f"cProfile, {given.calls} calls, {given.seconds:g} s (`pip install py-spy` gives more accurate figures)"
            )
            print(with_cprofile(given.server, options, given.calls, given.seconds))
    except BenchFailed as error:
        tell(f"bench: {error}")
        return 2
    return 0
