"""Makes the summary and the bounds of a run from its rounds; pure.

Every figure is the median over the rounds. A ratio to the floor, or a difference from it, is computed in each round,
where both servers ran shortly after each other; the result is its median over the rounds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.arrivals import Arrivals
from bench.figures import Churn, Held, LoopLateness, Step, median
from bench.quiet import FULL

CPU_RATIO = 2.0
P99_OVER_FLOOR_MS = 3.0
KNEE_CALLS = 250
KNEE_P99_MS = 20.0
MB_A_CALL = 0.3
SET_UP_P95_MS = 15.0
READY_CPU_S = 1.0
FLOOR, SUBJECT = "relay", "patchbay"
COSMOS = "patchbay+cosmos"  # Patchbay with its state in a stand-in for Cosmos DB, in a process of its own
BESIDE = ("load", "model", "store", "collector")  # the processes on the load's core
BATCHES_A_TURN = 1.1
COSMOS_CPU_MS = 0.7  # of a call-second, more than with SQLite
COSMOS_P99_MS = 3.0  # more than with SQLite
SPREAD, UNISON = "spread", "unison"  # the turns of all calls end evenly spread, or all in the same 20 ms


@dataclass(frozen=True, slots=True)
class Measured:
    """The figures of one server with one number of calls in one round; `direct` is the load without a server.

    `watched` is a second step with the same calls and the stall watch on, `late` is the result of the watch; both are
    None without it. `arrivals`: when the turns' spans came to a collector, if there was one; `ready_cpu_s`: its start.
    """

    server: str
    step: Step
    direct: Step
    idle_rss_mb: float
    turns: str = SPREAD
    watched: Step | None = None
    late: LoopLateness | None = None
    arrivals: tuple[Arrivals, ...] = ()
    ready_cpu_s: float | None = None

    @property
    def cpu_ms(self) -> float:
        """Core milliseconds of the server for one second of one call."""
        return self.step.cpu_s["server"] * 1000 / (self.step.seconds * self.step.calls)

    @property
    def added_p50_ms(self) -> float:
        return self.step.round_trip_ms.p50 - self.direct.round_trip_ms.p50

    @property
    def added_p99_ms(self) -> float:
        return self.step.round_trip_ms.p99 - self.direct.round_trip_ms.p50

    @property
    def mb_a_call(self) -> float:
        return (self.step.rss_mb["server"] - self.idle_rss_mb) / self.step.calls


@dataclass
class Round:
    """The results of one pass over all servers."""

    measured: list[Measured] = field(default_factory=list)
    churns: dict[str, Churn] = field(default_factory=dict)
    knees: dict[str, list[Step]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table. The two `others` and `late_worst_ms` are the worst of all rounds.

    `cpu_ratio` and `p99_over_floor_ms` are None without a floor in the run. `watched_p99_ms`, `late_p99_ms` and
    `late_worst_ms` are None without the stall watch. `held` is what held the loop, in all rounds together.
    """

    server: str
    calls: int
    turns: str
    cpu_ms: float
    cpu_ratio: float | None
    added_p50_ms: float
    added_p99_ms: float
    p99_over_floor_ms: float | None
    mb_a_call: float
    created_p50_ms: float
    created_p95_ms: float
    updated_p50_ms: float
    updated_p95_ms: float
    first_sound_p95_ms: float
    server_busy: float
    load_busy: float
    server_others: float
    load_others: float
    slip_p99_ms: float
    sent: int
    lost: int
    doubled: int
    crossed: int
    errors: int
    answers: int
    failed: tuple[str, ...]
    watched_p99_ms: float | None
    late_p99_ms: float | None
    late_worst_ms: float | None
    held: tuple[Held, ...]


@dataclass(frozen=True, slots=True)
class Knee:
    """The largest number of calls at which every frame came back with p99 within the bound.

    `at_least`: the load or the last step was the limit, and not the server.
    """

    server: str
    calls: int
    at_least: bool
    why: str
    server_busy: float
    load_busy: float


