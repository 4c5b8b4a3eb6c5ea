"""`python -m bench interruptions`: how well it is known what a caller has heard of an agent that was interrupted.

At each far end, a whole gateway in virtual time has `--runs` calls. In each of them the caller interrupts the greeting
at a random moment. The network's delay is the same in the whole call, drawn from 20 to 150 ms; its jitter, of 20 ms
either way in the first table and 65 ms in the second, keeps messages in order. What the far end has played is compared
with what the record has as heard. `--check` ends with code 1 if a bound of the first table is missed.

The gateway, the far ends and the network are those of the tests, so this runs in a checkout of the repository.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from bench.figures import Spread, spread
from bench.servers import ROOT
from bench.table import table

RUNS = 200
DELAY_MS = (20.0, 150.0)
BOUND_JITTER_MS = 20.0
JITTERS_MS = (BOUND_JITTER_MS, 65.0)
STOPPED_MS = 20.0
# The largest p95 of the error in ms, by far end, with a jitter of 20 ms.
ERROR_MS: Mapping[str, float] = {"twilio": 40.0, "acs": 60.0, "audiosocket": 20.0, "chan_websocket": 20.0}
SEED = 14


class Interrupted(Protocol):
    """What is read of one interruption, in ms."""

    @property
    def error_ms(self) -> float:
        """Between what was played and what the record has as heard."""
        ...

    @property
    def stopped_ms(self) -> float:
        """From the model's word that the caller speaks to the last sound of the agent that left."""
        ...


@dataclass(frozen=True, slots=True)
class Row:
    """All interruptions at one far end with one jitter. `most_ms` is the bound of the error's p95, if there is one."""

    far_end: str
    jitter_ms: float
    error_ms: Spread
    stopped_ms: Spread
    most_ms: float | None

    @property
    def met(self) -> bool:
        """Whether the bounds are met; True without any."""
        return self.most_ms is None or (self.error_ms.p95 <= self.most_ms and self.stopped_ms.max <= STOPPED_MS)


def row(far_end: str, jitter_ms: float, found: Sequence[Interrupted]) -> Row:
    """The spread of interruptions; with the bound where the jitter has one."""
    most_ms = ERROR_MS[far_end] if jitter_ms == BOUND_JITTER_MS else None
    errors, stopped = ([getattr(one, name) for one in found] for name in ("error_ms", "stopped_ms"))
    return Row(far_end, jitter_ms, spread(errors), spread(stopped), most_ms)


def markdown(rows: Sequence[Row]) -> str:
    """A table for each jitter."""
    parts = []
    for jitter_ms in dict.fromkeys(row.jitter_ms for row in rows):
        mine = [row for row in rows if row.jitter_ms == jitter_ms]
        parts.append(
            f"Jitter of {jitter_ms:g} ms either way, n = {mine[0].error_ms.count} interruptions for each far end. "
            "Error: what the record has as heard against what the far end played. Stop: from the model's "
            "`speech_started` to the last sound of the agent that left."
        )
        head = ["far end", "error p50 / p95 / max ms", "stop p50 / p95 / max ms"]
        bounded = any(row.most_ms is not None for row in mine)
        head += ["bounds", "met"] if bounded else []
        parts.append(table(head, [_cells(row, bounded=bounded) for row in mine]))
    return "\n\n".join(parts) + "\n"


def _cells(row: Row, *, bounded: bool) -> list[str]:
    cells = [row.far_end, _three(row.error_ms), _three(row.stopped_ms)]
    if bounded:
        bounds = f"error p95 <= {row.most_ms:g}, stop <= {STOPPED_MS:g}" if row.most_ms is not None else "-"
        cells += [bounds, "yes" if row.met else "**no**"]
    return cells


def _three(values: Spread) -> str:
    return f"{values.p50:.1f} / {values.p95:.1f} / {values.max:.1f}"


def delays_ms(runs: int, seed: int = SEED) -> list[float]:
    """The delay of each call; the same ones for every far end and every jitter."""
    chance = random.Random(seed)
    return [chance.uniform(*DELAY_MS) for _ in range(runs)]


def measure(world: Any, far_end: str, jitter_ms: float, runs: int) -> Row:
    """Interrupt so many calls at one far end. `world` is the module of the tests that does it."""
    links = [
        world.Link(delay_ms, jitter_ms, random.Random(f"{SEED}/{number}"))
        for number, delay_ms in enumerate(delays_ms(runs))
    ]
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        return row(far_end, jitter_ms, world.interruptions(far_end, Path(folder), links))


def main(arguments: list[str]) -> int:
    """Interrupt, and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m bench interruptions", description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS, help=f"interruptions at each far end (default {RUNS})")
    parser.add_argument("--jitter", type=float, metavar="MS", help="one table, with this jitter (default: 20 and 65)")
    parser.add_argument("--far-ends", type=lambda text: text.split(","), help="default: all")
    parser.add_argument("--check", action="store_true", help="end with code 1 if a bound is missed")
    given = parser.parse_args(arguments)
    sys.path.insert(0, str(ROOT / "tests"))
    world = import_module("support.calls.interruptions")
    far_ends = given.far_ends or list(world.FAR_ENDS)
    unknown = [far_end for far_end in far_ends if far_end not in world.FAR_ENDS]
    if unknown:
        parser.error(f"there is no far end {unknown[0]}; there are {', '.join(world.FAR_ENDS)}")
    rows = []
    for jitter_ms in JITTERS_MS if given.jitter is None else (given.jitter,):
        for far_end in far_ends:
            rows.append(measure(world, far_end, jitter_ms, given.runs))
            print(f"{far_end}, jitter {jitter_ms:g} ms: {given.runs} calls", file=sys.stderr, flush=True)
    print(markdown(rows))
    return 1 if given.check and not all(row.met for row in rows) else 0
