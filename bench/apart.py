"""What a server's own process takes, and what the courier of its telemetry takes beside it, measured apart."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.processes import family, own_cpu_s, own_rss_mb

SERVING, COURIER = "serving", "courier"  # their names among the figures of a step
COURIER_PROGRAM = b"gateway.telemetry.courier"


@dataclass(frozen=True, slots=True)
class ApartUse:
    """CPU seconds and memory by name; of the courier only if there was one."""

    cpu_s: dict[str, float]
    rss_mb: dict[str, float]


class Apart:
    """Measures a server and its courier between `begin` and `end`; without a server, nothing."""

    def __init__(self, server: int | None) -> None:
        self._server = server
        self._before: dict[int, float] = {}

    def begin(self) -> None:
        """The measurement begins."""
        self._before = self._used()

    def end(self) -> ApartUse:
        """What was used since. A courier that was replaced counts from the start of the new one."""
        if self._server is None:
            return ApartUse({}, {})
        spent = {pid: round(used - self._before.get(pid, 0.0), 4) for pid, used in self._used().items()}
        cpu_s = {SERVING: spent.pop(self._server)}
        memory = {SERVING: round(own_rss_mb(self._server), 3)}
        if spent:
            cpu_s[COURIER] = round(sum(spent.values()), 4)
            memory[COURIER] = round(own_rss_mb(*spent), 3)
        return ApartUse(cpu_s, memory)

    def _used(self) -> dict[int, float]:
        if self._server is None:
            return {}
        return {pid: own_cpu_s(pid) for pid in (self._server, *couriers_of(self._server))}


def couriers_of(server: int) -> list[int]:
    """The processes below a server that send its telemetry."""
    return [pid for pid in family(server)[1:] if COURIER_PROGRAM in _command(pid).split(b"\0")]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""  # it has just ended