@dataclass(frozen=True, slots=True)
class SetUps:
    """How many calls were opened, configured and closed in a second."""

    server: str
    a_second: float
    p95_ms: float
    load_busy: float
    failed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StoreUse:
    """What Cosmos DB as the store costs with one number of calls; the differences are from the same run with SQLite.

    `ru_a_turn`: request units, by the stand-in's count. `cpu_a_batch_ms` is the whole difference in CPU divided by the
    number of batches, so it also contains what SQLite would have taken. The last four are None without SQLite's line.
    """

    calls: int
    batches_a_turn: float
    other_requests_a_turn: float
    ru_a_turn: float
    cpu_over_ms: float | None
    cpu_a_batch_ms: float | None
    p99_over_ms: float | None
    memory_over_mb: float | None


@dataclass(frozen=True, slots=True)
class Summary:
    """The results of a run. `ready_cpu_s` is None if it was not measured."""

    lines: list[Line]
    knees: list[Knee]
    set_ups: list[SetUps]
    ready_cpu_s: float | None
    store_uses: list[StoreUse] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Bound:
    """A required speed, and the measured one."""

    name: str
    asked: str
    seen: str
    met: bool


def summarise(rounds: Sequence[Round], ready_cpu_s: Sequence[float]) -> Summary:
    """The medians of the rounds."""
    keys = list(dict.fromkeys((one.turns, one.step.calls, one.server) for part in rounds for one in part.measured))
    servers = list(dict.fromkeys(name for part in rounds for name in part.churns))
    knees = list(dict.fromkeys(name for part in rounds for name in part.knees))
    return Summary(
        [_line(rounds, server, calls, turns) for turns, calls, server in sorted(keys, key=lambda key: key[:2])],
        [_knee(name, [part.knees[name] for part in rounds if part.knees.get(name)]) for name in knees],
        [_set_ups(name, [part.churns[name] for part in rounds if name in part.churns]) for name in servers],
        median(ready_cpu_s) if ready_cpu_s else None,
        _store_uses(rounds),
    )


def _store_uses(rounds: Sequence[Round]) -> list[StoreUse]:
    calls = {one.step.calls for part in rounds for one in part.measured if one.server == COSMOS}
    return [_store_use(rounds, number) for number in sorted(calls)]


def _store_use(rounds: Sequence[Round], calls: int) -> StoreUse:
    uses: list[StoreUse] = []
    for part in rounds:
        found = {one.server: one for one in part.measured if (one.step.calls, one.turns) == (calls, SPREAD)}
        if COSMOS in found:
            uses.append(_use(found[COSMOS], found.get(SUBJECT)))

    def middle(name: str) -> float | None:
        values = [value for use in uses if (value := getattr(use, name)) is not None]
        return median(values) if values else None

    names = [name for name in StoreUse.__slots__ if name != "calls"]
    return StoreUse(calls, **{name: middle(name) for name in names})  # type: ignore[arg-type]


def _use(mine: Measured, other: Measured | None) -> StoreUse:
    counted, turns = mine.step.counted, max(1, mine.step.answers)
    requests = sum(count for name, count in counted.items() if name.startswith("requests."))
    batches = counted.get("requests.batch", 0.0)
    charge = sum(units for name, units in counted.items() if name.startswith("charge."))
    over_s = None if other is None else mine.step.cpu_s["server"] - other.step.cpu_s["server"]
    return StoreUse(
        calls=mine.step.calls,
        batches_a_turn=batches / turns,
        other_requests_a_turn=(requests - batches) / turns,
        ru_a_turn=charge / turns,
        cpu_over_ms=None if other is None else mine.cpu_ms - other.cpu_ms,
        cpu_a_batch_ms=None if over_s is None or not batches else over_s * 1000 / batches,
        p99_over_ms=None if other is None else mine.step.round_trip_ms.p99 - other.step.round_trip_ms.p99,
        memory_over_mb=None if other is None else mine.step.rss_mb["server"] - other.step.rss_mb["server"],
    )


