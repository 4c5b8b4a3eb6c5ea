"""The courier's work: lines of the server in; requests to the destinations, and reports for the server out."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from gateway.guard import Boundary, cause_of
from gateway.telemetry.courier.calls import Calls, PartToSend
from gateway.telemetry.courier.destinations import Outlets, Sender, make_outlets
from gateway.telemetry.courier.outlet import Parcel
from gateway.telemetry.courier.parts import Parts, dialects
from gateway.telemetry.courier.receipts import Receipts
from gateway.telemetry.langfuse.scores import ScoreBodies
from gateway.telemetry.langfuse.sound import Order, pieces_of
from gateway.telemetry.link.destinations import AUDIO, LOGS, METRICS, SCORES, TRACES, Destination
from gateway.telemetry.link.hello import policy_from_json
from gateway.telemetry.link.ledger import Ledger
from gateway.telemetry.link.wire import (
    ALIVE_EVERY_S,
    DOCUMENT,
    EMPTY_S,
    END,
    FIGURES,
    LOG,
    REPORT_EVERY_S,
    SCORE,
    SENT,
    SOUND,
    Report,
    read_line,
)
from gateway.telemetry.spans.policy import TelemetryPolicy

log = logging.getLogger("patchbay.telemetry")


class Reader(Protocol):
    """Where the server's lines come from."""

    async def readline(self) -> bytes:
        """The next line; empty at the end."""
        ...


class Reports:
    """Counts for the server, written to it several times a second."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._report = Report()
        self._written_s = 0.0

    def done(self, number: int) -> None:
        """The server may forget this line."""
        self._report.done.append(number)

    def telemetry_items(self, signal: str, destination: str, outcome: str, n: int, /) -> None:
        """Count items with which a destination is done."""
        self._report.telemetry_items(signal, destination, outcome, n)

    def telemetry_dropped(self, signal: str, why: str, n: int, /) -> None:
        """Count items that no destination will get."""
        self._report.telemetry_dropped(signal, why, n)

    def telemetry_up(self, destination: str, up: bool, /) -> None:
        """Note whether a destination takes what it is sent."""
        self._report.telemetry_up(destination, up)

    def write(self, now_s: float) -> None:
        """Write what has come since the last report; with nothing new, only now and then."""
        if self._report or now_s - self._written_s >= ALIVE_EVERY_S:
            report, self._report = self._report, Report()
            self._written_s = now_s
            for line in report.lines():
                self._write(line)


@dataclass(frozen=True, slots=True)
class CourierParts:
    """What the courier is made of."""

    outlets: Outlets
    calls: Calls
    parts: Parts
    receipts: Receipts
    ledger: Ledger
    reports: Reports
    policy: TelemetryPolicy


def make_courier(hello: Mapping[str, Any], write: Callable[[bytes], None]) -> Courier:
    """The courier that the server's first line asks for; `write` takes the reports."""
    reports = Reports(write)
    policy = policy_from_json(hello["policy"])
    destinations = [Destination.from_json(one) for one in hello["destinations"]]
    path = hello.get("ledger")
    sender = Sender(
        hello["resource"],
        hello["version"],
        int(hello["started_ns"]),
        policy.shape,
        blobs=hello.get("blobs"),
        folder=None if path is None else Path(path).parent,
    )
    outlets = make_outlets(destinations, sender, reports)
    ledger = open_ledger(path)
    receipts = Receipts(reports.done)
    calls = Calls(policy)
    parts = Parts(outlets.of(TRACES), dialects(policy), ledger, receipts)
    return Courier(CourierParts(outlets, calls, parts, receipts, ledger, reports, policy))


def open_ledger(path: str | None) -> Ledger:
    """The ledger at this path, or one in memory if there is none or it cannot be opened."""
    try:
        return Ledger(None if path is None else Path(path))
    except OSError as error:
        log.error("the ledger of what has been sent cannot be opened", extra={"reason": error.strerror})
        return Ledger(None)


