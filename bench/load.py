"""The load: Realtime clients that each send 50 frames a second, evenly spread in time, whatever comes back.

`python -m bench load --url ws://127.0.0.1:P/v1/realtime?model=AGENT --calls 40 --seconds 10` prints JSON. Several
numbers of calls (`--calls 180,220,260`) are steps: between them calls are added and none is closed. `--churn 8` opens
and closes calls instead. `--watch server=PID` names a process whose CPU time and memory are read at the begin and the
end of each measurement; of the process named `server` also what it takes without its children, as `serving`, and what
the courier of its telemetry takes, if it has one. `--stalls 5` adds a step of five seconds with the calls that are open
then, in which the process named `server` looks for what holds its loop. SIGUSR1 and SIGUSR2 start and stop that; it
takes some CPU.
`--counters URL` names a page of counters in JSON, which is read at the begin and the end of each measurement too.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import signal
import time
import urllib.request
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from picows import WSError, ws_connect

from bench.apart import Apart
from bench.caller import Caller, Window
from bench.figures import Churn, Spread, Step, spread, to_json
from bench.processes import core_s, cpu_s, rss_mb
from bench.serving import raise_file_limit, run_on_uvloop
from bench.stamp import FRAME_MS
from bench.ticker import Ticker

TICK_S = 0.0005
SLOTS = round(FRAME_MS / 1000 / TICK_S)
SET_UP_S = 10.0
DRAIN_S = 2.0
COUNTERS_S = 5.0


@dataclass(frozen=True, slots=True)
class Options:
    """What the load does; times in seconds."""

    url: str
    key: str | None = None
    calls: tuple[int, ...] = (40,)
    seconds: float = 10.0
    warm_s: float = 2.0
    open_a_second: float = 50.0
    stop_p99_ms: float | None = None
    watch: tuple[tuple[str, int], ...] = ()
    cores: tuple[tuple[str, int], ...] = ()
    stalls_s: float = 0.0
    counters: str | None = None


@dataclass(frozen=True, slots=True)
class SetUp:
    """A call that is set up, with the times this took, in ms from the dial at `dialled_s`."""

    caller: Caller
    created_ms: float
    updated_ms: float
    dialled_s: float


async def set_up(number: int, options: Options, window: Window) -> SetUp:
    """Dial and configure one call, up to `session.updated`. Raises OSError, WSError or TimeoutError."""
    headers = {"Authorization": f"Bearer {options.key}"} if options.key else None
    caller = Caller(number, window)
    dialled_s = time.perf_counter()
    try:
        async with asyncio.timeout(SET_UP_S):
            await ws_connect(
                lambda: caller,
                options.url,
                extra_headers=headers,
                max_frame_size=16 << 20,
                websocket_handshake_timeout=SET_UP_S,
            )
            created_s = await caller.created
            caller.configure()
            updated_s = await caller.updated
    except (OSError, WSError, TimeoutError):
        caller.hang_up()
        raise
    return SetUp(caller, (created_s - dialled_s) * 1000, (updated_s - dialled_s) * 1000, dialled_s)


class Load:
    """Runs all calls; a wheel of time slots lets each call send a frame every 20 ms at its own moment."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._window = Window()
        self._wheel: list[list[Caller]] = [[] for _ in range(SLOTS)]
        self._open_calls: list[SetUp] = []
        self._failures: Counter[str] = Counter()
        self._apart = Apart(dict(options.watch).get("server"))
        self._dropped = 0  # dropped calls that are already in a result

    async def run(self) -> list[Step]:
        """Run the steps in order; with a bound, stop after the first step that is too slow or loses frames."""
        ticker = Ticker(asyncio.get_running_loop(), TICK_S, self._tick)
        steps: list[Step] = []
        try:
            for calls in self._options.calls:
                steps.append(await self._step(calls))
                limit = self._options.stop_p99_ms
                if limit is not None and not (steps[-1].whole() and steps[-1].round_trip_ms.p99 <= limit):
                    break
            server = dict(self._options.watch).get("server")
            if self._options.stalls_s and server is not None:
                os.kill(server, signal.SIGUSR1)
                steps.append(await self._measure(self._options.calls[-1], self._options.stalls_s, []))
                os.kill(server, signal.SIGUSR2)
        finally:
            ticker.close()
            await self._hang_up()
        return steps

    def _tick(self, number: int, due_s: float) -> None:
        for caller in self._wheel[number % SLOTS]:
            caller.speak(due_s)

    async def _step(self, calls: int) -> Step:
        opened = len(self._open_calls)
        await self._open(range(opened, calls))
        await asyncio.sleep(self._options.warm_s)
        return await self._measure(calls, self._options.seconds, self._open_calls[opened:])

    async def _measure(self, calls: int, length_s: float, new: list[SetUp]) -> Step:
        """Count frames for `length_s`; `new` are the calls that were opened for this step."""
        self._window = window = Window()
        for one in self._open_calls:
            one.caller.window = window
        counted = await read_counters(self._options.counters)
        before, cores, began_s = self._cpu(), self._cores(), time.perf_counter()
        self._apart.begin()
        window.open()
        await asyncio.sleep(length_s)
        window.close()
        apart = self._apart.end()
        after, cores_after, seconds = self._cpu(), self._cores(), time.perf_counter() - began_s
        counted_after = await read_counters(self._options.counters)
        memory = {name: round(rss_mb(pid), 3) for name, pid in self._options.watch} | apart.rss_mb
        deadline_s = time.perf_counter() + DRAIN_S
        while window.back < window.sent and time.perf_counter() < deadline_s:
            await asyncio.sleep(0.02)
        return Step(
            calls=calls,
            seconds=round(seconds, 4),
            sent=window.sent,
            lost=window.sent - window.back,
            doubled=window.doubled,
            crossed=window.crossed,
            errors=window.errors,
            failed=self._take_failures(),
            answers=window.answers,
            round_trip_ms=_spread_ms(window.round_trips_s),
            slip_ms=_spread_ms(window.slips_s),
            created_ms=spread([one.created_ms for one in new]),
            updated_ms=spread([one.updated_ms for one in new]),
            first_sound_ms=spread(
                [
                    (one.caller.first_sound_s - one.dialled_s) * 1000
                    for one in new
                    if one.caller.first_sound_s is not None
                ]
            ),
            cpu_s={name: round(after[name] - before[name], 4) for name in after} | apart.cpu_s,
            rss_mb=memory,
            core_s={name: round(busy_s - cores[name], 4) for name, busy_s in cores_after.items()},
            counted={name: round(total - counted.get(name, 0.0), 4) for name, total in counted_after.items()},
        )

    async def _open(self, numbers: range) -> None:
        async with asyncio.TaskGroup() as dials:
            for number in numbers:
                dials.create_task(self._open_one(number))
                await asyncio.sleep(1 / self._options.open_a_second)

    async def _open_one(self, number: int) -> None:
        try:
            call = await set_up(number, self._options, self._window)
        except (OSError, WSError, TimeoutError) as error:
            self._failures[f"set-up: {_reason(error)}"] += 1
            return
        self._open_calls.append(call)
        call.caller.speaking = True
        self._wheel[number % SLOTS].append(call.caller)

    def _take_failures(self) -> tuple[str, ...]:
        dropped = sum(not one.caller.speaking for one in self._open_calls)
        if dropped > self._dropped:
            self._failures["dropped by the server"] += dropped - self._dropped
            self._dropped = dropped
        failures = tuple(f"{count} x {reason}" for reason, count in self._failures.items())
        self._failures.clear()
        return failures

    def _cpu(self) -> dict[str, float]:
        watched = {name: cpu_s(pid) for name, pid in self._options.watch}
        return {"load": time.process_time(), **watched}

    def _cores(self) -> dict[str, float]:
        return {name: core_s(core) for name, core in self._options.cores}

    async def _hang_up(self) -> None:
        for one in self._open_calls:
            one.caller.hang_up()
        await asyncio.wait([one.caller.gone for one in self._open_calls] or [_done()], timeout=DRAIN_S)