def _line(rounds: Sequence[Round], server: str, calls: int, turns: str) -> Line:
    alike = [[one for one in part.measured if (one.step.calls, one.turns) == (calls, turns)] for part in rounds]
    mine = [one for part in alike for one in part if one.server == server]
    ratios, overs = [], []
    for part in alike:
        found = {one.server: one for one in part}
        if server in found and FLOOR in found and server != FLOOR:
            ratios.append(found[server].cpu_ms / found[FLOOR].cpu_ms)
            overs.append(found[server].step.round_trip_ms.p99 - found[FLOOR].step.round_trip_ms.p99)
    steps = [one.step for one in mine]
    late = [one.late for one in mine if one.late is not None]
    watched = [one.watched.round_trip_ms.p99 for one in mine if one.watched and one.watched.round_trip_ms.count]
    return Line(
        server=server,
        calls=calls,
        turns=turns,
        cpu_ms=median([one.cpu_ms for one in mine]),
        cpu_ratio=median(ratios) if ratios else None,
        added_p50_ms=median([one.added_p50_ms for one in mine]),
        added_p99_ms=median([one.added_p99_ms for one in mine]),
        p99_over_floor_ms=median(overs) if overs else None,
        mb_a_call=median([one.mb_a_call for one in mine]),
        created_p50_ms=median([step.created_ms.p50 for step in steps]),
        created_p95_ms=median([step.created_ms.p95 for step in steps]),
        updated_p50_ms=median([step.updated_ms.p50 for step in steps]),
        updated_p95_ms=median([step.updated_ms.p95 for step in steps]),
        first_sound_p95_ms=median([step.first_sound_ms.p95 for step in steps]),
        server_busy=median([step.busy("server") for step in steps]),
        load_busy=median([step.busy(*BESIDE) for step in steps]),
        server_others=max(step.others("server", "server") for step in steps),
        load_others=max(step.others("load", *BESIDE) for step in steps),
        slip_p99_ms=median([step.slip_ms.p99 for step in steps]),
        sent=sum(step.sent for step in steps),
        lost=sum(step.lost for step in steps),
        doubled=sum(step.doubled for step in steps),
        crossed=sum(step.crossed for step in steps),
        errors=sum(step.errors for step in steps),
        answers=sum(step.answers for step in steps),
        failed=_once(reason for step in steps for reason in step.failed),
        watched_p99_ms=median(watched) if watched else None,
        late_p99_ms=median([one.late_ms.p99 for one in late]) if late else None,
        late_worst_ms=max((one.late_ms.max for one in late), default=None),
        held=_held(late),
    )


def _held(late: Sequence[LoopLateness]) -> tuple[Held, ...]:
    """What held the loop in all rounds together, largest total first."""
    found: dict[str, Held] = {}
    for one in (held for part in late for held in part.held):
        before = found.get(one.name, Held(one.name, 0, 0.0, 0.0))
        stalls, total_ms = before.stalls + one.stalls, before.total_ms + one.total_ms
        found[one.name] = Held(one.name, stalls, round(total_ms, 2), max(before.worst_ms, one.worst_ms))
    return tuple(sorted(found.values(), key=lambda held: -held.total_ms))


def find_knee(steps: Sequence[Step]) -> tuple[int, bool, str]:
    """(calls, whether that is only a lower bound, the reason) from steps with rising numbers of calls."""
    good = 0
    for step in steps:
        if not (step.whole() and step.round_trip_ms.count and step.round_trip_ms.p99 <= KNEE_P99_MS):
            if step.busy("load", "model") > FULL:
                return good, True, f"limited by the load, {step.busy('load', 'model'):.0%} busy at {step.calls}"
            if step.whole():
                return good, False, f"p99 {step.round_trip_ms.p99:.1f} ms at {step.calls}"
            broken = ", ".join(step.failed) or f"{step.lost} of {step.sent} frames lost"
            return good, False, f"{broken} at {step.calls}"
        good = step.calls
    return good, True, "there was no further step"


