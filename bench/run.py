"""`python -m bench run` measures the relay and Patchbay under the same load, and compares them.

Writes `bench/results/latest.json` and `latest.md`. `--check` ends with code 1 if a required speed is missed.
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
from bench.phone_report import PhoneMeasured, phone_bounds, phone_lines, phone_markdown, phones_as_json
from bench.phone_run import CALLS as PHONE_CALLS
from bench.phone_run import measure_phones
from bench.processes import BenchFailed
from bench.python_build import this_build
from bench.report import COSMOS, KNEE_P99_MS, SPREAD, UNISON, Measured, Round, as_json, bounds, summarise
from bench.servers import DIRECT, PATCHBAY, RELAY, ROOT, Options, bench, cores
from bench.serving import raise_file_limit
from bench.table import markdown
from bench.telemetry import measure_scrape
from bench.telemetry_report import (
    FAULTS,
    KINDS,
    ONCE,
    read_arrivals,
    telemetry_bounds,
    telemetry_json,
    telemetry_lines,
    telemetry_markdown,
)

WARM_S = 1.5
KNEE_STEPS = (100, 180, 220, 250, 280, 320, 360)
KNEE_ROUNDS = {RELAY: 1, PATCHBAY: 2}
CHURN_WORKERS = 8
READY_RUNS = 3
FAULT_S = 20.0  # longer than a request may take, so that requests fail in it
RESULTS = ROOT / "bench" / "results"
DEFAULT_COMMAND = f"{shlex.quote(sys.executable)} -m gateway.cli serve"


def tell(text: str) -> None:
    """Print progress to stderr; the result goes to stdout."""
    print(text, file=sys.stderr, flush=True)


def measure_round(given: argparse.Namespace, options: Options, number: int) -> Round:
    """One pass. Every server is started anew for every figure; every second pass has the opposite order of servers.

    Unison, set-ups a second and the relay's knee are in the first pass only, Patchbay's knee is in the first two. With
    its state on Cosmos DB, or with telemetry, Patchbay is measured with each number of calls and nothing else; with one
    destination only, or with a collector that fails, in the first pass only.
    """
    servers = [server for server in given.servers if number == 0 or server not in ONCE]
    servers = servers if number % 2 == 0 else servers[::-1]
    result = Round()
    for calls in given.calls:
        result.measured += measure_calls(given, options, calls, servers, f"round {number + 1}")
    plain = [server for server in servers if server not in (COSMOS, *KINDS)]
    if given.unison and number == 0:
        result.measured += measure_calls(given, options, given.unison, plain, "unison", unison=True)
    if given.churn and number == 0:
        for server in plain:
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
    """Measure the load without a server, and then every server, with `calls` calls."""
    with bench(DIRECT, options, unison=unison) as stand:
        direct = stand.steps([calls], min(given.seconds, 3.0), WARM_S)[0]
    found = []
    for server in servers:
        with bench(server, options, unison=unison, watched=given.stalls > 0) as stand:
            idle = stand.idle_rss_mb()
            watched, late = None, None
            seconds = given.fault_seconds if server in FAULTS else given.seconds
            if given.stalls > 0:
                step, watched, late = stand.watched_steps(calls, seconds, WARM_S, given.stalls)
            else:
                step = stand.steps([calls], seconds, WARM_S)[0]
            arrivals, ready_s = stand.arrivals(), stand.ready_cpu_s
        turns = UNISON if unison else SPREAD
        measured = Measured(server, step, direct, idle, turns, watched, late, arrivals, ready_s)
        found.append(measured)
        tell(
            f"{where}, {server}, {calls} calls: {measured.cpu_ms:.2f} core-ms per call-second, "
            f"added p99 {measured.added_p99_ms:.2f} ms, {step.lost} of {step.sent} frames lost"
            + ("" if late is None else f", loop late p99 {late.late_ms.p99:.1f}, worst {late.late_ms.max:.1f} ms")
            + read_arrivals(arrivals)
            + "".join(f", {reason}" for reason in step.failed)
        )
    return found


def measure_knee(given: argparse.Namespace, options: Options, server: str, where: str) -> list[Step]:
    """Measure more and more calls, until a frame is lost or p99 is too long."""
    with bench(server, options) as stand:
        stand.steps([1], 0.5, 0.3)
        steps = stand.steps(list(given.knee_steps), given.seconds / 2, 1.0, KNEE_P99_MS)
    tell(f"{where}, {server}: up to {steps[-1].calls} calls, p99 {steps[-1].round_trip_ms.p99:.1f} ms")
    return steps


def measure_ready(options: Options) -> list[float]:
    """CPU seconds until /readyz answers, of new servers with empty data folders."""
    seconds = []
    for _ in range(READY_RUNS):
        with bench(PATCHBAY, options) as stand:
            seconds.append(stand.ready_cpu_s)
    tell(f"ready after {', '.join(f'{one:.2f}' for one in seconds)} s of CPU")
    return seconds


def measure_all_phones(given: argparse.Namespace, options: Options) -> list[list[PhoneMeasured]]:
    """The rounds of the telephone rows, if the command line asks for them."""
    wide = given.server_command == DEFAULT_COMMAND
    return [
        measure_phones(given.phones, given.phone_calls, options, given.seconds, number, tell, wide=wide)
        for number in range(given.rounds if given.phones else 0)
    ]


def machine(given: argparse.Namespace) -> dict[str, Any]:
    """The machine's properties that affect the figures; nothing that identifies the machine or its owner."""
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
    """Run all rounds, write the files and print the table."""
    scrape = measure_scrape(options.server_core) if set(given.servers) & set(KINDS) else None
    rounds = [measure_round(given, options, number) for number in range(given.rounds if given.servers else 0)]
    ready = measure_ready(options) if PATCHBAY in given.servers and given.ready else []
    phones = measure_all_phones(given, options)
    summary = summarise(rounds, ready)
    facts = machine(given)
    found = bounds(summary)
    text = markdown(summary, facts, found)
    result = as_json(summary, rounds, facts, ready)
    if sent := telemetry_lines(rounds):
        sent_found = telemetry_bounds(sent, scrape)
        text += "\n" + telemetry_markdown(sent, scrape, sent_found)
        result["telemetry"] = telemetry_json(sent, scrape, sent_found)
        found += sent_found
    if phones:
        lines = phone_lines(phones)
        phones_found = phone_bounds(lines)
        text += "\n" + phone_markdown(lines, phones_found)
        result["phones"] = phones_as_json(phones)
        found += phones_found
    given.results.mkdir(parents=True, exist_ok=True)
    (given.results / "latest.json").write_text(json.dumps(result, indent=1) + "\n")
    (given.results / "latest.md").write_text(text)
    print(text)
    missed = [bound for bound in found if not bound.met]
    for bound in missed:
        tell(f"missed: {bound.name}: required {bound.asked}, measured {bound.seen}")
    return 1 if missed and given.check else 0


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def _names(text: str) -> list[str]:
    return [part for part in text.split(",") if part]