class Courier:
    """Reads lines until the input ends, and then empties its queues for some seconds."""

    def __init__(self, parts: CourierParts) -> None:
        self._made = parts
        self._orderly = False  # whether the server has said that it ends
        self._scores = ScoreBodies(parts.policy)
        self._kinds: Mapping[str, Callable[[Mapping[str, Any], int], None]] = {
            DOCUMENT: self._document,
            SENT: self._sent,
            LOG: self._log_line,
            SCORE: self._score,
            SOUND: self._sound,
            FIGURES: self._figures,
            END: self._end,
        }

    async def run(self, reader: Reader) -> None:
        """Work until the server is gone and everything is sent, or the time for it is over."""
        made = self._made
        async with asyncio.TaskGroup() as tasks:
            beside = [tasks.create_task(outlet.run()) for outlet in made.outlets.all]
            ticking = tasks.create_task(self._tick())
            while raw := await reader.readline():
                with Boundary(_log_line_fault):
                    self._take(raw)
            await self._empty()
            ticking.cancel()
            for task in beside:
                task.cancel()
        for outlet in made.outlets.all:
            outlet.give_up_all("shutdown")
        made.reports.write(float("inf"))
        await made.outlets.close()
        # Otherwise the next server reads it, when it completes the records of this one.
        made.ledger.close(remove=self._orderly)

    async def _empty(self) -> None:
        """Send what there is: turns that have ended are not waited for any longer."""
        made = self._made
        self._settle(made.calls.at_end(time.time()))
        for outlet in made.outlets.all:
            outlet.hurry()
        with suppress(TimeoutError):
            async with asyncio.timeout(EMPTY_S):
                for outlet in made.outlets.all:
                    await outlet.empty()

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(REPORT_EVERY_S)
            with Boundary(_log_tick_fault):
                self._settle(self._made.calls.on_time(time.time()))
                if unreadable := self._made.calls.unreadable():
                    self._made.reports.telemetry_dropped(TRACES, "fault", unreadable)
                self._made.reports.write(loop.time())

    def _take(self, raw: bytes) -> None:
        line = read_line(raw)
        if line is None:
            return
        take = self._kinds.get(line.get("k", ""))
        number = int(line.get("n", 0))
        if take is None:
            self._made.reports.done(number)
            return

        def faulty(fault: BaseException) -> None:
            # It would fail in the next courier too.
            log.error("what the server handed over cannot be used", extra={"line": line["k"], **cause_of(fault)})
            self._made.reports.telemetry_dropped(_SIGNALS.get(line["k"], TRACES), "fault", 1)
            self._made.reports.done(number)

        with Boundary(faulty):
            take({**line, "bytes": len(raw)}, number)

    def _document(self, line: Mapping[str, Any], number: int) -> None:
        document = line["d"]
        key = (str(document["tenant"]), str(document["session_id"]), str(document["id"]))
        if self._made.ledger.is_over(key[1]):
            self._made.reports.done(number)
            return
        self._made.receipts.arrived(key, number, line["bytes"])
        self._settle(self._made.calls.document(document, time.time()))

    def _sent(self, line: Mapping[str, Any], number: int) -> None:
        """What the courier of a dead server has sent of a session."""
        for found in line["d"]:
            if len(found) == 3:
                self._made.ledger.note([(found[0], found[1], found[2])])
            else:
                self._made.ledger.over(found[0])
        self._made.reports.done(number)

    def _log_line(self, line: Mapping[str, Any], number: int) -> None:
        self._put(LOGS, [line["d"]], line, number)

    def _score(self, line: Mapping[str, Any], number: int) -> None:
        score = line["d"]
        self._put(SCORES, [self._scores.body(score, float(line["started_at"] or score["scored_at"]))], line, number)

    def _sound(self, line: Mapping[str, Any], number: int) -> None:
        self._put(AUDIO, pieces_of(Order.from_json(line["d"]), self._made.policy.shape), line, number)

    def _put(self, signal: str, items: Sequence[Any], line: Mapping[str, Any], number: int) -> None:
        """Send what a line holds to all destinations that take it; after that the line is done."""
        outlets = self._made.outlets.of(signal)
        left = len(outlets)
        if not left:
            self._made.reports.done(number)

        def done(has: bool) -> None:
            nonlocal left
            left -= 1
            if not left:
                self._made.reports.done(number)

        for outlet in outlets:
            outlet.put(Parcel(items, line["bytes"], done))

    def _figures(self, line: Mapping[str, Any], number: int) -> None:
        for outlet in self._made.outlets.of(METRICS):
            outlet.only_newest(Parcel([line["d"]], 0, _ignored))
        self._made.reports.done(number)  # the next courier gets newer ones

    def _end(self, line: Mapping[str, Any], number: int) -> None:
        self._orderly = True

    def _settle(self, settled: Sequence[PartToSend]) -> None:
        made = self._made
        for one in settled:
            made.parts.send(one.session, one.part, one.spans, one.documents)
            if one.over:
                made.parts.over(one.session)


_SIGNALS = {DOCUMENT: TRACES, LOG: LOGS, FIGURES: METRICS, SCORE: SCORES, SOUND: AUDIO}


def _ignored(has: bool) -> None:
    """Figures are not sent again."""


def _log_line_fault(fault: BaseException) -> None:
    log.error("a line of the server cannot be read", extra=cause_of(fault))


def _log_tick_fault(fault: BaseException) -> None:
    log.error("settled turns cannot be sent", extra=cause_of(fault))