def _knee(server: str, runs: Sequence[Sequence[Step]]) -> Knee:
    # The run with the median knee (of two, the lower), because the reason and the figures belong to the same run.
    run = sorted(runs, key=lambda steps: find_knee(steps)[0])[(len(runs) - 1) // 2]
    calls, at_least, why = find_knee(run)
    last = next((step for step in run if step.calls == calls), run[0])
    return Knee(server, calls, at_least, why, last.busy("server"), last.busy("load", "model"))


def _set_ups(server: str, churns: Sequence[Churn]) -> SetUps:
    return SetUps(
        server,
        median([one.a_second for one in churns]),
        median([one.updated_ms.p95 for one in churns]),
        median([(one.cpu_s["load"] + one.cpu_s["model"]) / one.seconds for one in churns]),
        _once(reason for one in churns for reason in one.failed),
    )


def _once(reasons: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(reasons))


def bounds(summary: Summary) -> list[Bound]:
    """The required speeds that this run can judge, met or missed."""
    found = []
    for line in summary.lines:
        if line.server != SUBJECT or line.turns != SPREAD:
            continue
        where = f"at {line.calls} calls"
        if line.cpu_ratio is not None:
            ratio = f"{line.cpu_ratio:.2f} x"
            found.append(Bound(f"CPU {where}", f"<= {CPU_RATIO} x floor", ratio, line.cpu_ratio <= CPU_RATIO))
        if line.p99_over_floor_ms is not None:
            over = line.p99_over_floor_ms
            asked = f"<= floor + {P99_OVER_FLOOR_MS:g} ms"
            found.append(Bound(f"p99 {where}", asked, f"floor {over:+.2f} ms", over <= P99_OVER_FLOOR_MS))
        memory = Bound(
            f"memory {where}", f"<= {MB_A_CALL} MB a call", f"{line.mb_a_call:.3f} MB", line.mb_a_call <= MB_A_CALL
        )
        set_up = line.updated_p95_ms
        asked = f"p95 <= {SET_UP_P95_MS:g} ms"
        found += [memory, Bound(f"set-up {where}", asked, f"{set_up:.1f} ms", set_up <= SET_UP_P95_MS)]
        broken = [f"{count} {name}" for name in ("lost", "doubled", "crossed") if (count := getattr(line, name))]
        broken += list(line.failed)
        found.append(
            Bound(f"frames {where}", "all back, once, to their caller", ", ".join(broken) or "all", not broken)
        )
    for use in summary.store_uses:
        found += _store_bounds(use)
    for knee in summary.knees:
        if knee.server == SUBJECT:
            seen = f"{'>= ' if knee.at_least else ''}{knee.calls} ({knee.why})"
            asked = f">= {KNEE_CALLS} calls at p99 <= {KNEE_P99_MS:g} ms"
            found.append(Bound("knee", asked, seen, knee.calls >= KNEE_CALLS))
    if summary.ready_cpu_s is not None:
        ready = summary.ready_cpu_s
        found.append(Bound("ready", f"<= {READY_CPU_S} s of CPU", f"{ready:.2f} s", ready <= READY_CPU_S))
    return found


def _store_bounds(use: StoreUse) -> list[Bound]:
    """The required speeds with Cosmos DB as the store; batches count only where enough turns ended."""
    where = f"on Cosmos DB at {use.calls} calls"
    seen = f"{use.batches_a_turn:.2f}"
    found = [Bound(f"batches a turn {where}", f"<= {BATCHES_A_TURN}", seen, use.batches_a_turn <= BATCHES_A_TURN)]
    if use.cpu_over_ms is not None:
        asked = f"<= SQLite + {COSMOS_CPU_MS} core-ms a call-second"
        met = use.cpu_over_ms <= COSMOS_CPU_MS
        found.append(Bound(f"CPU {where}", asked, f"SQLite {use.cpu_over_ms:+.2f}", met))
    if use.p99_over_ms is not None:
        asked = f"<= SQLite + {COSMOS_P99_MS:g} ms"
        met = use.p99_over_ms <= COSMOS_P99_MS
        found.append(Bound(f"p99 {where}", asked, f"SQLite {use.p99_over_ms:+.2f} ms", met))
    return found


def as_json(
    summary: Summary, rounds: Sequence[Round], machine: dict[str, Any], ready: Sequence[float]
) -> dict[str, Any]:
    """The whole run as plain values: the summary, and the rounds that it was made from."""
    return {
        "machine": machine,
        "summary": asdict(summary),
        "bounds": [asdict(bound) for bound in bounds(summary)],
        "rounds": [asdict(part) for part in rounds],
        "ready_cpu_s": list(ready),
    }