def _phones(text: str) -> tuple[str, ...]:
    names = tuple(_names(text))
    if not set(names) <= set(PHONE_CALLS):
        raise argparse.ArgumentTypeError(f"known are {', '.join(PHONE_CALLS)}")
    return names


def _arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench run", description=__doc__)
    parser.add_argument("--seconds", type=float, help="length of each measurement (default 6, quick 4)")
    parser.add_argument("--rounds", type=int, help="number of passes; figures are their medians (default 3, quick 1)")
    parser.add_argument("--quick", action="store_true", help="one short pass: for a first look, not for publication")
    parser.add_argument("--check", action="store_true", help="end with code 1 if a required speed is missed")
    parser.add_argument("--calls", type=_numbers, default=(40, 150))
    parser.add_argument(
        "--unison",
        type=int,
        metavar="CALLS",
        help="number of calls for the unison rows (default: the largest of --calls; 0: no unison rows)",
    )
    parser.add_argument(
        "--stalls", type=float, metavar="SECONDS", help="how long the stall watch is on (default 3; 0: never)"
    )
    parser.add_argument("--knee-steps", type=_numbers, default=KNEE_STEPS)
    parser.add_argument(
        "--servers", default=f"{RELAY},{PATCHBAY},{COSMOS}", type=_names, help="of the Realtime rows; '': no such rows"
    )
    parser.add_argument(
        "--phones",
        nargs="?",
        const=tuple(PHONE_CALLS),
        default=(),
        type=_phones,
        metavar="PROTOCOLS",
        help=f"also measure telephones (default with --phones: {','.join(PHONE_CALLS)})",
    )
    parser.add_argument(
        "--telemetry",
        action="store_true",
        help=f"also measure servers that send telemetry: {', '.join(KINDS)}, which --servers may name too",
    )
    parser.add_argument(
        "--fault-seconds", type=float, default=FAULT_S, help="length of each measurement with a collector that fails"
    )
    parser.add_argument("--phone-calls", type=_numbers, help="numbers of telephones, instead of those of each protocol")
    parser.add_argument("--server-command", default=DEFAULT_COMMAND, help="the command that starts Patchbay")
    parser.add_argument("--server-env", action="append", default=[], metavar="NAME=VALUE", help="added to its settings")
    parser.add_argument("--key", help="the bearer key that callers send")
    parser.add_argument("--no-knee", dest="knee", action="store_false")
    parser.add_argument("--no-churn", dest="churn", action="store_false")
    parser.add_argument("--no-ready", dest="ready", action="store_false")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder to write to")
    parser.add_argument("--limit-minutes", type=float, default=30.0, help="end the run after this time")
    given = parser.parse_args(arguments)
    given.seconds = given.seconds or (4.0 if given.quick else 6.0)
    given.stalls = 3.0 if given.stalls is None else given.stalls
    given.unison = max(given.calls) if given.unison is None else given.unison
    given.rounds = given.rounds or (1 if given.quick else 3)
    if given.telemetry:
        given.servers = with_telemetry(given.servers)
    return given


