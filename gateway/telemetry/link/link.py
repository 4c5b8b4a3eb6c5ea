"""Hands the courier what it sends: saved documents, log lines and figures. It never makes a call wait.

A fault in it, a courier that dies or hangs, and a buffer that is full cost counters and a log line, and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.guard import Boundary, cause_of, supervised
from gateway.telemetry.link.child import ChildRun, Starter
from gateway.telemetry.link.outbox import OUTBOX_MAX_BYTES, Outbox
from gateway.telemetry.link.suspect import Suspect
from gateway.telemetry.link.wire import (
    DOCUMENT,
    FIGURES,
    HELLO,
    LEAVE_S,
    LOG,
    SCORE,
    SENT,
    SOUND,
    TelemetryFigures,
    count,
    line,
)
from sessions.bounded import remember
from sessions.stores.contract import SESSION, Document

RESTART_S = 1.0  # doubled after each courier that lived for less than a minute
RESTART_MAX_S = 60.0
LIVED_S = 60.0
MAX_SESSIONS = 20_000  # whose level of content is remembered
MAX_FORGOTTEN = 1_000
NO_CONTENT = "none"
NO_ROOM = "buffer_full"
HANGS = "hangs"

log = logging.getLogger("patchbay.telemetry")


@dataclass(frozen=True, slots=True)
class LinkParts:
    """What the link is made of.

    `hello` is the courier's configuration, and `destinations` the names in it.
    `content_of` gives the level of content for an agent. `without_words`
    returns a document of which nothing is left that was spoken or that tools were given. `figures_text` gives the
    process's own figures as Prometheus reads them; None where they are sent nowhere.
    """

    hello: Mapping[str, object]
    start: Starter
    content_of: Callable[[str], str]
    without_words: Callable[[Document], Document]
    counts: TelemetryFigures
    figures_text: Callable[[], Awaitable[bytes]] | None = None
    figures_every_s: float = 60.0
    destinations: Sequence[str] = ()
    max_bytes: int = OUTBOX_MAX_BYTES


class TelemetryLink:
    """Runs the courier beside the server for as long as the server runs, and gives it what is to be sent."""

    def __init__(self, parts: LinkParts) -> None:
        self._parts = parts
        self._outbox = Outbox(parts.max_bytes)
        self._levels: dict[tuple[str, str], str] = {}  # of content, by tenant and session
        self._forgotten: dict[tuple[str, str], None] = {}  # deleted sessions, whose calls may still be ending
        self._run: ChildRun | None = None
        self._suspect = Suspect()
        self._closing = asyncio.Event()
        self._over = asyncio.Event()
        self._acknowledged = asyncio.Event()  # something may have been
        self._faulty = False  # whether a fault of the hand-over is in the log already
        self._document_fault, self._log_fault = self._fault("traces"), self._fault("logs")
        self._score_fault = self._fault("scores")

    async def room(self) -> None:
        """Return once the buffer is less than half full, for what need not be sent at once."""
        while self._outbox.waiting_bytes > self._parts.max_bytes // 2:
            self._acknowledged.clear()
            await self._acknowledged.wait()

    @property
    def waiting_bytes(self) -> int:
        """How much has been handed over and is not acknowledged."""
        return self._outbox.waiting_bytes

    def document(self, document: Document) -> None:
        """Hand over a document that is being saved. Never blocks or raises."""
        with Boundary(self._document_fault):
            tenant, session = str(document["tenant"]), str(document["session_id"])
            if (tenant, session) in self._forgotten:
                return
            level = self._level(document, (tenant, session))
            sent = self._parts.without_words(document) if level == NO_CONTENT else document
            self._add("traces", (tenant, session, str(document["id"])), DOCUMENT, sent, content=level)

    def score(self, session: Document, score: Document) -> None:
        """Hand over a score that is saved, with the document of its session. Never blocks or raises."""
        with Boundary(self._score_fault):
            level = self._parts.content_of(str(session["agent"]))
            sent = self._parts.without_words(score) if level == NO_CONTENT else score
            key = (str(score["tenant"]), str(score["session_id"]), str(score["id"]))
            if key[:2] in self._forgotten:
                return
            self._add("scores", key, SCORE, sent, started_at=session.get("started_at"))

    def sound(self, tenant: str, session: str, order: Mapping[str, Any]) -> None:
        """Tell the courier that the sound of a call is to be sent."""
        if (tenant, session) not in self._forgotten:
            self._add("audio", (tenant, session, SOUND), SOUND, order)

    def sent(self, session: str, parts: list[list[str]]) -> None:
        """Tell the courier what a dead server's courier has sent of a session, before its documents."""
        if parts:
            self._add("traces", (SENT, session), SENT, parts)

    def log_line(self, fields: Mapping[str, Any]) -> None:
        """Hand over a line of the log. Never blocks or raises."""
        with Boundary(self._log_fault):
            self._add("logs", None, LOG, fields)

    def forget(self, tenant: str, session: str) -> None:
        """Drop what has not been sent of a session that is being deleted, and hand over nothing more of it."""
        remember(self._forgotten, (tenant, session), None, MAX_FORGOTTEN)
        self._levels.pop((tenant, session), None)
        self._outbox.forget(self._outbox.keys_of(tenant, session))

    async def run(self) -> None:
        """Keep a courier running until `close`. The application runs this as a task for its whole life."""
        async with asyncio.TaskGroup() as tasks:
            figures = tasks.create_task(supervised("telemetry figures", self._send_figures))
            try:
                await self._keep_courier()
            finally:
                figures.cancel()
                self._over.set()

    async def close(self) -> None:
        """Let the courier send what it has, for some seconds, and end `run`."""
        self._closing.set()
        if self._run is not None:
            self._run.close()
        try:
            async with asyncio.timeout(LEAVE_S + 1.0):
                await self._over.wait()
        except TimeoutError:
            log.error("the courier of telemetry does not end")
        for signal, lines in Counter(map(_signal_of, self._outbox.keys)).items():
            self._parts.counts.telemetry_dropped(signal, "shutdown", lines)

    async def _keep_courier(self) -> None:
        loop = asyncio.get_running_loop()
        pause_s = RESTART_S
        while True:
            begun_s = loop.time()
            with Boundary(_log_courier):
                await self._run_courier()
            ended, self._run = self._run, None
            if self._closing.is_set():
                return
            lived = loop.time() - begun_s >= LIVED_S
            pause_s = RESTART_S if lived else pause_s
            if ended is not None:
                with Boundary(_log_courier):
                    self._ended(ended, lived=lived)
            log.error("the courier of telemetry has ended; it is started again", extra={"wait_ms": int(pause_s * 1000)})
            try:
                async with asyncio.timeout(pause_s):
                    await self._closing.wait()
            except TimeoutError:
                pause_s = min(2 * pause_s, RESTART_MAX_S)

    def _ended(self, run: ChildRun, *, lived: bool) -> None:
        """If a courier has hung, note that nothing is sent, and drop what hangs each. A killed one shows nothing."""
        if not run.hung:
            self._suspect.clear()
            return
        for destination in self._parts.destinations:
            self._parts.counts.telemetry_up(destination, False)
        oldest = self._outbox.oldest_in_hand
        if not self._suspect.ended(oldest, lived=lived) or oldest is None:
            return
        key = self._outbox.give_up(oldest)
        signal = _signal_of(key)
        self._acknowledged.set()
        self._parts.counts.telemetry_dropped(signal, HANGS, 1)
        what = {"session_id": key[1], "document": key[-1]} if isinstance(key, tuple) else {}
        log.error(
            "couriers of telemetry hang with the same item in hand; it is dropped", extra={"signal": signal, **what}
        )

    async def _run_courier(self) -> None:
        child = await self._parts.start()
        self._run = ChildRun(child, self._outbox, self._report)
        if self._closing.is_set():
            self._run.close()
        await self._run.run(line(HELLO, 0, self._parts.hello))

    async def _send_figures(self) -> None:
        if self._parts.figures_text is None:
            return
        while True:
            await asyncio.sleep(self._parts.figures_every_s)
            with Boundary(self._fault("metrics")):
                text = await self._parts.figures_text()
                self._add("metrics", FIGURES, FIGURES, text.decode())

    def _level(self, document: Document, key: tuple[str, str]) -> str:
        """The level of content of a session; a turn's document does not name its agent, its session's does."""
        known = self._levels.get(key)
        if known is None:
            if document["type"] != SESSION:
                return NO_CONTENT
            known = self._parts.content_of(str(document["agent"]))
            remember(self._levels, key, known, MAX_SESSIONS)
        return known

    def _add(self, signal: str, key: Any, kind: str, value: object, **more: object) -> None:
        number = self._outbox.next_number()
        if not self._outbox.add(number, key, line(kind, number, value, **more)):
            self._parts.counts.telemetry_dropped(signal, NO_ROOM, 1)
        elif self._run is not None:
            self._run.wake()

    def _report(self, report: Mapping[str, Any]) -> None:
        self._acknowledged.set()
        count(report, self._parts.counts)

    def _fault(self, signal: str) -> Callable[[BaseException], None]:
        def faulty(fault: BaseException) -> None:
            self._parts.counts.telemetry_dropped(signal, "fault", 1)
            if not self._faulty and signal != "logs":  # a log line about a log line would have no end
                self._faulty = True
                log.error("telemetry cannot be handed over", extra=cause_of(fault))

        return faulty


def _signal_of(key: Hashable | None) -> str:
    """The signal of a line that waits, by its key."""
    match key:
        case None:
            return "logs"
        case str():
            return "metrics"
        case (_, _, str(document)) if document == SOUND:
            return "audio"
        case (_, _, str(document)) if document.startswith(f"{SCORE}_"):
            return "scores"
    return "traces"


def _log_courier(fault: BaseException) -> None:
    log.error("the courier of telemetry cannot be started or fed", extra=cause_of(fault))
