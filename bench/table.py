"""The table of a run, in Markdown, which is also what the terminal shows; pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.figures import Held
from bench.report import FULL, KNEE_P99_MS, SHARED, UNISON, Bound, Line, Summary

NAMED = 3  # of what held a loop
STALL_MS = 5


def markdown(summary: Summary, machine: dict[str, Any], found: Sequence[Bound]) -> str:
    """All of a run's figures, each with its unit, and the machine they were made on."""
    head = ["server", "calls", "turns", "CPU core-ms per call-s", "x floor", "added p50 / p99 ms", "MB a call"]
    head += ["set-up p50 / p95 ms", "frames lost", "server core", "load core"]
    parts = ["# Benchmark", _about(machine), table(head, [_cells(line) for line in summary.lines])]
    parts += ["\n".join(f"- {text}" for text in trouble)] if (trouble := _trouble(summary.lines)) else []
    parts += _stalls(summary.lines)
    if summary.knees:
        head = ["server", f"calls on one core at p99 <= {KNEE_P99_MS:g} ms", "ended by", "server core", "load core"]
        rows = [
            [
                knee.server,
                _at_least(knee.calls, knee.at_least),
                knee.why,
                _share(knee.server_busy),
                _share(knee.load_busy),
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
                _share(one.load_busy),
                "; ".join(one.failed) or "none",
            ]
            for one in summary.set_ups
        ]
        parts.append(table(head, rows))
    if summary.knees or summary.set_ups:
        parts.append(
            f"`>=`: the load was the limit (its core more than {FULL:.0%} busy), or there was no further step."
        )
    if summary.ready_cpu_s is not None:
        parts.append(f"`patchbay serve` is ready after {summary.ready_cpu_s:.2f} s of CPU time.")
    if found:
        rows = [[bound.name, bound.asked, bound.seen, "yes" if bound.met else "**no**"] for bound in found]
        parts.append(table(["speed to reach", "asked", "seen", "met"], rows))
    return "\n\n".join(parts) + "\n"


def _stalls(lines: Sequence[Line]) -> list[str]:
    """How late each server's loop was, and what held it."""
    seen = [line for line in lines if line.late_p99_ms is not None]
    if not seen:
        return []
    head = ["server", "calls", "turns", "round trip p99 ms", "loop late p99 / worst ms", "held longest by"]
    rows = [
        [
            line.server,
            str(line.calls),
            line.turns,
            "none came" if line.watched_p99_ms is None else f"{line.watched_p99_ms:.2f}",
            f"{line.late_p99_ms:.1f} / {line.late_worst_ms:.1f}",
            "; ".join(_held(held) for held in line.held[:NAMED]) or f"nothing for {STALL_MS} ms",
        ]
        for line in seen
    ]
    told = (
        "The same calls once more, with a tick of 1 ms on the server's loop: how late it was, and what held the loop "
        f"for {STALL_MS} ms or more (which takes some CPU, and is in no other figure)."
    )
    return [told, table(head, rows)]


def _held(held: Held) -> str:
    return f"{held.name}: {held.stalls} x, {held.total_ms:.0f} ms, worst {held.worst_ms:.0f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with even columns."""
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
        _share(line.server_busy),
        _share(line.load_busy),
    ]


def _trouble(lines: Sequence[Line]) -> list[str]:
    told = []
    for line in lines:
        where = f"{line.server} at {line.calls} calls{', turns in unison' if line.turns == UNISON else ''}"
        seen = {"doubled frames": line.doubled, "frames in another's call": line.crossed, "errors": line.errors}
        counted = [f"{count} {name}" for name, count in seen.items() if count]
        counted += line.failed
        if counted:
            told.append(f"{where}: {', '.join(counted)}")
        if not line.answers:
            told.append(f"{where}: no answer ended")
        if line.load_busy > FULL:
            told.append(f"{where}: the load's core was {line.load_busy:.0%} busy")
        for core, others in (("server", line.server_others), ("load", line.load_others)):
            if others > SHARED:
                told.append(
                    f"{where}: other work took up to {others:.0%} of the {core}'s core: "
                    "not a quiet machine, and no figures to publish"
                )
    return told


def _about(machine: dict[str, Any]) -> str:
    facts = f"{machine['date']}, {machine['cpu']}, {machine['cores']} cores, Python {machine['python']}"
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    runs = f"Medians of {machine['rounds']} interleaved rounds" if machine["rounds"] > 1 else "One round"
    if not machine.get("usual_python", True):
        facts += " (**not the Python that others run**)"
    where = "load and model on another" if machine["cores"] > 1 else "**load and model on the same one**"
    return (
        f"{facts}; {versions}. {runs} of {machine['seconds']:g} s; the server on one core, {where}. Set-up: from "
        "the dial to `session.updated`. Added: the round trip through the server less the median one without it. Turns "
        "`spread`: they end evenly spread in time; `unison`: those of all calls end within the same 20 ms, every 2 s."
    )


def _share(busy: float) -> str:
    return f"{busy:.0%}"


def _at_least(calls: int, lower_bound: bool) -> str:
    return f">= {calls}" if lower_bound else str(calls)