async def churn(options: Options, workers: int) -> Churn:
    """Open, configure and close calls for `seconds`; each worker does this with one call after another."""
    updated_ms: list[float] = []
    failures: Counter[str] = Counter()
    window = Window()

    async def work(number: int) -> None:
        while time.perf_counter() < until_s:
            try:
                call = await set_up(number, options, window)
            except (OSError, WSError, TimeoutError) as error:
                failures[_reason(error)] += 1
                await asyncio.sleep(0.01)  # do not flood a server that refuses at once
                continue
            updated_ms.append(call.updated_ms)
            call.caller.hang_up()
            await asyncio.wait([call.caller.gone], timeout=DRAIN_S)

    watch = ("load", os.getpid()), *options.watch
    before, began_s = {name: cpu_s(pid) for name, pid in watch}, time.perf_counter()
    until_s = began_s + options.seconds
    async with asyncio.TaskGroup() as callers:
        for number in range(workers):
            callers.create_task(work(number))
    seconds = time.perf_counter() - began_s
    used = {name: round(cpu_s(pid) - before[name], 4) for name, pid in watch}
    reasons = tuple(f"{count} x {reason}" for reason, count in failures.items())
    return Churn(workers, round(seconds, 4), len(updated_ms), reasons, spread(updated_ms), used)


