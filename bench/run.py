"""`python -m bench run`: the relay floor and Patchbay under the same load, side by side, and what follows from it.

Writes `bench/results/latest.json` and `latest.md`. `--check` ends with code 1 when a speed to reach is missed.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import shlex
import signal
import sys
from pathlib import Path
from typing import Any

from bench.figures import Step
from bench.processes import BenchFailed
from bench.python_build import this_build
from bench.report import KNEE_P99_MS, SPREAD, UNISON, Measured, Round, as_json, bounds, summarise
from bench.servers import DIRECT, PATCHBAY, RELAY, ROOT, Options, bench, cores
from bench.serving import raise_file_limit
from bench.table import markdown

WARM_S = 1.5
KNEE_STEPS = (100, 180, 220, 250, 280, 320, 360)
KNEE_ROUNDS = {RELAY: 1, PATCHBAY: 2}
CHURN_WORKERS = 8
READY_RUNS = 3
RESULTS = ROOT / "bench" / "results"
DEFAULT_COMMAND = f"{shlex.quote(sys.executable)} -m gateway.cli serve"


def tell(text: str) -> None:
    """Progress, beside the result."""
    print(text, file=sys.stderr, flush=True)


def measure_round(given: argparse.Namespace, options: Options, number: int) -> Round:
    """One pass. Every server is started fresh for every figure; the order turns round from one pass to the next.

    Unison, set-ups a second and the floor's knee are in the first pass only, Patchbay's knee in the first two.
    """
    servers = given.servers if number % 2 == 0 else given.servers[::-1]
    result = Round()
    for calls in given.calls:
        result.measured += measure_calls(given, options, calls, servers, f"round {number + 1}")
    if given.unison and number == 0:
        result.measured += measure_calls(given, options, given.unison, servers, "unison", unison=True)
    if given.churn and number == 0:
        for server in servers:
            with bench(server, options) as stand:
                stand.steps([1], 0.5, 0.3)
                result.churns[server] = churned = stand.churn(CHURN_WORKERS, given.seconds / 2)
            tell(f"round {number + 1}, {server}: {churned.a_second:.0f} set-ups a second")
    if given.knee:
        for server in servers:
            if number < KNEE_ROUNDS.get(server, 0):
                result.knees[server] = measure_knee(given, options, server, f"round {number + 1}")
    return result


def measure_calls(
    given: argparse.Namespace, options: Options, calls: int, servers: list[str], where: str, *, unison: bool = False
) -> list[Measured]:
    """Every server with so many calls, and the load without a server before them."""
    with bench(DIRECT, options, unison=unison) as stand:
        direct = stand.steps([calls], min(given.seconds, 3.0), WARM_S)[0]
    found = []
    for server in servers:
        with bench(server, options, unison=unison, watched=given.stalls > 0) as stand:
            idle = stand.idle_rss_mb()
            watched, late = None, None
            if given.stalls > 0:
                step, watched, late = stand.watched_steps(calls, given.seconds, WARM_S, given.stalls)
            else:
                step = stand.steps([calls], given.seconds, WARM_S)[0]
        measured = Measured(server, step, direct, idle, UNISON if unison else SPREAD, watched, late)
        found.append(measured)
        tell(
            f"{where}, {server}, {calls} calls: {measured.cpu_ms:.2f} core-ms per call-second, "
            f"added p99 {measured.added_p99_ms:.2f} ms, {step.lost} of {step.sent} frames lost"
            + ("" if late is None else f", loop late p99 {late.late_ms.p99:.1f}, worst {late.late_ms.max:.1f} ms")
            + "".join(f", {reason}" for reason in step.failed)
        )
    return found


def measure_knee(given: argparse.Namespace, options: Options, server: str, where: str) -> list[Step]:
    """More and more calls, until a frame is lost or late."""
    with bench(server, options) as stand:
        stand.steps([1], 0.5, 0.3)
        steps = stand.steps(list(given.knee_steps), given.seconds / 2, 1.0, KNEE_P99_MS)
    tell(f"{where}, {server}: up to {steps[-1].calls} calls, p99 {steps[-1].round_trip_ms.p99:.1f} ms")
    return steps


def measure_ready(options: Options) -> list[float]:
    """CPU seconds until /readyz answers, of fresh servers with fresh data folders."""
    seconds = []
    for _ in range(READY_RUNS):
        with bench(PATCHBAY, options) as stand:
            seconds.append(stand.ready_cpu_s)
    tell(f"ready after {', '.join(f'{one:.2f}' for one in seconds)} s of CPU")
    return seconds


def machine(given: argparse.Namespace) -> dict[str, Any]:
    """What the figures were made on: nothing that names the machine or its owner."""
    build = this_build()
    model = "unknown CPU"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "python": str(build),
        "usual_python": build.usual,
        "versions": {name: importlib.metadata.version(name) for name in ("picows", "uvloop")},
        "seconds": given.seconds,
        "rounds": given.rounds,
        "server_command": "patchbay serve" if given.server_command == DEFAULT_COMMAND else "another",
    }


def run(given: argparse.Namespace, options: Options) -> int:
    """All rounds, then the files and the table."""
    rounds = [measure_round(given, options, number) for number in range(given.rounds)]
    ready = measure_ready(options) if PATCHBAY in given.servers and given.ready else []
    summary = summarise(rounds, ready)
    facts = machine(given)
    found = bounds(summary)
    text = markdown(summary, facts, found)
    given.results.mkdir(parents=True, exist_ok=True)
    result = json.dumps(as_json(summary, rounds, facts, ready), indent=1) + "\n"
    (given.results / "latest.json").write_text(result)
    (given.results / "latest.md").write_text(text)
    print(text)
    missed = [bound for bound in found if not bound.met]
    for bound in missed:
        tell(f"missed: {bound.name}: asked {bound.asked}, seen {bound.seen}")
    return 1 if missed and given.check else 0


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def _arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench run", description=__doc__)
    parser.add_argument("--seconds", type=float, help="each measurement's length (default 6, quick 4)")
    parser.add_argument("--rounds", type=int, help="passes whose medians count (default 3, quick 1)")
    parser.add_argument("--quick", action="store_true", help="shorter and once: to look, not to publish")
    parser.add_argument("--check", action="store_true", help="end with code 1 when a speed to reach is missed")
    parser.add_argument("--calls", type=_numbers, default=(40, 150))
    parser.add_argument(
        "--unison", type=int, metavar="CALLS", help="calls whose turns end together (the most of --calls; 0: none)"
    )
    parser.add_argument("--stalls", type=float, metavar="SECONDS", help="how long stalls are looked for (3; 0: not)")
    parser.add_argument("--knee-steps", type=_numbers, default=KNEE_STEPS)
    parser.add_argument("--servers", default=f"{RELAY},{PATCHBAY}", type=lambda text: text.split(","))
    parser.add_argument("--server-command", default=DEFAULT_COMMAND, help="what starts Patchbay")
    parser.add_argument("--server-env", action="append", default=[], metavar="NAME=VALUE", help="added to its settings")
    parser.add_argument("--key", help="the bearer key that callers send")
    parser.add_argument("--no-knee", dest="knee", action="store_false")
    parser.add_argument("--no-churn", dest="churn", action="store_false")
    parser.add_argument("--no-ready", dest="ready", action="store_false")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder to write to")
    parser.add_argument("--limit-minutes", type=float, default=30.0, help="give up after this long")
    given = parser.parse_args(arguments)
    given.seconds = given.seconds or (4.0 if given.quick else 6.0)
    given.stalls = 3.0 if given.stalls is None else given.stalls
    given.unison = max(given.calls) if given.unison is None else given.unison
    given.rounds = given.rounds or (1 if given.quick else 3)
    return given


def options_from(given: argparse.Namespace) -> Options:
    """How to start the processes, from the command line."""
    server_core, load_core = cores()
    environment = dict(item.split("=", 1) for item in given.server_env)
    return Options(tuple(shlex.split(given.server_command)), environment, given.key, server_core, load_core)


def stop_on_signals(limit_s: float) -> None:
    """Turn signals, and the end of the time allowed, into an exit that ends every child on its way."""

    def stop(number: int, _frame: object) -> None:
        reason = "the time allowed is over" if number == signal.SIGALRM else "stopped"
        raise SystemExit(f"bench: {reason}")

    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, stop)
    signal.setitimer(signal.ITIMER_REAL, limit_s)


def main(arguments: list[str]) -> int:
    """Measure, write, print."""
    given = _arguments(arguments)
    stop_on_signals(given.limit_minutes * 60)
    raise_file_limit()
    options = options_from(given)
    if not this_build().usual:
        tell(f"Python {this_build()}: others run a faster one, see bench/README.md")
    if options.server_core == options.load_core:
        tell("one core only: server, model and load share it, and the figures say little")
    try:
        return run(given, options)
    except BenchFailed as error:
        tell(f"bench: {error}")
        return 2
    except KeyboardInterrupt:
        tell("bench: stopped")
        return 130
