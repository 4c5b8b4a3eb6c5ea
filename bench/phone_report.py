"""Makes the telephone rows and their bounds from the rounds; pure.

As in `report.py`, a figure is the median over the rounds, and a ratio to the floor is computed in each round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.figures import median
from bench.phone_callers import AUDIOSOCKET, TWILIO
from bench.phone_figures import PhoneStep
from bench.phone_servers import FLOOR, PATCHBAY, WIDE
from bench.quiet import unquiet
from bench.report import Bound
from bench.table import table

TWILIO_CPU = {PATCHBAY: 2.0, WIDE: 3.0}
TWILIO_ADDED_MS = 10.0
AUDIOSOCKET_CPU = 3.0
LATE_CALLS, LATE_P99_MS = 50, 3.0
ONE_CORE_CALLS = 100
FRAME_MS = 20.0
BESIDE = ("load", "model")  # the processes on the load's core


@dataclass(frozen=True, slots=True)
class PhoneMeasured:
    """One server with one number of telephones in one round; `direct` is the load that speaks to an echo."""

    protocol: str
    server: str
    step: PhoneStep
    direct: PhoneStep
    idle_rss_mb: float

    @property
    def cpu_ms(self) -> float:
        """Core milliseconds of the server for one second of one call."""
        return self.step.cpu_s.get("server", 0.0) * 1000 / (self.step.seconds * self.step.calls)

    @property
    def added_ms(self) -> tuple[float, float] | None:
        """p50 and p99 of the delay that the server adds to a round trip; None where no sound came back."""
        if not self.step.round_trip_ms.count:
            return None
        without_ms = self.direct.round_trip_ms.p50
        return self.step.round_trip_ms.p50 - without_ms, self.step.round_trip_ms.p99 - without_ms


@dataclass(frozen=True, slots=True)
class PhoneLine:
    """One line of the table. What is None does not apply: a floor has no ratio, and silence no round trip."""

    protocol: str
    server: str
    calls: int
    cpu_ms: float
    cpu_ratio: float | None
    added_p50_ms: float | None
    added_p99_ms: float | None
    late_p50_ms: float | None
    late_p99_ms: float | None
    mb_a_call: float
    set_up_p95_ms: float
    bursts: int
    bursts_lost: int
    missing_ms: float
    server_busy: float
    load_busy: float
    server_others: float
    load_others: float
    failed: tuple[str, ...]


def phone_lines(rounds: Sequence[Sequence[PhoneMeasured]]) -> list[PhoneLine]:
    """The medians of the rounds, by protocol and number of calls."""
    keys = dict.fromkeys((one.protocol, one.step.calls, one.server) for part in rounds for one in part)
    order = [TWILIO, AUDIOSOCKET]
    servers = [FLOOR, PATCHBAY, WIDE]
    ranked = sorted(keys, key=lambda key: (order.index(key[0]), key[1], servers.index(key[2])))
    return [_line(rounds, *key) for key in ranked]


def _line(rounds: Sequence[Sequence[PhoneMeasured]], protocol: str, calls: int, server: str) -> PhoneLine:
    alike = [
        {one.server: one for one in part if (one.protocol, one.step.calls) == (protocol, calls)} for part in rounds
    ]
    mine = [part[server] for part in alike if server in part]
    ratios = [
        part[server].cpu_ms / part[FLOOR].cpu_ms
        for part in alike
        if server != FLOOR and server in part and FLOOR in part and part[FLOOR].cpu_ms
    ]
    steps = [one.step for one in mine]
    added = [one.added_ms for one in mine if one.added_ms is not None]
    late = [step.late_ms for step in steps if step.late_ms.count]
    return PhoneLine(
        protocol=protocol,
        server=server,
        calls=calls,
        cpu_ms=median([one.cpu_ms for one in mine]),
        cpu_ratio=median(ratios) if ratios else None,
        added_p50_ms=median([p50 for p50, _ in added]) if added else None,
        added_p99_ms=median([p99 for _, p99 in added]) if added else None,
        late_p50_ms=median([spread.p50 for spread in late]) if late else None,
        late_p99_ms=median([spread.p99 for spread in late]) if late else None,
        mb_a_call=median([(one.step.rss_mb.get("server", 0.0) - one.idle_rss_mb) / calls for one in mine]),
        set_up_p95_ms=median([step.set_up_ms.p95 for step in steps]),
        bursts=sum(step.bursts for step in steps),
        bursts_lost=sum(step.bursts - step.bursts_back for step in steps) if added else 0,
        missing_ms=round(sum(step.missing_ms for step in steps), 1),
        server_busy=median([step.busy("server") for step in steps]),
        load_busy=median([step.busy(*BESIDE) for step in steps]),
        server_others=max(step.others("server", "server") for step in steps),
        load_others=max(step.others("load", *BESIDE) for step in steps),
        failed=tuple(dict.fromkeys(reason for step in steps for reason in step.failed)),
    )


def phone_bounds(lines: Sequence[PhoneLine]) -> list[Bound]:
    """The required speeds that these rows can judge, met or missed."""
    found = []
    for line in lines:
        if line.server == FLOOR:
            continue
        where = f"{line.protocol}{' 8<->24 kHz' if line.server == WIDE else ''} at {line.calls} calls"
        most = TWILIO_CPU[line.server] if line.protocol == TWILIO else AUDIOSOCKET_CPU
        if line.cpu_ratio is not None:
            seen = f"{line.cpu_ratio:.2f} x"
            found.append(Bound(f"CPU, {where}", f"<= {most} x floor", seen, line.cpu_ratio <= most))
        if line.protocol == TWILIO and line.added_p99_ms is not None:
            met = line.added_p99_ms <= TWILIO_ADDED_MS
            found.append(
                Bound(f"added delay, {where}", f"p99 <= {TWILIO_ADDED_MS:g} ms", f"{line.added_p99_ms:.2f} ms", met)
            )
        if line.protocol == AUDIOSOCKET and line.late_p99_ms is not None:
            if line.calls == LATE_CALLS:
                found.append(_late(where, line.late_p99_ms, LATE_P99_MS))
            elif line.calls == ONE_CORE_CALLS:  # the core carries them as long as no frame is a whole frame late
                found.append(_late(f"{where} on one core", line.late_p99_ms, FRAME_MS))
        broken = [f"{line.bursts_lost} of {line.bursts} marked frames lost"] if line.bursts_lost else []
        broken += [f"{line.missing_ms:g} ms of sound missing"] if line.missing_ms else []
        broken += list(line.failed)
        found.append(Bound(f"sound, {where}", "all back", ", ".join(broken) or "all", not broken))
    return found


def _late(where: str, seen_ms: float, most_ms: float) -> Bound:
    return Bound(f"frames leave, {where}", f"p99 <= {most_ms:g} ms late", f"{seen_ms:.2f} ms", seen_ms <= most_ms)


def phone_markdown(lines: Sequence[PhoneLine], found: Sequence[Bound]) -> str:
    """The telephone rows as Markdown."""
    head = ["telephones", "server", "calls", "CPU core-ms per call-s", "x floor", "added p50 / p99 ms"]
    head += ["frames late p50 / p99 ms", "MB a call", "set-up p95 ms", "server core", "load core"]
    rows = [
        [
            line.protocol,
            line.server,
            str(line.calls),
            f"{line.cpu_ms:.2f}",
            "1" if line.cpu_ratio is None else f"{line.cpu_ratio:.2f}",
            _pair(line.added_p50_ms, line.added_p99_ms),
            _pair(line.late_p50_ms, line.late_p99_ms),
            f"{line.mb_a_call:.3f}",
            f"{line.set_up_p95_ms:.1f}",
            f"{line.server_busy:.0%}",
            f"{line.load_busy:.0%}",
        ]
        for line in lines
    ]
    text = (
        "Telephones. The floor of `twilio` is a relay of the same frames, that of `audiosocket` a timer of 5 ms that "
        "writes silence. Added: the round trip less the median one of the same load with an echo; AudioSocket's "
        "contains up to 20 ms until the next frame is due. Late: against a grid of 20 ms, as received."
    )
    parts = [text, table(head, rows)]
    problems = _problems(lines)
    parts += ["\n".join(f"- {problem}" for problem in problems)] if problems else []
    if found:
        rows = [[bound.name, bound.asked, bound.seen, "yes" if bound.met else "**no**"] for bound in found]
        parts.append(table(["required speed", "bound", "measured", "met"], rows))
    return "\n\n".join(parts) + "\n"


def _pair(p50: float | None, p99: float | None) -> str:
    return "-" if p50 is None or p99 is None else f"{p50:.2f} / {p99:.2f}"


def _problems(lines: Sequence[PhoneLine]) -> list[str]:
    problems = []
    for line in lines:
        where = f"{line.protocol}, {line.server} at {line.calls} calls"
        problems += [f"{where}: {reason}" for reason in line.failed]
        problems += [f"{where}: {reason}" for reason in unquiet(line)]
    return problems


def phones_as_json(rounds: Sequence[Sequence[PhoneMeasured]]) -> dict[str, Any]:
    """The rows, their bounds and the rounds as plain values."""
    lines = phone_lines(rounds)
    return {
        "lines": [asdict(line) for line in lines],
        "bounds": [asdict(bound) for bound in phone_bounds(lines)],
        "rounds": [[asdict(one) for one in part] for part in rounds],
    }
