"""How long a scrape of a process with many figures holds the loop at a time.

`python -m bench scrape [--series 2000]` fills the gateway's book of figures, writes it several times as the server
does, and prints JSON. A series is one line of Prometheus' text; a histogram has a line for each bucket, and two more.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import time
from dataclasses import asdict, dataclass

from bench.figures import Scrape, median
from bench.serving import run_on_uvloop
from bench.telemetry_report import SCRAPE_SERIES
from gateway.telemetry.figures import Figures
from gateway.telemetry.names import FAMILIES, Family, Kind
from gateway.telemetry.writing import FiguresText

SCRAPES = 10


@dataclass(frozen=True, slots=True)
class Pass:
    """One scrape: the number of pieces, how long it took, and the longest hold of the loop, in ms."""

    pieces: int
    whole_ms: float
    longest_cpu_ms: float
    longest_held_ms: float


def filled(series: int) -> Figures:
    """A book with at least so many lines, in all families that have labels evenly."""
    figures = Figures()
    labelled = [family for family in FAMILIES if family.labels]
    lines = 0
    for number in itertools.count():
        for family in labelled:
            if lines >= series:
                return figures
            lines += _add(figures, family, number)
    raise AssertionError("counting has no end")


def _add(figures: Figures, family: Family, number: int) -> int:
    labels = tuple(f"{label} {number}" for label in family.labels)
    if family.kind is Kind.HISTOGRAM:
        figures.observe(family, number / 10, *labels)
        return len(family.buckets) + 3  # one more bucket has no bound, then the count and the sum
    if family.kind is Kind.GAUGE:
        figures.set(family, *labels, to=number)
    else:
        figures.add(family, *labels)
    return 1


async def scrape(text: FiguresText) -> Pass:
    """Write the text once, with another task that notes for how long it does not run."""
    held: list[tuple[float, float]] = []  # on the clock, and in CPU time of this thread
    over = asyncio.Event()

    async def note() -> None:
        before = time.perf_counter(), time.thread_time()
        while not over.is_set():
            await asyncio.sleep(0)
            now = time.perf_counter(), time.thread_time()
            held.append((now[0] - before[0], now[1] - before[1]))
            before = now

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(note())
        await asyncio.sleep(0)
        began_s, pieces = time.perf_counter(), 0
        async for _piece in text.pieces():
            pieces += 1
        whole_s = time.perf_counter() - began_s
        over.set()
    longest_s, longest_cpu_s = (max(one[at] for one in held) for at in (0, 1))
    return Pass(pieces, whole_s * 1000, longest_cpu_s * 1000, longest_s * 1000)


def worst(series: int, passes: list[Pass]) -> Scrape:
    """The worst of several scrapes."""
    return Scrape(
        series=series,
        pieces=passes[0].pieces,
        scrapes=len(passes),
        whole_ms=round(median([one.whole_ms for one in passes]), 3),
        longest_cpu_ms=round(max(one.longest_cpu_ms for one in passes), 3),
        longest_held_ms=round(max(one.longest_held_ms for one in passes), 3),
    )


async def _main(series: int) -> None:
    text = FiguresText(filled(series))
    await text.load()
    whole = await text.whole()
    lines = sum(not line.startswith(b"#") for line in whole.splitlines())
    print(json.dumps(asdict(worst(lines, [await scrape(text) for _ in range(SCRAPES)]))))


def main(arguments: list[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench scrape", description=__doc__)
    parser.add_argument("--series", type=int, default=SCRAPE_SERIES)
    run_on_uvloop(_main(parser.parse_args(arguments).series))
    return 0