def with_telemetry(servers: list[str]) -> list[str]:
    """The servers with all kinds that send telemetry, right after the one that they are compared with."""
    plain = [server for server in servers if server not in KINDS]
    at = plain.index(PATCHBAY) + 1 if PATCHBAY in plain else len(plain)
    return [*plain[:at], *KINDS, *plain[at:]]


def options_from(given: argparse.Namespace) -> Options:
    """How to start the processes, from the command line."""
    server_core, load_core = cores()
    environment = dict(item.split("=", 1) for item in given.server_env)
    return Options(tuple(shlex.split(given.server_command)), environment, given.key, server_core, load_core)


def stop_on_signals(limit_s: float) -> None:
    """Exit on a signal or after `limit_s`, in a way that ends all child processes."""

    def stop(number: int, _frame: object) -> None:
        reason = "the time limit is reached" if number == signal.SIGALRM else "stopped"
        raise SystemExit(f"bench: {reason}")

    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, stop)
    signal.setitimer(signal.ITIMER_REAL, limit_s)


def main(arguments: list[str]) -> int:
    """Measure, write the results and print them."""
    given = _arguments(arguments)
    stop_on_signals(given.limit_minutes * 60)
    raise_file_limit()
    options = options_from(given)
    if not this_build().usual:
        tell(f"Python {this_build()}: most users run a faster build, see bench/README.md")
    if options.server_core == options.load_core:
        tell("there is only one core, so server, model and load share it and the figures mean little")
    try:
        return run(given, options)
    except BenchFailed as error:
        tell(f"bench: {error}")
        return 2
    except KeyboardInterrupt:
        tell("bench: stopped")
        return 130
