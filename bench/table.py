"""The report of a run as Markdown, which the terminal shows too; pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.figures import Held
from bench.quiet import FULL, unquiet
from bench.report import KNEE_P99_MS, UNISON, Bound, Line, StoreUse, Summary

NAMED = 3  # how many of the things that held a loop are named
STALL_MS = 5


def markdown(summary: Summary, machine: dict[str, Any], found: Sequence[Bound]) -> str:
    """All figures of a run, each with its unit, and the machine that they were measured on."""
    head = ["server", "calls", "turns", "CPU core-ms per call-s", "x floor", "added p50 / p99 ms", "MB a call"]
    head += ["set-up p50 / p95 ms", "frames lost", "server core", "load core"]
    parts = ["# Benchmark", _about(machine), table(head, [_cells(line) for line in summary.lines])]
    parts += ["\n".join(f"- {text}" for text in problems)] if (problems := _problems(summary.lines)) else []
    parts += _stalls(summary.lines)
    parts += _store_uses(summary.store_uses)
    if summary.knees:
        head = ["server", f"calls on one core at p99 <= {KNEE_P99_MS:g} ms", "ended by", "server core", "load core"]
        rows = [
            [
                knee.server,
                _at_least(knee.calls, knee.at_least),
                knee.why,
                share(knee.server_busy),
                share(knee.load_busy),
            ]
            for knee in summary.knees
        ]
        parts.append(table(head, rows))
    if summary.set_ups:
        head = ["server", "set-ups a second", "set-up p95 ms", "load core", "failed"]
        rows = [
            [
                one.server,
                _at_least(round(one.a_second), one.load_busy > FULL),
                f"{one.p95_ms:.1f}",
                share(one.load_busy),
                "; ".join(one.failed) or "none",
            ]
            for one in summary.set_ups
        ]
        parts.append(table(head, rows))
    if summary.knees or summary.set_ups:
        parts.append(
            f"`>=`: the load was the limit (its core was more than {FULL:.0%} busy), or there was no further step."
        )
    if summary.ready_cpu_s is not None:
        parts.append(f"`patchbay serve` is ready after {summary.ready_cpu_s:.2f} s of CPU time.")
    if found:
        rows = [[bound.name, bound.asked, bound.seen, "yes" if bound.met else "**no**"] for bound in found]
        parts.append(table(["required speed", "bound", "measured", "met"], rows))
    return "\n\n".join(parts) + "\n"


def _store_uses(uses: Sequence[StoreUse]) -> list[str]:
    """The table of what Cosmos DB as the store costs, beside SQLite in the same run."""
    if not uses:
        return []
    head = ["calls", "batches a turn", "other requests a turn", "RU a turn", "CPU over SQLite, core-ms per call-s"]
    head += ["the same, ms a batch", "p99 over SQLite, ms", "memory over SQLite, MB"]
    rows = [
        [
            str(use.calls),
            f"{use.batches_a_turn:.2f}",
            f"{use.other_requests_a_turn:.2f}",
            f"{use.ru_a_turn:.1f}",
            signed(use.cpu_over_ms),
            signed(use.cpu_a_batch_ms),
            signed(use.p99_over_ms),
            signed(use.memory_over_mb),
        ]
        for use in uses
    ]
    text = "State in a stand-in for Cosmos DB, which answers from memory in a process of its own, on the load's core."
    return [text, table(head, rows)]


def signed(value: float | None) -> str:
    """A difference with its sign; `-` where there is none."""
    return "-" if value is None else f"{value:+.2f}"


def _stalls(lines: Sequence[Line]) -> list[str]:
    """The table of how late each server's loop was, and what held it."""
    seen = [line for line in lines if line.late_p99_ms is not None]
    if not seen:
        return []
    head = ["server", "calls", "turns", "round trip p99 ms", "loop late p99 / worst ms", "held longest by"]
    rows = [
        [
            line.server,
            str(line.calls),
            line.turns,
            "no frame" if line.watched_p99_ms is None else f"{line.watched_p99_ms:.2f}",
            f"{line.late_p99_ms:.1f} / {line.late_worst_ms:.1f}",
            "; ".join(_held(held) for held in line.held[:NAMED]) or f"nothing for {STALL_MS} ms",
        ]
        for line in seen
    ]
    text = (
        "The same calls once more, with a tick of 1 ms on the server's loop: how late the tick was, and what held the "
        f"loop for {STALL_MS} ms or more. The watch takes some CPU, and is on for no other figure."
    )
    return [text, table(head, rows)]


def _held(held: Held) -> str:
    return f"{held.name}: {held.stalls} x, {held.total_ms:.0f} ms, worst {held.worst_ms:.0f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with columns of even width."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    padded = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in [head, *rows]]
    rule = ["-" * width for width in widths]
    return "\n".join("| " + " | ".join(row) + " |" for row in [padded[0], rule, *padded[1:]])


def _cells(line: Line) -> list[str]:
    return [
        line.server,
        str(line.calls),
        line.turns,
        f"{line.cpu_ms:.2f}",
        "1" if line.cpu_ratio is None else f"{line.cpu_ratio:.2f}",
        f"{line.added_p50_ms:.2f} / {line.added_p99_ms:.2f}",
        f"{line.mb_a_call:.3f}",
        f"{line.updated_p50_ms:.1f} / {line.updated_p95_ms:.1f}",
        str(line.lost),
        share(line.server_busy),
        share(line.load_busy),
    ]


def _problems(lines: Sequence[Line]) -> list[str]:
    problems = []
    for line in lines:
        where = f"{line.server} at {line.calls} calls{', turns in unison' if line.turns == UNISON else ''}"
        seen = {"doubled frames": line.doubled, "frames in another's call": line.crossed, "errors": line.errors}
        counted = [f"{count} {name}" for name, count in seen.items() if count]
        counted += line.failed
        if counted:
            problems.append(f"{where}: {', '.join(counted)}")
        if not line.answers:
            problems.append(f"{where}: no answer was completed")
        problems += [f"{where}: {reason}" for reason in unquiet(line)]
    return problems


def _about(machine: dict[str, Any]) -> str:
    facts = f"{machine['date']}, {machine['cpu']}, {machine['cores']} cores, Python {machine['python']}"
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    runs = f"Medians of {machine['rounds']} interleaved rounds" if machine["rounds"] > 1 else "One round"
    if not machine.get("usual_python", True):
        facts += " (**not the Python that most users run**)"
    where = "load and model on another" if machine["cores"] > 1 else "**load and model on the same core**"
    return (
        f"{facts}; {versions}. {runs} of {machine['seconds']:g} s; the server on one core, {where}. Set-up: from "
        "the dial to `session.updated`. Added: the round trip through the server less the median one without it. Turns "
        "`spread`: they end evenly spread in time; `unison`: those of all calls end within the same 20 ms, every 2 s."
    )


def share(busy: float, digits: int = 0) -> str:
    """A share of a core in percent."""
    return f"{busy:.{digits}%}"


def _at_least(calls: int, lower_bound: bool) -> str:
    return f">= {calls}" if lower_bound else str(calls)
