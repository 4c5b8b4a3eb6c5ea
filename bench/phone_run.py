"""The telephone rows of a run: each server with each number of calls, started anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from bench.phone_callers import AUDIOSOCKET, TWILIO
from bench.phone_report import PhoneMeasured
from bench.phone_servers import DIRECT, FLOOR, PATCHBAY, WIDE, phone_bench
from bench.servers import Options

WARM_S = 1.5
DIRECT_S = 3.0
CALLS: Mapping[str, tuple[int, ...]] = {TWILIO: (40, 150), AUDIOSOCKET: (50, 100)}
SERVERS: Mapping[str, tuple[str, ...]] = {TWILIO: (FLOOR, PATCHBAY, WIDE), AUDIOSOCKET: (FLOOR, PATCHBAY)}


def measure_phones(
    protocols: Sequence[str],
    calls: Sequence[int] | None,
    options: Options,
    seconds: float,
    number: int,
    tell: Callable[[str], None],
    *,
    wide: bool = True,
) -> list[PhoneMeasured]:
    """One pass; every second pass has the opposite order of servers.

    `calls` replaces the numbers of calls of every protocol. Without `wide` there are no rows with resampling, which
    only Patchbay's own command can have. Raises BenchFailed.
    """
    found = []
    for protocol in protocols:
        servers = [server for server in SERVERS[protocol] if wide or server != WIDE]
        for count in calls or CALLS[protocol]:
            with phone_bench(protocol, DIRECT, options) as stand:
                direct = stand.step(count, min(seconds, DIRECT_S), WARM_S)
            for server in servers if number % 2 == 0 else servers[::-1]:
                with phone_bench(protocol, server, options) as stand:
                    idle_mb = stand.idle_rss_mb()
                    step = stand.step(count, seconds, WARM_S)
                one = PhoneMeasured(protocol, server, step, direct, idle_mb)
                found.append(one)
                tell(f"round {number + 1}, {protocol}, {server}, {count} calls: {_words(one)}")
    return found


def _words(one: PhoneMeasured) -> str:
    words = [f"{one.cpu_ms:.2f} core-ms per call-second"]
    if one.added_ms is not None:
        words.append(f"added p99 {one.added_ms[1]:.2f} ms")
    if one.step.late_ms.count:
        words.append(f"frames late p99 {one.step.late_ms.p99:.2f} ms")
    return ", ".join((*words, *one.step.failed))