async def read_counters(url: str | None) -> dict[str, float]:
    """The numbers on a page of JSON, by their path: `{"requests": {"batch": 2}}` gives `requests.batch`."""
    if url is None:
        return {}

    def read() -> Any:
        with urllib.request.urlopen(url, timeout=COUNTERS_S) as answer:
            return json.load(answer)

    return _flat("", await asyncio.to_thread(read))


def _flat(path: str, value: Any) -> dict[str, float]:
    if isinstance(value, dict):
        return {name: number for key, inner in value.items() for name, number in _flat(f"{path}.{key}", inner).items()}
    return {path.removeprefix("."): float(value)} if isinstance(value, int | float) else {}


def _spread_ms(values_s: Iterable[float]) -> Spread:
    return spread([value * 1000 for value in values_s])


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".split("\n")[0][:120]


def _done() -> asyncio.Future[None]:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.set_result(None)
    return future


def _named(items: list[str]) -> tuple[tuple[str, int], ...]:
    return tuple((name, int(number)) for name, _, number in (item.partition("=") for item in items))


def _options(arguments: list[str]) -> tuple[Options, int]:
    parser = argparse.ArgumentParser(prog="python -m bench load", description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--key", help="sent as a bearer key")
    parser.add_argument("--calls", default="40", help="numbers of calls, in steps: 40 or 180,220,260")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long each step is measured")
    parser.add_argument("--warm", type=float, default=2.0, help="seconds between the last set-up and the measurement")
    parser.add_argument("--open-a-second", type=float, default=50.0, help="calls opened in one second")
    parser.add_argument(
        "--stop-p99-ms", type=float, help="no further step once p99 of the round trip is above this, or a frame is lost"
    )
    parser.add_argument("--watch", action="append", default=[], metavar="NAME=PID")
    parser.add_argument(
        "--core", action="append", default=[], metavar="NAME=NUMBER", help="a core whose busy time is measured"
    )
    parser.add_argument("--churn", type=int, default=0, metavar="CALLERS", help="open and close calls instead")
    parser.add_argument(
        "--stalls", type=float, default=0.0, metavar="SECONDS", help="add a last step with the stall watch on"
    )
    parser.add_argument("--counters", metavar="URL", help="counters in JSON, read at begin and end of each step")
    given = parser.parse_args(arguments)
    watch, cores = _named(given.watch), _named(given.core)
    calls = tuple(int(number) for number in given.calls.split(","))
    options = Options(
        given.url,
        given.key,
        calls,
        given.seconds,
        given.warm,
        given.open_a_second,
        given.stop_p99_ms,
        watch,
        cores,
        given.stalls,
        given.counters,
    )
    return options, given.churn


async def _main(options: Options, workers: int) -> None:
    if workers:
        print(json.dumps({"churn": to_json(await churn(options, workers))}))
    else:
        print(json.dumps({"steps": [to_json(step) for step in await Load(options).run()]}))


def main(arguments: list[str]) -> int:
    """Run the load and print its figures."""
    options, workers = _options(arguments)
    raise_file_limit()
    gc.disable()  # its pauses would look like pauses of the server
    run_on_uvloop(_main(options, workers))
    return 0
