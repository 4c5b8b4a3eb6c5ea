"""Makes the lines, the bounds and the tables of the servers that send telemetry, from a run's rounds; pure.

Each of them is compared with the plain server of the same round and the same number of calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.apart import COURIER, SERVING
from bench.arrivals import Arrivals
from bench.figures import Scrape, median
from bench.report import READY_CPU_S, SPREAD, SUBJECT, Bound, Measured, Round
from bench.table import share, signed, table

ALL = "patchbay+telemetry"  # three destinations: OTLP, Langfuse and Application Insights; logs and metrics too
ONE = "patchbay+telemetry-one"  # OTLP only
DEAD, HANGING, SLOW = (f"patchbay+telemetry-{fault}" for fault in ("dead", "hanging", "slow"))  # three destinations
FAULTS = (DEAD, HANGING, SLOW)
KINDS = (ALL, ONE, *FAULTS)
ONCE = (ONE, *FAULTS)  # measured in the first round only

SERVING_RATIO = 1.03
P99_OVER_MS = 0.5
COURIER_SHARES = {ONE: 0.08, ALL: 0.20, **dict.fromkeys(FAULTS, 0.20)}  # of a core
COURIER_CALLS = 150  # which end 75 turns a second
COURIER_MB = 150.0
TURN_S = 8.0  # from the end of a turn to its spans at the receiver, p95
SCRAPE_MS = 2.0
SCRAPE_SERIES = 2_000


@dataclass(frozen=True, slots=True)
class TelemetryLine:
    """One kind with one number of calls; medians over the rounds, but `courier_mb` and the turns' times are the worst.

    The differences from the plain server are None without its line, what is about the courier is None where none ran.
    `late_p95_s` is None where no turn was judged; `receiver` is the one whose turns came last.
    """

    server: str
    calls: int
    turns_a_second: float
    serving_ms: float
    serving_ratio: float | None
    p99_over_ms: float | None
    courier_share: float | None
    courier_mb: float | None
    requests_a_second: float
    ready_cpu_s: float | None
    broken: tuple[str, ...]
    receiver: str
    turns: int
    missing: int
    doubled: int
    late_p95_s: float | None
    late_worst_s: float | None


def telemetry_lines(rounds: Sequence[Round]) -> list[TelemetryLine]:
    """The lines of a run, by the number of calls and in the order of the kinds."""
    keys = {(one.step.calls, one.server) for part in rounds for one in part.measured if one.server in KINDS}
    return [_line(rounds, calls, kind) for calls, kind in sorted(keys, key=lambda key: (key[0], KINDS.index(key[1])))]


def _line(rounds: Sequence[Round], calls: int, kind: str) -> TelemetryLine:
    mine: list[Measured] = []
    ratios, overs = [], []
    for part in rounds:
        found = {one.server: one for one in part.measured if (one.step.calls, one.turns) == (calls, SPREAD)}
        if kind not in found:
            continue
        mine.append(found[kind])
        plain = found.get(SUBJECT)
        if plain is not None:
            ratios.append(_serving_ms(found[kind]) / _serving_ms(plain))
            overs.append(found[kind].step.round_trip_ms.p99 - plain.step.round_trip_ms.p99)
    steps = [one.step for one in mine]
    couriers = [step for step in steps if COURIER in step.cpu_s]
    ready = [one.ready_cpu_s for one in mine if one.ready_cpu_s is not None]
    arrivals = [arrival for one in mine for arrival in one.arrivals]
    judged = [one for one in arrivals if one.turns]
    last = max(judged, key=lambda one: one.p95_s, default=None)
    return TelemetryLine(
        server=kind,
        calls=calls,
        turns_a_second=median([step.answers / step.seconds for step in steps]),
        serving_ms=median([_serving_ms(one) for one in mine]),
        serving_ratio=median(ratios) if ratios else None,
        p99_over_ms=median(overs) if overs else None,
        courier_share=median([step.busy(COURIER) for step in couriers]) if couriers else None,
        courier_mb=max((step.rss_mb[COURIER] for step in couriers), default=None),
        requests_a_second=median([_requests(one) / one.step.seconds for one in mine]),
        ready_cpu_s=median(ready) if ready else None,
        broken=tuple(dict.fromkeys(reason for one in mine for reason in _broken(one))),
        receiver="" if last is None else last.path,
        turns=sum(one.turns for one in judged),
        missing=sum(one.missing for one in arrivals),
        doubled=sum(one.doubled for one in arrivals),
        late_p95_s=None if last is None else last.p95_s,
        late_worst_s=max((one.worst_s for one in judged), default=None),
    )


def _serving_ms(one: Measured) -> float:
    """Core milliseconds of the serving process alone for one second of one call."""
    return one.step.cpu_s[SERVING] * 1000 / (one.step.seconds * one.step.calls)


def _requests(one: Measured) -> float:
    return sum(count for name, count in one.step.counted.items() if name.startswith("requests."))


def _broken(one: Measured) -> list[str]:
    step = one.step
    counted = {"lost": step.lost, "doubled": step.doubled, "crossed": step.crossed}
    return [f"{count} {name}" for name, count in counted.items() if count] + list(step.failed)


def telemetry_bounds(lines: Sequence[TelemetryLine], scrape: Scrape | None) -> list[Bound]:
    """The required speeds that this run can judge, met or missed."""
    found = [bound for line in lines for bound in _line_bounds(line)]
    ready = [line.ready_cpu_s for line in lines if line.server == ALL and line.ready_cpu_s is not None]
    if ready:
        seen = median(ready)
        found.append(Bound(f"ready, {ALL}", f"<= {READY_CPU_S} s of CPU", f"{seen:.2f} s", seen <= READY_CPU_S))
    if scrape is not None:
        held = scrape.longest_cpu_ms
        asked = f"loop held <= {SCRAPE_MS:g} ms at a time"
        found.append(Bound(f"scrape of {scrape.series} series", asked, f"{held:.2f} ms", held <= SCRAPE_MS))
    return found


def _line_bounds(line: TelemetryLine) -> list[Bound]:
    where = f"{line.server} at {line.calls} calls"
    found = [
        Bound(f"frames, {where}", "all back, once, to their caller", ", ".join(line.broken) or "all", not line.broken)
    ]
    if line.serving_ratio is not None:
        ratio = line.serving_ratio
        asked = f"<= {SERVING_RATIO} x plain"
        found.append(Bound(f"CPU of the serving process, {where}", asked, f"{ratio:.3f} x", ratio <= SERVING_RATIO))
    if line.p99_over_ms is not None:
        over = line.p99_over_ms
        found.append(
            Bound(f"p99, {where}", f"<= plain + {P99_OVER_MS} ms", f"plain {over:+.2f} ms", over <= P99_OVER_MS)
        )
    return found + _courier_bounds(line, where) + _arrival_bounds(line, where)


def _courier_bounds(line: TelemetryLine, where: str) -> list[Bound]:
    if line.courier_share is None or line.courier_mb is None:
        return [Bound(f"courier, {where}", "runs beside the server", "none was found", met=False)]
    memory = line.courier_mb
    found = [
        Bound(f"memory of the courier, {where}", f"<= {COURIER_MB:g} MB", f"{memory:.0f} MB", memory <= COURIER_MB)
    ]
    if line.calls == COURIER_CALLS:
        most, used = COURIER_SHARES[line.server], line.courier_share
        seen = f"{used:.1%} at {line.turns_a_second:.0f} turns a second"
        found.append(Bound(f"courier, {where}", f"<= {most:.0%} of a core", seen, used <= most))
    return found


def _arrival_bounds(line: TelemetryLine, where: str) -> list[Bound]:
    if line.server != ALL or line.late_p95_s is None:
        return []
    seen = f"p95 {line.late_p95_s:.1f} s of {line.turns}, {line.missing} missing"
    met = line.late_p95_s <= TURN_S and not line.missing
    return [Bound(f"spans of turns, {where}", f"p95 <= {TURN_S:g} s after their end, none missing", seen, met)]


def telemetry_markdown(lines: Sequence[TelemetryLine], scrape: Scrape | None, found: Sequence[Bound]) -> str:
    """The tables, with what they mean; empty where nothing was measured."""
    parts: list[str] = []
    if lines:
        text = (
            "## Telemetry\n\nThe serving process alone, compared with the plain server of the same round; the courier "
            "beside it, on the same core with low priority; and how long after a turn's end its spans were with the "
            "receiver where they came last."
        )
        head = [
            "server",
            "calls",
            "turns a second",
            "serving process, core-ms per call-s",
            "x plain",
            "p99 over plain, ms",
        ]
        head += ["courier, of a core", "courier MB", "requests a second", "turns late p95 / worst s", "judged"]
        head += ["missing", "doubled spans"]
        parts += [text, table(head, [_cells(line) for line in lines])]
    if scrape is not None:
        parts.append(
            f"A scrape of {scrape.series} series in {scrape.pieces} pieces took {scrape.whole_ms:.0f} ms; the longest "
            f"piece used {scrape.longest_cpu_ms:.2f} ms of CPU and held the loop for {scrape.longest_held_ms:.2f} ms "
            f"(the worst of {scrape.scrapes} scrapes)."
        )
    if found:
        rows = [[bound.name, bound.asked, bound.seen, "yes" if bound.met else "**no**"] for bound in found]
        parts.append(table(["required speed", "bound", "measured", "met"], rows))
    return "\n\n".join(parts) + "\n" if parts else ""


def _cells(line: TelemetryLine) -> list[str]:
    late = "-" if line.late_p95_s is None else f"{line.late_p95_s:.1f} / {line.late_worst_s:.1f}"
    return [
        line.server,
        str(line.calls),
        f"{line.turns_a_second:.0f}",
        f"{line.serving_ms:.3f}",
        "-" if line.serving_ratio is None else f"{line.serving_ratio:.3f}",
        signed(line.p99_over_ms),
        "-" if line.courier_share is None else share(line.courier_share, 1),
        "-" if line.courier_mb is None else f"{line.courier_mb:.0f}",
        f"{line.requests_a_second:.1f}",
        late,
        str(line.turns),
        str(line.missing),
        str(line.doubled),
    ]


def telemetry_json(lines: Sequence[TelemetryLine], scrape: Scrape | None, found: Sequence[Bound]) -> dict[str, Any]:
    """All of it as plain values; the rounds are beside it."""
    return {
        "lines": [asdict(line) for line in lines],
        "scrape": None if scrape is None else asdict(scrape),
        "bounds": [asdict(bound) for bound in found],
    }


def read_arrivals(found: Sequence[Arrivals]) -> str:
    """The arrivals as one piece of a line of progress."""
    return "".join(f", {one.path} p95 {one.p95_s:.1f} s of {one.turns}" for one in found if one.turns)
