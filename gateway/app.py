"""The wiring: every part of one process, made from the settings, started and stopped in order.

This is the only module that knows all parts.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

from fastapi import FastAPI

from gateway.agents.book import AgentBook
from gateway.agents.files import all_of
from gateway.auth.carrier_tickets import CarrierTickets
from gateway.auth.client_secrets import ClientSecrets, derive_signing_key
from gateway.auth.entrance import Entrance
from gateway.auth.keys import read_keys
from gateway.auth.secret_sessions import SecretSession
from gateway.blobs.contract import Blobs
from gateway.blobs.opening import make_blobs, open_or_wait
from gateway.callers.realtime.new_session import SecretSessions
from gateway.callers.realtime.open import RealtimeOpener
from gateway.callers.telephony import Telephony, TelephonyParts
from gateway.calls.admission import Admission, AdmissionParts, CallQuotas
from gateway.calls.live import LiveCalls
from gateway.config.entrance import origin_rules, server_options, signing_material
from gateway.config.settings import Settings
from gateway.guard import supervised
from gateway.http.agent_list import shown_agents
from gateway.http.app import WebParts, make_app
from gateway.http.metrics import read_from
from gateway.http.shapes import AgentShape
from gateway.models.registry import ModelRegistry
from gateway.net.media_routes import MediaRoute, Opener
from gateway.net.server import Drain, DrainHooks, PatchbayServer
from gateway.net.sockets import SocketLimits
from gateway.recording.finisher import Finisher
from gateway.recording.recorder import Recorder
from gateway.recording.writer import SpoolWriter
from gateway.runtime.loop_watch import LoopWatch
from gateway.state.access import make_store
from gateway.state.boots import Boots
from gateway.state.instances import Instances
from gateway.state.left import left_by_dead
from gateway.state.opening import StoreOpening
from gateway.state.recovery import STATE, Recovery
from gateway.state.spool import SpoolSize
from gateway.state.taking import Takeover
from gateway.state.write_behind import WriteBehind
from gateway.telemetry.link.opening import Telemetry
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.prices import load_prices
from gateway.telemetry.spans.headers import TraceHeaders
from gateway.tools.grants import GrantCheck
from gateway.tools.opening import make_pool
from gateway.tools.plugins import load_functions
from gateway.tools.pool import McpPool
from gateway.upkeep import (
    CALLS_END_S,
    Retention,
    join,
    keep_beating,
    keep_warm,
    leave,
    look_for_dead,
    make_recordings,
    problems_of,
    stay,
)
from sessions.errors import VoiceError
from sessions.ports import Clock, Ids, JsonObject
from sessions.stores.contract import SessionKey, StoreFailed
from sessions.stores.documents import Owner

log = logging.getLogger("patchbay")


class StartFailed(VoiceError):
    """A part cannot be opened; the message names the setting and what is wrong."""


@dataclass(frozen=True, slots=True)
class Overrides:
    """Replacements that tests give. `inline` does without threads and child processes, as virtual time needs."""

    inline: bool = False
    mcp: McpPool | None = None


class Gateway:
    """All parts of one process; `running` starts and stops them."""

    def __init__(self, settings: Settings, clock: Clock, ids: Ids, overrides: Overrides | None = None) -> None:
        """Make the parts; nothing is opened yet.

        Raises ValueError or VoiceError where a setting, an agent or a plugin is wrong.
        """
        overrides = overrides or Overrides()
        inline = overrides.inline
        self.settings = settings
        self.drain = Drain()
        self.ready = False
        self.fault: BaseException | None = None  # why the start failed, or why everything broke later
        self._server: PatchbayServer | None = None
        self._inline = inline
        self._clock = clock
        self._ids = ids
        self._keys = read_keys(settings.api_key_entries)
        self._rules = origin_rules(settings, self._keys)
        material = signing_material(settings, self._keys)
        self._secrets = ClientSecrets(derive_signing_key(material))
        self.tickets = CarrierTickets.of(material)
        self._registry = ModelRegistry(settings, clock, ids)
        self._functions = load_functions(settings.plugins_dir)
        self.mcp = overrides.mcp or make_pool(settings)
        self.metrics = Metrics(settings.metrics_listen, clock.now_ns, inline=inline)
        grants = GrantCheck(self.mcp.servers, self._functions, settings.mcp_config)
        self._prices = load_prices(settings)
        check = all_of(self._registry.check, grants.check, self._prices.check)
        self.agents = AgentBook(settings.agents_dir, check, clock, self._registry.ready)
        self._instances = Instances(settings.data_dir / "boots", ids.new("boot"))
        self.store, self.store_meter = make_store(settings, clock, inline=inline)
        self.blobs: Blobs = make_blobs(settings.blobs_url, settings.blob_key, inline=inline)
        self.live_calls = LiveCalls()
        self.write_behind = self._make_write_behind()
        self.telemetry = Telemetry.of(self, self._instances.boot_id, os.environ, inline=inline)
        self._save = self.telemetry.saving(self.write_behind.save)
        self._owner = Owner(process=str(os.getpid()), boot=self._instances.boot_id)
        self._boots = Boots.of(self.store, self._owner, clock)
        self._takeover = Takeover(self.store, self._owner, self.write_behind.hold)
        self._writer = SpoolWriter(inline=inline)
        self.finisher = Finisher(self.blobs, inline=inline)
        self._recorder = Recorder(self._instances.folder, self._writer, self.finisher, self._save, clock)
        self._recovery = self._make_recovery()
        self._opening = self._make_opening()
        self._retention = Retention(self.store, self.blobs, self.write_behind, self._recorder, clock)
        self._warmed = asyncio.Event()
        self._entrance = Entrance(self._rules, self._keys, self._secrets, clock)
        self.admission = Admission(self._admission_parts())
        self.realtime = RealtimeOpener(self.admission, self._entrance, clock, ids)
        # By the protocol's name, as records and live calls show it.
        self.openers: Mapping[str, Opener[Any]] = {self.realtime.protocol: self.realtime}
        self.telephony = Telephony(self._telephony_parts())
        self._secret_sessions = SecretSessions(
            self.agents, self._registry.unavailable, self.admission.toolbox_for, clock, ids
        )
        read_from(self.metrics.figures, self)
        self.app: FastAPI = make_app(self._web_parts(), self.running)

    # ---- start and stop

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Open stores and files, run the jobs beside the calls, and at the end close everything in order."""
        stopped = False
        try:
            async with self.metrics.running():
                await self._open()
                async with self._run():
                    yield
                await self._close()
            stopped = True
        finally:
            if not stopped:
                self._note_fault(sys.exc_info()[1])

    def _note_fault(self, fault: BaseException | None) -> None:
        """Stop the server: without the jobs beside the calls it could answer, but nothing would work."""
        self.fault = fault
        if self._server is not None and self._server.started:
            self._server.stop()

    async def _open(self) -> None:
        for agent in self._missing_agents():
            log.warning("numbers lead to an agent that does not exist; these calls are refused", extra={"agent": agent})
        try:
            self.settings.data_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StartFailed(
                f"PATCHBAY_DATA_DIR: {self.settings.data_dir} cannot be used: {error.strerror}"
            ) from error
        self._instances.hold()
        try:
            await self._opening.at_start()
        except StoreFailed as error:
            raise StartFailed(f"PATCHBAY_STORE: {error}") from error
        if not self._opening.opened:
            count = partial(left_by_dead, self._instances, STATE)
            self.write_behind.report.left_by_dead = count() if self._inline else await asyncio.to_thread(count)
        await open_or_wait(self.blobs)
        self._writer.start()
        try:
            await self.telephony.open()
        except OSError as error:
            raise StartFailed(str(error)) from error
        self._prices.tell()

    async def _join_store(self) -> None:
        """Tell the other users of the store that this instance lives; then its sessions may be written."""
        await join(self._boots)
        self.write_behind.opened()

    @asynccontextmanager
    async def _run(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as tasks:
            beside = [tasks.create_task(supervised(name, run)) for name, run in self._jobs().items()]
            tools = tasks.create_task(supervised("tool servers", self.mcp.run))
            self.ready = True
            asked = False
            try:
                with nullcontext() if self._inline else LoopWatch().watching():
                    yield
                asked = True
            finally:
                self.ready = False
                self.live_calls.goodbye()
                await self.live_calls.over(CALLS_END_S)
                await self.telephony.close()
                if asked:  # an ordinary stop, not one that was cut short
                    await make_recordings(self.finisher)
                self.mcp.close()
                self.finisher.close()
                await self.write_behind.close()
                await self.telemetry.close()
                for task in beside:
                    task.cancel()
                await asyncio.wait([tools], timeout=8)
                tools.cancel()

    def _jobs(self) -> dict[str, Callable[[], Coroutine[Any, Any, None]]]:
        """The jobs that run beside the calls for as long as the server does, by name."""
        return {
            "store": self._opening.run,
            "state": self.write_behind.run,
            "recordings": self.finisher.run,
            "spools": self._recorder.run,
            "retention": partial(self._opening.once_ready, self._retention.run),
            "deletions": partial(self._opening.once_ready, self._retention.run_deletions),
            "lock": partial(stay, self._instances, inline=self._inline),
            "sign of life": partial(self._opening.once_open, partial(keep_beating, self._boots)),
            "dead servers": partial(self._opening.once_ready, partial(look_for_dead, self._recovery)),
            "models and agents": partial(
                keep_warm, self.agents, self._registry, self.mcp, self.metrics.text, self._warmed
            ),
            **self.telemetry.jobs(),
        }

    async def _recover_dead_instances(self) -> None:
        """Complete the records and recordings of processes that died."""
        dead = self._instances.take_dead()
        await self._recovery.at_start(dead)
        self.write_behind.report.left_by_dead = SpoolSize()
        await self._recorder.adopt(self.store, dead, self._takeover.take_ended)
        for folder in dead:
            self._instances.discard(folder)

    def problems(self) -> list[str]:
        """What does not work although calls are taken, in words for an operator."""
        return problems_of(self.write_behind.report, self._missing_agents())

    def _missing_agents(self) -> list[str]:
        return sorted(self.settings.numbers.agents.difference(self.agents.names()))

    async def _close(self) -> None:
        await self._registry.close()
        await self._writer.close()
        await self.blobs.close()
        if self._opening.opened:
            await leave(self._boots)
        await self.store.close()
        self._instances.release()

    def _deleted_elsewhere(self, key: SessionKey) -> None:
        self.telemetry.forget(key.tenant, key.session_id)
        self._retention.deleted_elsewhere(key)
        self.live_calls.end_deleted(key)

    # ---- what the server and the HTTP API use

    def server(self, on_started: Callable[[PatchbayServer], None] | None = None) -> PatchbayServer:
        """The server of this gateway; `on_started` is called once it listens."""
        limits = SocketLimits(max_message_bytes=self.settings.max_message_bytes)
        routes = [MediaRoute.of(opener, limits) for opener in self.openers.values()]
        routes += self.telephony.media_routes()
        calls = DrainHooks(done=self._drained, goodbye=self._say_goodbye, records=self.live_calls.wait_empty)
        tell = on_started or (lambda server: None)
        server = PatchbayServer(
            self.app,
            routes,
            drain=self.drain,
            calls=calls,
            options=server_options(self.settings, self._rules.proxies),
            on_started=lambda: tell(server),
            on_refused=self.admission.note_refused,
        )
        self._server = server
        return server

    async def _drained(self) -> None:
        self.telephony.drain()
        await self.live_calls.wait_empty()

    async def _say_goodbye(self) -> None:
        self.live_calls.goodbye()

    def _make_write_behind(self) -> WriteBehind:
        return WriteBehind(
            self.store,
            self._instances.folder / STATE,
            self._clock,
            inline=self._inline,
            boot=self._instances.boot_id,
            on_fenced=self.live_calls.end_fenced,
            on_deleted=self._deleted_elsewhere,
            on_written=self.metrics.store_written(self.settings.store_url),
        )

    def _make_recovery(self) -> Recovery:
        return Recovery(
            self.store,
            self._instances,
            self._boots,
            self._takeover,
            self._recorder.has_spool,
            adopt=lambda folder: self._recorder.adopt(self.store, [folder], self._takeover.take_ended),
            inline=self._inline,
            counts=self.write_behind.counts,
            on_ended=self.telemetry.recovered,
        )

    def _make_opening(self) -> StoreOpening:
        return StoreOpening(
            self.store,
            required=self.settings.store_at_start == "require",
            on_missing=self.write_behind.not_opened,
            on_open=self._join_store,
            on_ready=self._recover_dead_instances,
        )

    def _admission_parts(self) -> AdmissionParts:
        return AdmissionParts(
            agents=self.agents,
            models=self._registry,
            mcp=self.mcp,
            tools_tried=self.mcp.tried,
            functions=self._functions,
            live_calls=self.live_calls,
            recorder=self._recorder,
            save=self._save,
            owner=self._owner,
            clock=self._clock,
            ids=self._ids,
            quotas=CallQuotas.of(self.settings),
            figures=self.metrics.figures,
            pricing=self._prices,
            trace_headers=TraceHeaders(self.settings.telemetry.trace, self.settings.telemetry.ratio),
            warmed=self._warmed,
        )

    def _telephony_parts(self) -> TelephonyParts:
        return TelephonyParts(
            self.settings, self.admission, self._entrance, self.tickets, self._clock, lambda: self.drain.draining
        )

    def _web_parts(self) -> WebParts:
        return WebParts(
            gateway=self,
            rules=self._rules,
            entrance=self._entrance,
            secrets=self._secrets,
            clock=self._clock,
            settings=self.settings,
            alive_elsewhere=self._boots.alive_elsewhere,
            telephony=self.telephony.http,
            scored=self.telemetry.scored,
        )

    def shown(self) -> list[AgentShape]:
        """The agents as the API shows them."""
        return shown_agents(self.agents.all(), self._registry.unavailable, self.mcp.problem)

    async def forget(self, tenant: str, session_id: str) -> None:
        """Remove everything of a session, wherever it is kept or still waits to be written."""
        self.telemetry.forget(tenant, session_id)
        await self._retention.forget(tenant, session_id)

    def secret_session(self, requested: JsonObject) -> SecretSession:
        """The session that a client secret for this requested session opens. Raises WireError."""
        return self._secret_sessions.session_for(requested)
