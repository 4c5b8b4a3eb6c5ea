"""Telemetry of one process, made from the settings: nothing at all where no destination is set."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from gateway import __version__
from gateway.agents.book import AgentBook
from gateway.config.destinations import LANGFUSE_ENVIRONMENT, LANGFUSE_RELEASE, RESOURCE, pairs
from gateway.config.settings import Settings
from gateway.telemetry.link.child import courier_program
from gateway.telemetry.link.destinations import (
    AUDIO,
    LOGS,
    METRICS,
    SCORES,
    TRACES,
    Destination,
    check_installed,
    destinations_of,
    interval_s,
    resource_of,
)
from gateway.telemetry.link.hello import hello_of
from gateway.telemetry.link.link import LinkParts, TelemetryLink
from gateway.telemetry.link.log_lines import LinkHandler
from gateway.telemetry.link.ready_recordings import ReadyRecordings
from gateway.telemetry.link.recovered import RecoveredSessions, ledger_path
from gateway.telemetry.link.wire import TelemetryFigures
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.spans.policy import TelemetryPolicy, lower
from gateway.telemetry.spans.sampling import keeps
from gateway.telemetry.spans.words import without_words
from gateway.tools.pool import McpPool
from sessions.agent import TelemetryContent
from sessions.stores.contract import Document, SessionKey, Store

ENVIRONMENT = "deployment.environment.name"  # an attribute of the resource
LEDGERS = "telemetry"  # the folder of the ledgers, under data_dir
Save = Callable[[Document], None]
Job = Callable[[], Coroutine[Any, Any, None]]


class Process(Protocol):
    """The parts of a process that telemetry reads."""

    settings: Settings
    agents: AgentBook
    mcp: McpPool
    metrics: Metrics
    store: Store


@dataclass(frozen=True, slots=True)
class TelemetrySetup:
    """What telemetry needs of its process.

    `given` are the standard names, `environ` is for the courier's program, `blobs` says where recordings are.
    """

    given: Mapping[str, str]
    policy: TelemetryPolicy
    environ: Mapping[str, str]
    data_dir: Path
    log_level: str
    boot: str
    store: Store
    content_of: Callable[[str], str]
    counts: TelemetryFigures
    figures_text: Callable[[], Awaitable[bytes]] | None
    blobs: Mapping[str, str | None]


class Telemetry:
    """Hands on what the process saves, logs and counts, if any destination is set."""

    def __init__(self, setup: TelemetrySetup, *, inline: bool = False) -> None:
        """Raises PartMissing if a package that a destination needs is not installed. `inline`: send nothing."""
        destinations = () if inline else destinations_of(setup.given)
        check_installed(destinations)
        self._link: TelemetryLink | None = None
        self._recovered: RecoveredSessions | None = None
        self._recordings: ReadyRecordings | None = None
        self._handler: LinkHandler | None = None
        self._shape = setup.policy.shape
        signals = (TRACES, METRICS, LOGS, SCORES, AUDIO)
        self._signals = {signal for signal in signals if any(one.takes(signal) for one in destinations)}
        if setup.policy.content is not TelemetryContent.AUDIO:
            self._signals.discard(AUDIO)
        if destinations:
            folder = setup.data_dir / LEDGERS
            self._link = TelemetryLink(_link_parts(setup, destinations, folder, self._signals))
            if TRACES in self._signals:
                scores = SCORES in self._signals
                self._recovered = RecoveredSessions(self._link, setup.store, folder, scores=scores)
            if AUDIO in self._signals:
                self._recordings = ReadyRecordings(
                    self._link, setup.store.query, partial(may_be_heard, setup), setup.counts
                )

    @classmethod
    def of(cls, process: Process, boot: str, environ: Mapping[str, str], *, inline: bool) -> Telemetry:
        """Telemetry as a process's settings ask for it; `boot` is the process's boot id."""
        settings = process.settings
        policy = policy_of(settings, process.mcp.transports)

        def content_of(agent: str) -> str:
            found = process.agents.get(agent)
            return lower(policy.content, TelemetryContent.NONE if found is None else found.telemetry)

        setup = TelemetrySetup(
            given=settings.destinations_given,
            policy=policy,
            environ=environ,
            data_dir=settings.data_dir,
            log_level=settings.log_level,
            boot=boot,
            store=process.store,
            content_of=content_of,
            counts=process.metrics.figures,
            figures_text=process.metrics.text.whole,
            blobs=blob_place(settings),
        )
        return cls(setup, inline=inline)

    def saving(self, save: Save) -> Save:
        """A function that saves a document with `save`, and hands it over."""
        link, recordings = self._link, self._recordings
        if link is None or TRACES not in self._signals:
            return save

        def save_and_hand_over(document: Document) -> None:
            save(document)
            link.document(document)
            if recordings is not None:
                recordings.saved(document)

        return save_and_hand_over

    def scored(self, session: Document, score: Document) -> None:
        """Hand over a score that is saved, with the document of its session."""
        if self._link is not None and SCORES in self._signals:
            self._link.score(session, score)

    def jobs(self) -> dict[str, Job]:
        """The jobs that run beside the calls, by name."""
        found: dict[str, Job] = {}
        if self._link is not None:
            found["telemetry"] = self._run
        if self._recovered is not None:
            found["telemetry of dead servers"] = self._recovered.run
        if self._recordings is not None:
            found["telemetry of recordings"] = self._recordings.run
        return found

    def recovered(self, key: SessionKey, boot: str) -> None:
        """A session that the server with this boot id left has been ended by this process, and is in the store."""
        if self._recovered is not None:
            self._recovered.ended(key, boot)

    @property
    def waiting_bytes(self) -> int:
        """How much has been handed over and is not acknowledged."""
        return 0 if self._link is None else self._link.waiting_bytes

    def forget(self, tenant: str, session_id: str) -> None:
        """Drop what has not been sent of a session that is being deleted."""
        if self._link is not None:
            self._link.forget(tenant, session_id)
        if self._recordings is not None:
            self._recordings.forget(tenant, session_id)

    async def close(self) -> None:
        """Let the courier send what it has, for some seconds, and end it."""
        if self._handler is not None:
            logging.getLogger().removeHandler(self._handler)
        if self._recordings is not None:
            await self._recordings.close()
        if self._link is not None:
            await self._link.close()

    async def _run(self) -> None:
        assert self._link is not None
        if LOGS in self._signals and self._handler is None:
            self._handler = LinkHandler(self._link.log_line, asyncio.get_running_loop(), self._shape)
            logging.getLogger().addHandler(self._handler)
        await self._link.run()


def policy_of(settings: Settings, transports: Mapping[str, str]) -> TelemetryPolicy:
    """What the settings say about traces. An agent that allows less has its documents stripped before they leave."""
    given, telemetry = settings.destinations_given, settings.telemetry
    return TelemetryPolicy(
        shape=telemetry.trace,
        content=telemetry.content,
        ratio=telemetry.ratio,
        slow_ms=telemetry.slow_ms,
        redact=telemetry.redact,
        environment=given.get(LANGFUSE_ENVIRONMENT) or pairs(given.get(RESOURCE, "")).get(ENVIRONMENT, ""),
        release=given.get(LANGFUSE_RELEASE) or __version__,
        transports=dict(transports),
    )


def blob_place(settings: Settings) -> dict[str, str | None]:
    """Where recordings are, for a process of its own. Holds a key."""
    key = settings.blob_key
    return {"url": settings.blobs_url, "key": None if key is None else key.get_secret_value()}


def may_be_heard(setup: TelemetrySetup, session: Document) -> bool:
    """Whether the sound of a call may be sent: its agent allows it, and its traces are kept."""
    allowed = setup.content_of(str(session["agent"])) == TelemetryContent.AUDIO
    return allowed and keeps(str(session["session_id"]), setup.policy.ratio)


def _link_parts(
    setup: TelemetrySetup, destinations: tuple[Destination, ...], folder: Path, signals: Collection[str]
) -> LinkParts:
    pod = setup.environ.get("HOSTNAME", "") if "KUBERNETES_SERVICE_HOST" in setup.environ else ""
    resource = resource_of(setup.given, version=__version__, instance=setup.boot, host=socket.gethostname(), pod=pod)
    hello = hello_of(
        destinations,
        setup.policy,
        resource,
        version=__version__,
        started_ns=time.time_ns(),
        log_level=setup.log_level,
        ledger=ledger_path(folder, setup.boot),
        blobs=setup.blobs if AUDIO in signals else None,
    )
    return LinkParts(
        hello=hello,
        start=courier_program(setup.environ),
        content_of=setup.content_of,
        without_words=without_words,
        counts=setup.counts,
        figures_text=setup.figures_text if METRICS in signals else None,
        figures_every_s=interval_s(setup.given),
        destinations=[one.name for one in destinations],
    )
