"""The telephone load: callers that each send 50 frames a second, evenly spread in time, whatever comes back.

`python -m bench phone_load twilio --url ws://127.0.0.1:P/ --calls 40 --seconds 6` prints JSON. With `--web
http://127.0.0.1:P` each call begins at a gateway there, by its webhook or its registration. `--watch server=PID` and
`--core server=0` are as for `python -m bench load`.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import time
from collections import Counter
from dataclasses import asdict, dataclass

from picows import WSError

from bench.figures import spread
from bench.phone_callers import (
    AUDIOSOCKET,
    TWILIO,
    AudioSocketTelephone,
    CallRefused,
    Heard,
    Telephone,
    TwilioTelephone,
    call_audiosocket,
    call_twilio,
)
from bench.phone_figures import PhoneStep, lateness
from bench.phone_sound import FRAME_MS
from bench.processes import core_s, cpu_s, rss_mb
from bench.serving import raise_file_limit, run_on_uvloop
from bench.ticker import Ticker

TICK_S = 0.0005
SLOTS = round(FRAME_MS / 1000 / TICK_S)
SET_UP_S = 10.0
DRAIN_S = 0.5  # a frame that takes longer counts as lost
OPEN_A_SECOND = 50.0


@dataclass(frozen=True, slots=True)
class Options:
    """What the load does; times in seconds. `web` is the gateway's HTTP address; None: the socket alone is dialled."""

    protocol: str
    url: str
    web: str | None = None
    calls: int = 40
    seconds: float = 6.0
    warm_s: float = 2.0
    watch: tuple[tuple[str, int], ...] = ()
    cores: tuple[tuple[str, int], ...] = ()


class PhoneLoad:
    """Runs all calls; a wheel of time slots lets each call send a frame every 20 ms at its own moment."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._wheel: list[list[Telephone]] = [[] for _ in range(SLOTS)]
        self._telephones: list[Telephone] = []
        self._set_up_ms: list[float] = []
        self._failures: Counter[str] = Counter()

    async def run(self) -> PhoneStep:
        """Open the calls, measure them, and hang up."""
        options = self._options
        ticker = Ticker(asyncio.get_running_loop(), TICK_S, self._tick)
        try:
            async with asyncio.TaskGroup() as dials:
                for number in range(1, options.calls + 1):
                    dials.create_task(self._open(number))
                    await asyncio.sleep(1 / OPEN_A_SECOND)
            await asyncio.sleep(options.warm_s)
            return await self._measure()
        finally:
            ticker.close()
            for telephone in self._telephones:
                telephone.hang_up()
            await asyncio.sleep(0.1)  # so that what was written leaves

    def _tick(self, number: int, due_s: float) -> None:
        for telephone in self._wheel[number % SLOTS]:
            telephone.speak(due_s)

    async def _open(self, number: int) -> None:
        options, begun_s = self._options, time.perf_counter()
        telephone: TwilioTelephone | AudioSocketTelephone
        try:
            async with asyncio.timeout(SET_UP_S):
                if options.protocol == TWILIO:
                    telephone = await call_twilio(number, options.url, options.web)
                else:
                    telephone = await call_audiosocket(number, options.url, options.web)
        except (OSError, WSError, TimeoutError, CallRefused) as error:
            self._failures[f"set-up: {type(error).__name__}: {error}".split("\n")[0][:120]] += 1
            return
        self._set_up_ms.append((time.perf_counter() - begun_s) * 1000)
        self._telephones.append(telephone)
        self._wheel[number % SLOTS].append(telephone)

    async def _measure(self) -> PhoneStep:
        options, heard = self._options, [telephone.heard for telephone in self._telephones]
        before, cores, began_s = self._cpu(), self._cores(), time.perf_counter()
        for one in heard:
            one.measured = True
        await asyncio.sleep(options.seconds)
        for one in heard:
            one.measured = False
        after, cores_after, seconds = self._cpu(), self._cores(), time.perf_counter() - began_s
        memory = {name: round(rss_mb(pid), 3) for name, pid in options.watch}
        await asyncio.sleep(DRAIN_S)
        dropped = sum(not telephone.open for telephone in self._telephones)
        if dropped:
            self._failures["dropped by the server"] += dropped
        return PhoneStep(
            calls=options.calls,
            seconds=round(seconds, 4),
            sent=sum(one.sent for one in heard),
            bursts=sum(one.bursts for one in heard),
            bursts_back=sum(one.bursts_back for one in heard),
            back_ms=round(sum(one.back_ms for one in heard), 1),
            messages=sum(one.messages for one in heard),
            failed=tuple(f"{count} x {reason}" for reason, count in self._failures.items()),
            round_trip_ms=spread([trip_s * 1000 for one in heard for trip_s in one.round_trips_s]),
            late_ms=spread(self._late_ms(heard)),
            slip_ms=spread([slip_s * 1000 for one in heard for slip_s in one.slips_s]),
            set_up_ms=spread(self._set_up_ms),
            cpu_s={name: round(after[name] - before[name], 4) for name in after},
            rss_mb=memory,
            core_s={name: round(busy_s - cores[name], 4) for name, busy_s in cores_after.items()},
        )

    def _late_ms(self, heard: list[Heard]) -> list[float]:
        """Only AudioSocket's frames are due at a time."""
        if self._options.protocol != AUDIOSOCKET:
            return []
        return [late_ms for one in heard for late_ms in lateness(one.arrivals_s)]

    def _cpu(self) -> dict[str, float]:
        return {"load": time.process_time(), **{name: cpu_s(pid) for name, pid in self._options.watch}}

    def _cores(self) -> dict[str, float]:
        return {name: core_s(core) for name, core in self._options.cores}


def _named(items: list[str]) -> tuple[tuple[str, int], ...]:
    return tuple((name, int(number)) for name, _, number in (item.partition("=") for item in items))


def _options(arguments: list[str]) -> Options:
    parser = argparse.ArgumentParser(prog="python -m bench phone_load", description=__doc__)
    parser.add_argument("protocol", choices=(TWILIO, AUDIOSOCKET))
    parser.add_argument("--url", required=True, help="ws://HOST:PORT/ or tcp://HOST:PORT")
    parser.add_argument("--web", help="the HTTP address of the gateway at which calls begin")
    parser.add_argument("--calls", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=6.0, help="how long is measured")
    parser.add_argument("--warm", type=float, default=2.0, help="seconds between the last set-up and the measurement")
    parser.add_argument("--watch", action="append", default=[], metavar="NAME=PID")
    parser.add_argument("--core", action="append", default=[], metavar="NAME=NUMBER")
    given = parser.parse_args(arguments)
    return Options(
        protocol=given.protocol,
        url=given.url,
        web=given.web,
        calls=given.calls,
        seconds=given.seconds,
        warm_s=given.warm,
        watch=_named(given.watch),
        cores=_named(given.core),
    )


async def _main(options: Options) -> None:
    print(json.dumps(asdict(await PhoneLoad(options).run())))


def main(arguments: list[str]) -> int:
    """Run the load and print its figures."""
    options = _options(arguments)
    raise_file_limit()
    gc.disable()  # its pauses would look like pauses of the server
    run_on_uvloop(_main(options))
    return 0
